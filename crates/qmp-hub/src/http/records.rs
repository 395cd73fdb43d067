//! `GET /v1/records`: the journal as JSON Lines, from history into the present.
//!
//! Each client is a cursor of its own that is moved when the client has taken what it was given. One that reads
//! slowly lags, and one that goes away ends its cursor; the hub keeps one batch for each, and nobody waits.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use qmp_wire::{Offset, Record};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::Served;
use super::parameters::Wanted;
use super::refusal::Refusal;
use crate::journal::{Cursor, JournalError, Reader};

/// Records in one chunk: what a client keeps waiting for a slow one of the next chunk.
const CHUNK_MAX_RECORDS: usize = 1_024;

/// How long a reader that follows hears nothing before it gets an empty line, so that proxies keep the
/// connection, and a client that vanished is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The head when the reading began, as a header of the answer.
const HEAD_HEADER: &str = "qmp-events-head";

pub(super) async fn records(
    State(served): State<Served>,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Response, Refusal> {
    let wanted = Wanted::read(&parameters)?;
    let head = served.head();
    let until = (!wanted.follow).then_some(head);
    let reader = served.reader.clone();
    let opened = served.read(move || open(&reader, wanted, until)).await;
    let (lines, cursor) = opened.map_err(|error| Refusal::journal(&error))?;
    let reading = Reading { lines, cursor, served, until, ending: false };
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")];
    let body = Body::from_stream(stream::try_unfold(reading, Reading::next));
    Ok((headers, [(HEAD_HEADER, head.0.to_string())], body).into_response())
}

/// What one client reads.
struct Reading {
    /// Read and not yet given to the client.
    lines: Vec<u8>,
    cursor: Cursor,
    served: Served,
    /// Where to end; `None` follows for ever.
    until: Option<Offset>,
    /// The hub stops: what is in the journal is all there will be.
    ending: bool,
}

/// Finds the place to read on from, and the records that stand before it if the last ones are wanted.
fn open(reader: &Reader, wanted: Wanted, until: Option<Offset>) -> Result<(Vec<u8>, Cursor), JournalError> {
    let after = wanted.after.unwrap_or_default();
    let Some(last) = wanted.last else { return Ok((Vec::new(), reader.cursor(wanted.query, after))) };
    let tail = reader.last(&wanted.query, last)?;
    let later = tail.records.iter().filter(|record| record.offset.is_none_or(|offset| offset > after));
    Ok((json_lines(later, until), reader.cursor(wanted.query, tail.head.max(after))))
}

impl Reading {
    /// The next chunk for the client; `None` at the end.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, JournalError> {
        loop {
            if !self.lines.is_empty() {
                let lines = std::mem::take(&mut self.lines);
                return Ok(Some((lines.into(), self)));
            }
            self = self.read().await?;
            if !self.lines.is_empty() {
                continue;
            }
            if self.until.is_some() || self.ending {
                return Ok(None);
            }
            if self.wait().await.is_err() {
                self.lines.push(b'\n');
            }
        }
    }

    /// Reads the next records on a thread that may wait for the disk.
    async fn read(self) -> Result<Self, JournalError> {
        let Self { mut cursor, served, until, ending, .. } = self;
        let work = move || {
            let records = cursor.next_batch(CHUNK_MAX_RECORDS)?;
            Ok((json_lines(&records, until), cursor))
        };
        let (lines, cursor) = served.read(work).await?;
        Ok(Self { lines, cursor, served, until, ending })
    }

    /// Waits for more; an error when there was none for [`KEEP_ALIVE`].
    async fn wait(&mut self) -> Result<(), Elapsed> {
        let mut ends = self.served.ends.clone();
        let more = async {
            tokio::select! {
                more = self.cursor.wait() => more.is_err(),
                // The sender lives as long as the hub: without it there will be nothing more either.
                _ = ends.wait_for(|ends| *ends) => true,
            }
        };
        self.ending = timeout(KEEP_ALIVE, more).await?;
        Ok(())
    }
}

fn json_lines<'r>(records: impl IntoIterator<Item = &'r Record<'static>>, until: Option<Offset>) -> Vec<u8> {
    let mut lines = Vec::new();
    for record in records {
        if until.is_none_or(|until| record.offset.is_none_or(|offset| offset <= until)) {
            record.write_json(&mut lines);
            lines.push(b'\n');
        }
    }
    lines
}
