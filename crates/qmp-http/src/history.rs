//! `GET /v1/timeline`, `/v1/counts`, `/v1/findings`, `/v1/gaps`: what happened over time.
//!
//! `Server-Timing` has the time that reading the journal and writing the JSON took. The response for a window that has ended
//! and whose records are all sealed has an `ETag` of the journal, its first record and its last sealed one: until more is
//! sealed, or a record arrives late, a client that has the response gets 304.

use std::time::Instant;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use qmp_history::{Counts, Scope, Timeline};
use qmp_host::clock;
use qmp_journal::{JournalError, Reader};
use qmp_wire::UnixMicros;
use serde::Serialize;

use super::error::ApiError;
use super::history_query;
use super::state::ApiState;

const SERVER_TIMING: &str = "server-timing";

/// Clients may keep a response, and must ask whether it is current.
const NO_CACHE: &str = "no-cache";

type Parameters = Query<Vec<(String, String)>>;

pub(super) async fn timeline(
    State(api): State<ApiState>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut request = history_query::timeline(&parameters, api.head())?;
    let memory = api.reads.memory.take(request.memory_bytes()).await;
    let _memory = memory.map_err(|error| ApiError::no_memory(&error))?;
    let is_closed = |timeline: &Timeline| timeline.coverage.is_closed;
    let held = held(&headers, &request.scope);
    let severities = history_query::severities(&parameters)?;
    answer(&api, held, is_closed, move |reader| {
        begin(&mut request.scope);
        let mut timeline = qmp_history::timeline(reader, &request, clock::now())?;
        if !severities.is_empty() {
            timeline.keep_severities(&severities);
        }
        Ok(timeline)
    })
    .await
}

pub(super) async fn counts(
    State(api): State<ApiState>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut request = history_query::counts(&parameters, api.head())?;
    let is_closed = |counts: &Counts| counts.coverage.is_closed && counts.damaged.is_empty();
    let held = held(&headers, &request.scope);
    answer(&api, held, is_closed, move |reader| {
        begin(&mut request.scope);
        qmp_history::counts(reader, &request, clock::now())
    })
    .await
}

pub(super) async fn findings(
    State(api): State<ApiState>,
    Query(parameters): Parameters,
) -> Result<Response, ApiError> {
    let request = history_query::findings(&parameters, api.head())?;
    answer(&api, None, |_| false, move |reader| qmp_history::findings(reader, &request, clock::now())).await
}

pub(super) async fn gaps(
    State(api): State<ApiState>,
    Query(parameters): Parameters,
) -> Result<Response, ApiError> {
    let request = history_query::gaps(&parameters, api.head())?;
    answer(&api, None, |_| false, move |reader| qmp_history::gaps(reader, &request)).await
}

/// Begins the time of a request when it is read: it may have waited for memory and for a thread.
fn begin(scope: &mut Scope) {
    scope.deadline = Some(Instant::now() + history_query::READ_TIME_MAX);
}

/// A response that the client has.
struct HeldResponse {
    /// Its tag, among others.
    tags: HeaderValue,
    /// The end of its window.
    until: UnixMicros,
}

/// The tag of the response that the client has, if nothing more can belong to the window.
fn held(headers: &HeaderMap, scope: &Scope) -> Option<HeldResponse> {
    let until = scope.query.until.filter(|until| qmp_history::is_settled(*until, clock::now()))?;
    Some(HeldResponse { tags: headers.get(header::IF_NONE_MATCH)?.clone(), until })
}

/// The response with what `read` returns, or 304 if the client has it.
async fn answer<T: Serialize + Send + 'static>(
    api: &ApiState,
    held: Option<HeldResponse>,
    is_closed: impl Fn(&T) -> bool + Send + 'static,
    read: impl FnOnce(&Reader) -> Result<T, JournalError> + Send + 'static,
) -> Result<Response, ApiError> {
    let reader = api.reader.clone();
    let answered = api.read(move || {
        let tag = tag(&reader)?;
        // Records with an early time may arrive late: of a host that was cut off, and findings that the observer catches up with.
        if let Some(held) = held.filter(|held| is_match(&held.tags, &tag))
            && !reader.has_unsealed_before(held.until)?
        {
            return Ok(Answer::Held(tag));
        }
        let began = Instant::now();
        let found = read(&reader)?;
        let (read_at, tag) = (Instant::now(), is_closed(&found).then_some(tag));
        let json = serde_json::to_vec(&found).unwrap_or_default();
        let (journal, encode) = (read_at - began, read_at.elapsed());
        let millis = |span: std::time::Duration| span.as_secs_f64() * 1e3;
        let timing = format!("journal;dur={:.1}, json;dur={:.1}", millis(journal), millis(encode));
        Ok(Answer::Json { json, tag, timing })
    });
    match answered.await.map_err(|error| ApiError::journal(&error))? {
        Answer::Held(tag) => {
            Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag), (header::CACHE_CONTROL, NO_CACHE.into())])
                .into_response())
        }
        Answer::Json { json, tag, timing } => {
            let fixed = [
                (header::CONTENT_TYPE.as_str(), "application/json".to_owned()),
                (header::CACHE_CONTROL.as_str(), NO_CACHE.to_owned()),
                (SERVER_TIMING, timing),
            ];
            let mut response = (fixed, json).into_response();
            if let Some(tag) = tag.and_then(|tag| HeaderValue::from_str(&tag).ok()) {
                response.headers_mut().insert(header::ETAG, tag);
            }
            Ok(response)
        }
    }
}

/// The reply to a request.
enum Answer {
    /// The client has it.
    Held(String),
    Json {
        json: Vec<u8>,
        tag: Option<String>,
        timing: String,
    },
}

/// The tag of responses for windows that have ended. Only such a response had one.
fn tag(reader: &Reader) -> Result<String, JournalError> {
    let (journal, first, sealed) = (reader.identity()?, reader.first()?, reader.sealed()?);
    let version = env!("CARGO_PKG_VERSION");
    Ok(format!("\"{}-{version}-{}-{}\"", journal.unwrap_or_default(), first.0, sealed.0))
}

/// Whether the header names the tag.
fn is_match(held: &HeaderValue, tag: &str) -> bool {
    let held = held.to_str().unwrap_or_default();
    held.split(',').any(|held| held.trim().trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests;
