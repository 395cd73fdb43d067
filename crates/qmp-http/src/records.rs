//! `GET /v1/records`: the journal as JSON Lines, history first, then live.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use qmp_journal::PrunedRange;
use qmp_wire::{Offset, Record};

use super::caller::Visit;
use super::format::Format;
use super::parameters::{Wanted, within};
use super::refusal::Refusal;
use super::stream::Reading;
use crate::served::Served;

pub(super) async fn records(
    State(served): State<Served>,
    Extension(visit): Extension<Arc<Visit>>,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Response, Refusal> {
    let wanted = Wanted::read(&parameters)?;
    let head = served.head();
    if let Some(after) = wanted.after {
        within("after", after.0, head)?;
    }
    let until = (!wanted.follow).then_some(head);
    let recipient = Arc::clone(&visit.recipient);
    let reading = Reading::<JsonLines>::open(served, wanted, until, recipient).await?;
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, reading.headers(head), reading.into_body()).into_response())
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
