//! `GET /v1/records`: the journal as JSON Lines, history first, then live.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use qmp_journal::PrunedRange;
use qmp_wire::{Offset, Record};

use super::auth::ConnectionState;
use super::error::ApiError;
use super::format::Format;
use super::query::{RecordQuery, within};
use super::stream::RecordStream;
use crate::state::ApiState;

pub(super) async fn records(
    State(api): State<ApiState>,
    Extension(connection): Extension<Arc<ConnectionState>>,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    let request = RecordQuery::read(&parameters)?;
    let head = api.head();
    if let Some(after) = request.after {
        within("after", after.0, head)?;
    }
    let until = (!request.follow).then_some(head);
    let recipient = Arc::clone(&connection.recipient);
    let stream = RecordStream::<JsonLines>::open(api, request, until, recipient).await?;
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, stream.headers(head), stream.into_body()).into_response())
}

/// One record a line; an empty line is a keep-alive.
struct JsonLines;

impl Format for JsonLines {
    fn record(record: &Record<'_>, out: &mut Vec<u8>) {
        record.write_json(out);
        out.push(b'\n');
    }

    /// Each line must be a record, so a removal cannot be written.
    fn removed(_removed: PrunedRange, _out: &mut Vec<u8>) -> bool {
        false
    }

    fn keep_alive(_position: Offset, out: &mut Vec<u8>) {
        out.push(b'\n');
    }
}
