//! The routes: methods and paths with their handlers.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, get, post};

use super::error::ApiError;
use super::state::ApiState;
use super::{
    alerts, auth, catalogue, checkpoint, detail, events, execute, health, history, json_body, metrics, notes,
    openapi, page, records, relays, response_memory, silences, sinks, stall, status, vms,
};

pub(super) fn router(api: ApiState) -> Router {
    let routes = routes().into_iter();
    routes
        .fold(Router::new(), |router, (_, path, handler)| router.route(path, handler))
        .merge(page::routes())
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_this_way)
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(api.clone(), stall::add_header))
        .layer(from_fn(response_memory::count))
        .layer(from_fn(auth::authorize))
        .with_state(api)
}

/// Every route: method, path, handler. `openapi.json` describes the same.
pub(super) fn routes() -> Vec<(&'static str, &'static str, MethodRouter<ApiState>)> {
    vec![
        ("GET", "/v1/hub", get(status::hub)),
        ("GET", "/v1/vms", get(vms::vms)),
        ("GET", "/v1/vms/{name}", get(vms::vm)),
        ("GET", "/v1/vms/{name}/checkpoint", get(checkpoint::checkpoint)),
        ("GET", "/v1/relays", get(relays::relays)),
        ("GET", "/v1/records", get(records::records)),
        ("GET", "/v1/records/{offset}", get(detail::by_offset)),
        ("GET", "/v1/vms/{name}/records/{epoch}/{seq}", get(detail::by_identity)),
        ("GET", "/v1/timeline", get(history::timeline)),
        ("GET", "/v1/counts", get(history::counts)),
        ("GET", "/v1/findings", get(history::findings)),
        ("GET", "/v1/gaps", get(history::gaps)),
        ("GET", "/v1/events", get(events::events)),
        ("GET", "/v1/catalogue", get(catalogue::catalogue)),
        ("GET", "/v1/sinks", get(sinks::sinks)),
        ("GET", "/v1/alerts", get(alerts::alerts)),
        ("GET", "/v1/silences", get(silences::silences)),
        ("POST", "/v1/silences", post(silences::silence).layer(from_fn(json_body::json_only))),
        ("GET", "/v1/health", get(health::health)),
        ("GET", "/v1/openapi.json", get(openapi::openapi)),
        ("GET", "/metrics", get(metrics::metrics)),
        ("POST", "/v1/vms/{name}/notes", post(notes::note).layer(from_fn(json_body::json_only))),
        ("POST", "/v1/vms/{name}/execute", post(execute::execute).layer(from_fn(json_body::json_only))),
    ]
}

async fn nothing_here() -> ApiError {
    let desc = format!("nothing here; there are {}", listed(&routes()));
    ApiError::new(StatusCode::NOT_FOUND, "NotFound", desc)
}

async fn not_this_way() -> ApiError {
    let (post, get): (Vec<_>, Vec<_>) = routes().into_iter().partition(|(method, ..)| *method == "POST");
    let desc = format!("use POST for {}, and GET for {}", listed(&post), listed(&get));
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", desc)
}

/// Paths, separated by commas.
fn listed(routes: &[(&str, &str, MethodRouter<ApiState>)]) -> String {
    let mut paths: Vec<&str> = routes.iter().map(|(_, path, _)| *path).collect();
    // A path may have several methods.
    paths.dedup();
    paths.join(", ")
}
