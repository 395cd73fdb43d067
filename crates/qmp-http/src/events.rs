//! `GET /v1/events`: the journal as server-sent events, which a browser's `EventSource` reads.
//!
//! The `id` of each event is its record's offset, so an interrupted client continues at its position: the browser sends
//! `Last-Event-ID` by itself. That header overrides `after` and `last`, which are part of the URL and are repeated.
//! Without any of them the stream begins with the next record.
//!
//! The position of the stream is sent at once, and again with each keep-alive, as an `id` without data. A browser stores
//! such an `id` and dispatches no event; so a client that has received no record misses none after it reconnects.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use qmp_journal::PrunedRange;
use qmp_wire::{Offset, Record};

use super::auth::ConnectionState;
use super::error::ApiError;
use super::format::Format;
use super::query::{RecordQuery, within};
use super::stream::RecordStream;
use crate::state::ApiState;

/// How long a client waits before it reconnects, in milliseconds. A hub that restarts is back within about that time.
const RETRY_MS: u64 = 2_000;

/// The header that a reconnecting client sends.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Disables the buffering of the response in nginx.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

pub(super) async fn events(
    State(api): State<ApiState>,
    Extension(connection): Extension<Arc<ConnectionState>>,
    Query(parameters): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if parameters.iter().any(|(name, _)| name == "follow") {
        return Err(ApiError::bad_request("/v1/events always follows; use /v1/records for history alone"));
    }
    let head = api.head();
    let request = resolve_position(RecordQuery::read(&parameters)?, headers.get(LAST_EVENT_ID), head)?;
    let recipient = Arc::clone(&connection.recipient);
    let stream = RecordStream::<ServerSentEvents>::open(api, request, None, recipient).await?;
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (X_ACCEL_BUFFERING, "no"),
    ];
    Ok((headers, stream.headers(head), stream.into_body()).into_response())
}

/// Resolves the position at which the stream begins.
fn resolve_position(
    request: RecordQuery,
    last_event_id: Option<&HeaderValue>,
    head: Offset,
) -> Result<RecordQuery, ApiError> {
    match last_event_id.map(HeaderValue::as_bytes) {
        None | Some(b"") => {}
        Some(text) => {
            let after = Some(offset(text, head)?);
            return Ok(RecordQuery { after, last: None, ..request });
        }
    }
    if let Some(after) = request.after {
        within("after", after.0, head)?;
    }
    let has_position = request.after.is_some() || request.last.is_some() || request.query.since.is_some();
    let after = if has_position { request.after } else { Some(head) };
    Ok(RecordQuery { after, ..request })
}

fn offset(text: &[u8], head: Offset) -> Result<Offset, ApiError> {
    let text = String::from_utf8_lossy(text);
    let number = text.parse().map_err(|_| {
        ApiError::bad_request(format!("Last-Event-ID: {text}: expected the offset of a record"))
    })?;
    within("Last-Event-ID", number, head)
}

/// Server-sent events, as in the HTML standard.
struct ServerSentEvents;

impl Format for ServerSentEvents {
    fn record(record: &Record<'_>, out: &mut Vec<u8>) {
        if let Some(offset) = record.offset {
            out.extend_from_slice(format!("id: {}\n", offset.0).as_bytes());
        }
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(record.body.kind().as_bytes());
        out.extend_from_slice(b"\ndata: ");
        // The JSON is one line: neither CR nor LF from the VM can end the data too soon.
        record.write_json(out);
        out.extend_from_slice(b"\n\n");
    }

    fn begin(position: Offset, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("retry: {RETRY_MS}\nid: {}\n\n", position.0).as_bytes());
    }

    fn removed(removed: PrunedRange, out: &mut Vec<u8>) -> bool {
        let PrunedRange { after, upto } = removed;
        let records = removed.records();
        let data = format!("{{\"after\":{},\"upto\":{},\"records\":{records}}}", after.0, upto.0);
        out.extend_from_slice(format!("id: {}\nevent: removed\ndata: {data}\n\n", upto.0).as_bytes());
        true
    }

    fn keep_alive(position: Offset, out: &mut Vec<u8>) {
        out.extend_from_slice(format!(": nothing else yet\nid: {}\n\n", position.0).as_bytes());
    }
}
