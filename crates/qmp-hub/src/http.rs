//! The hub's HTTP interface, version 1.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/hub` | the hub: version, journal, head, since when, process |
//! | `GET /v1/vms` | every VM and how it stands |
//! | `GET /v1/records?…` | records as JSON Lines; with `follow=true` for ever |
//! | `POST /v1/vms/{name}/execute` | a command's reply, after the events that came before it are committed |
//!
//! Errors are `{"error": {"class": …, "desc": …}}`.

mod address;
mod execute;
mod guard;
mod listen;
mod parameters;
mod records;
mod refusal;
mod served;
mod status;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use tokio::sync::watch;

pub use address::{HttpAddress, HttpAddressError, LoopbackAddr};
pub use listen::ListenError;
pub(crate) use listen::{Listening, listen};
pub(crate) use served::Served;

use refusal::Refusal;

/// Serves until `ends` is true and every client has what it asked for.
pub(crate) async fn serve(listening: Listening, served: Served, mut ends: watch::Receiver<bool>) {
    let ended = async move { _ = ends.wait_for(|ends| *ends).await };
    // Accepting never ends in an error: what goes wrong with one client concerns that client.
    let _ = match listening {
        Listening::Unix(listener, _file) => {
            axum::serve(listener, router(served)).with_graceful_shutdown(ended).await
        }
        Listening::Tcp(listener) => {
            tracing::warn!(
                "every user of this host may command the VMs over TCP; a unix socket is for one user"
            );
            // A single event must reach its reader at once, and not when there is more to send.
            let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
            let guarded = router(served).layer(from_fn(guard::loopback_names_only));
            axum::serve(listener, guarded).with_graceful_shutdown(ended).await
        }
    };
}

fn router(served: Served) -> Router {
    Router::new()
        .route("/v1/hub", get(status::hub))
        .route("/v1/vms", get(status::vms))
        .route("/v1/records", get(records::records))
        .route("/v1/vms/{name}/execute", post(execute::execute))
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_this_way)
        .layer(DefaultBodyLimit::max(execute::EXECUTE_BODY_MAX_BYTES))
        .layer(from_fn(guard::json_only))
        .with_state(served)
}

async fn nothing_here() -> Refusal {
    let desc = "nothing here; see /v1/hub, /v1/vms, /v1/records, /v1/vms/NAME/execute";
    Refusal::new(StatusCode::NOT_FOUND, "NotFound", desc)
}

async fn not_this_way() -> Refusal {
    let desc = "use GET for /v1/hub, /v1/vms and /v1/records, and POST for /v1/vms/NAME/execute";
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", desc)
}
