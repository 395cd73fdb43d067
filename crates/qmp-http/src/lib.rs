//! The hub's HTTP interface, version 1.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/hub` | the hub: version, journal, head, since when, process |
//! | `GET /v1/vms` | every VM and how it stands |
//! | `GET /v1/vms/{name}` | all that is known about one: run state, since when, why, last events, jobs |
//! | `GET /v1/relays` | the sockets that the hub serves in place of VMs, and who is at them |
//! | `GET /v1/records?…` | records as JSON Lines; with `follow=true` for ever |
//! | `GET /v1/events?…` | records as server-sent events, for ever |
//! | `GET /v1/catalogue?release=R` | what events there are |
//! | `GET /v1/sinks` | how the rules stand |
//! | `GET /v1/health` | whether the hub does its work |
//! | `GET /v1/openapi.json` | all this, for programs |
//! | `GET /metrics` | figures for Prometheus |
//! | `POST /v1/vms/{name}/execute` | a command's reply, after the events that came before it are committed |
//!
//! Errors are `{"error": {"class": …, "desc": …}}`.
//!
//! The crate never speaks QMP, and never knows the configuration file: it reads a journal and asks the hub.

mod address;
mod counts;
mod door;
mod exposition;
mod listen;
mod openapi;
mod refusal;
mod catalogue;
mod parameters;
mod patience;
mod vm_path;
mod served;
mod relays;
mod run_states;
mod sinks;
mod metrics;
mod stall;
mod status;
mod health;
mod stream;
mod events;
mod records;
mod shared;
mod connections;
mod caller;
mod execute;
mod guard;
mod vms;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, get, post};

pub use address::{HttpAddress, HttpAddressError};
pub use connections::serve;
pub use door::{HttpDoor, HttpDoorError, KeyFileError, TlsFiles};
pub use listen::ListenError;
pub use listen::{Listening, listen};
pub use served::Served;

use refusal::Refusal;

fn router(served: Served) -> Router {
    let routes = routes().into_iter();
    routes
        .fold(Router::new(), |router, (_, path, handler)| router.route(path, handler))
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_this_way)
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(served.clone(), stall::say))
        .layer(from_fn(caller::known))
        .with_state(served)
}

/// Everything that can be asked for: method, path, and who answers. `openapi.json` describes the same.
fn routes() -> Vec<(&'static str, &'static str, MethodRouter<Served>)> {
    vec![
        ("GET", "/v1/hub", get(status::hub)),
        ("GET", "/v1/vms", get(vms::vms)),
        ("GET", "/v1/vms/{name}", get(vms::vm)),
        ("GET", "/v1/relays", get(relays::relays)),
        ("GET", "/v1/records", get(records::records)),
        ("GET", "/v1/events", get(events::events)),
        ("GET", "/v1/catalogue", get(catalogue::catalogue)),
        ("GET", "/v1/sinks", get(sinks::sinks)),
        ("GET", "/v1/health", get(health::health)),
        ("GET", "/v1/openapi.json", get(openapi::openapi)),
        ("GET", "/metrics", get(metrics::metrics)),
        ("POST", "/v1/vms/{name}/execute", post(execute::execute).layer(from_fn(guard::json_only))),
    ]
}

async fn nothing_here() -> Refusal {
    let desc = format!("nothing here; there are {}", listed(&routes()));
    Refusal::new(StatusCode::NOT_FOUND, "NotFound", desc)
}

async fn not_this_way() -> Refusal {
    let (post, get): (Vec<_>, Vec<_>) = routes().into_iter().partition(|(method, ..)| *method == "POST");
    let desc = format!("use POST for {}, and GET for {}", listed(&post), listed(&get));
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", desc)
}

/// Paths, one behind the other.
fn listed(routes: &[(&str, &str, MethodRouter<Served>)]) -> String {
    let paths: Vec<&str> = routes.iter().map(|(_, path, _)| *path).collect();
    paths.join(", ")
}
