//! Reads the records of an export: all that match up to the present head, oldest first.

use std::ops::ControlFlow;

use qmp_wire::{Offset, Record};

use super::super::log::request::LogRequest;
use super::super::log::source::{BATCH_MAX_RECORDS, Source, removed};
use crate::exit::Failure;
use crate::output;
use crate::progress::Progress;

/// Passes the records after `request.after` to `take`, until it breaks. The progress is that of the offsets up to `head`.
pub(super) async fn each(
    source: &Source,
    request: &LogRequest,
    head: Offset,
    mut progress: Progress,
    mut take: impl FnMut(Record<'static>) -> Result<ControlFlow<()>, Failure>,
) -> Result<(), Failure> {
    let after = request.after;
    let mut show = |offset: Option<Offset>| {
        let done = offset.unwrap_or_default().0.saturating_sub(after.0);
        progress.done(done, head.0.saturating_sub(after.0), "records");
    };
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    match source {
        Source::File(reader) => {
            let mut cursor = reader.cursor(request.journal_query()?, after);
            loop {
                let batch = cursor.next_batch(BATCH_MAX_RECORDS)?;
                if let Some(gone) = cursor.take_removed() {
                    output::note(removed(gone.records()));
                }
                if batch.is_empty() {
                    return Ok(());
                }
                show(Some(cursor.position()));
                for record in batch {
                    if take(record)?.is_break() {
                        return Ok(());
                    }
                }
                // Only the runtime takes note of a signal.
                tokio::task::yield_now().await;
                tokio::select! {
                    biased;
                    _ = &mut interrupt => return Err(interrupted()),
                    () = std::future::ready(()) => {}
                }
            }
        }
        Source::Hub(client) => {
            let mut lines = client.records(&request.hub_query().with("after", after.0)).await?;
            if lines.removed() > 0 && after.0 > 0 {
                output::note(removed(lines.removed()));
            }
            loop {
                let record = tokio::select! {
                    biased;
                    _ = &mut interrupt => return Err(interrupted()),
                    record = lines.next_record() => record?,
                };
                let Some(record) = record else { return Ok(()) };
                show(record.offset);
                if take(record)?.is_break() {
                    return Ok(());
                }
            }
        }
    }
}

fn interrupted() -> Failure {
    Failure::failed("interrupted; what is not whole was removed")
}
