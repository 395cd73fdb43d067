//! From the journal to the lines: one cursor for all relays of the hub.

use std::sync::Arc;
use std::time::Duration;

use qmp_host::blocking;
use qmp_journal::{Cursor, JournalError, Query, Reader, RecordKind};
use qmp_wire::{Offset, Record};
use tokio::sync::watch;

use super::line::Lines;

/// Records read at once: all of them are encoded before the first one is sent.
const FEED_BATCH_RECORDS: usize = 1_024;

/// How long the feed waits before it reads again after an error.
const FEED_RETRY: Duration = Duration::from_secs(1);

/// A cursor on the records that lines hand out, after that offset.
pub(super) fn cursor(reader: &Reader, after: Offset) -> Cursor {
    let query = Query {
        kind: vec![RecordKind::Event, RecordKind::Attached, RecordKind::Detached],
        ..Query::default()
    };
    reader.cursor(query, after)
}

/// Hands every committed record to its VM's line, until `stop` is true and all records were handed out.
pub(super) async fn feed(mut cursor: Cursor, lines: Arc<Lines>, mut stop: watch::Receiver<bool>) {
    let lines = EndOnDrop(lines);
    let lines = &*lines.0;
    loop {
        cursor = catch_up(cursor, lines).await;
        let more = tokio::select! {
            more = cursor.wait() => more,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        if let Err(error) = more {
            if !matches!(error, JournalError::Ended(_)) {
                tracing::error!("the relays cannot wait for the journal: {error}");
            }
            break;
        }
    }
    catch_up(cursor, lines).await;
}

/// Ends the lines together with their feed, also when its task panics or is aborted.
struct EndOnDrop(Arc<Lines>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}

async fn catch_up(mut cursor: Cursor, lines: &Lines) -> Cursor {
    loop {
        let work = move || {
            let records = cursor.next_batch(FEED_BATCH_RECORDS);
            if let Some(removed) = cursor.take_removed() {
                tracing::error!("the relays lack events: {}", JournalError::Removed { removed });
            }
            (cursor, records)
        };
        let (back, records) = blocking(work).await;
        cursor = back;
        match records {
            Ok(records) if records.is_empty() => return cursor,
            Ok(records) => hand_out(&records, lines),
            Err(JournalError::Ended(_)) => return cursor,
            Err(error) => {
                tracing::error!("the relays cannot read the journal: {error}");
                tokio::time::sleep(FEED_RETRY).await;
            }
        }
    }
}

/// Records of one VM that follow each other are handed out together.
fn hand_out(records: &[Record<'static>], lines: &Lines) {
    for run in records.chunk_by(|one, next| one.vm == next.vm) {
        if let Some(line) = lines.get(&run[0].vm) {
            line.feed(run);
        }
    }
}
