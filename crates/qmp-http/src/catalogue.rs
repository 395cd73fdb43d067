//! `GET /v1/catalogue`: the events of the catalogue, as `qmp events --json` prints them.

use axum::extract::Query;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use qmp_events::{Release, catalogue as all, describe};

use super::error::ApiError;
use super::query::refuse_repeated;

pub(super) async fn catalogue(Query(parameters): Query<Vec<(String, String)>>) -> Result<Response, ApiError> {
    let mut release = None;
    for (name, value) in &parameters {
        if name != "release" {
            return Err(ApiError::bad_request(format!("unknown parameter {name:?}; known: release")));
        }
        let read = value.parse::<Release>();
        release = Some(read.map_err(|error| ApiError::bad_request(format!("release={value}: {error}")))?);
    }
    refuse_repeated(&parameters, &[])?;
    Ok(([(header::CONTENT_TYPE, "application/json")], json_list(release)).into_response())
}

/// A JSON list, one event a line.
fn json_list(release: Option<Release>) -> String {
    let known = all().iter().filter(|desc| release.is_none_or(|release| desc.exists_in(release)));
    let lines: Vec<String> = known.map(|desc| describe::event_json(desc, release).to_string()).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}
