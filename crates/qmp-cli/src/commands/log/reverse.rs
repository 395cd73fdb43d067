//! `qmp log --reverse`: the newest records first.
//!
//! The journal is read backwards in windows of offsets, which grow until they have enough records. Within a window, records
//! are rendered in their order, so that gaps and delays are described as in any other output.

use qmp_wire::{Offset, Record};

use super::request::LogRequest;
use super::source::{BATCH_MAX_RECORDS, PrintSummary, Source, check_after, removed};
use crate::exit::Failure;
use crate::output::{self, Output};
use crate::render::Renderer;

/// The length of the first window, in offsets.
const WINDOW_FIRST: u64 = 4_096;

/// The records of a window from which on the next one is not longer.
const WINDOW_RECORDS: usize = 1_024;

/// Prints the requested records, newest first.
pub(super) async fn print(
    source: &Source,
    request: &LogRequest,
    renderer: &dyn Fn() -> Renderer,
    is_csv: bool,
    output: &mut Output,
) -> Result<PrintSummary, Failure> {
    let mut upto = source.head(request).await?;
    let mut printed = PrintSummary { records: 0, after: request.after };
    let mut length = WINDOW_FIRST;
    let most = request.last.map_or(u64::MAX, |last| last as u64);
    while upto > request.after && printed.records < most {
        let after = Offset(upto.0.saturating_sub(length)).max(request.after);
        let records = source.window(request, after, upto).await?;
        let mut renderer = if is_csv { Renderer::Csv } else { renderer() };
        let rendered = |record: &Record<'static>| {
            let mut lines = Vec::new();
            renderer.record(record, &mut lines);
            (record.offset, lines)
        };
        let lines: Vec<(Option<Offset>, Vec<u8>)> = records.iter().map(rendered).collect();
        for (offset, lines) in lines.iter().rev() {
            if printed.records == most {
                break;
            }
            output.lines(lines)?;
            printed.records += 1;
            printed.after = offset.map_or(printed.after, |offset| Offset(offset.0.saturating_sub(1)));
        }
        output.flush()?;
        if lines.len() < WINDOW_RECORDS {
            length = length.saturating_mul(2);
        }
        upto = after;
    }
    Ok(printed)
}

impl Source {
    /// The head of the journal. Fails if the request begins after it; notes that records after its begin were removed.
    async fn head(&self, request: &LogRequest) -> Result<Offset, Failure> {
        match self {
            Self::File(reader) => {
                let head = reader.head()?;
                check_after(request, head, &reader.path().display())?;
                Ok(head)
            }
            Self::Hub(client) => {
                let info = client.info().await?;
                let journal = info.journal.unwrap_or_else(|| "the journal".into());
                check_after(request, Offset(info.head), &journal.display())?;
                Ok(Offset(info.head))
            }
        }
    }

    /// The requested records after the offset `after`, up to `upto`, oldest first.
    async fn window(
        &self,
        request: &LogRequest,
        after: Offset,
        upto: Offset,
    ) -> Result<Vec<Record<'static>>, Failure> {
        let is_within = |record: &Record<'_>| record.offset.is_some_and(|offset| offset <= upto);
        let mut records = Vec::new();
        match self {
            Self::File(reader) => {
                let mut cursor = reader.cursor(request.journal_query()?, after);
                while cursor.position() < upto {
                    let batch = cursor.next_batch(BATCH_MAX_RECORDS)?;
                    let read = batch.len();
                    records.extend(batch.into_iter().filter(is_within));
                    if read == 0 {
                        break;
                    }
                }
                if let Some(gone) = cursor.take_removed().filter(|_| after == request.after && after.0 > 0) {
                    output::note(removed(gone.records()));
                }
            }
            Self::Hub(client) => {
                let mut lines = client.records(&request.hub_query().with("after", after.0)).await?;
                if lines.removed() > 0 && after == request.after && after.0 > 0 {
                    output::note(removed(lines.removed()));
                }
                while let Some(record) = lines.next_record().await? {
                    if !is_within(&record) {
                        break;
                    }
                    records.push(record);
                }
            }
        }
        Ok(records)
    }
}
