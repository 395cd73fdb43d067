//! Adds what is new to a folder of Parquet files.

use std::ops::ControlFlow;
use std::path::Path;

use qmp_archive::{FolderError, ParquetFolder};
use qmp_wire::Offset;

use super::super::log::request::LogRequest;
use super::super::log::source::Source;
use super::origin::Origin;
use super::reading;
use crate::exit::Failure;
use crate::filter::RecordArgs;
use crate::output;
use crate::progress::Progress;
use crate::terminal::Terminal;

/// Writes the requested records after those in the folder; returns the offset after which they begin.
pub(super) async fn write(
    path: &Path,
    local_host: Option<&str>,
    request: &LogRequest,
    source: &Source,
    terminal: &Terminal,
) -> Result<Offset, Failure> {
    let origin = Origin::of(source, local_host).await?;
    let mut folder = ParquetFolder::open(path, &origin.journal, &origin.host, &selection(request))?;
    let position = folder.position();
    if position > origin.head {
        let (shown, head) = (&origin.shown, origin.head.0);
        return Err(Failure::failed(format_args!(
            "{} has records up to offset {}, and {shown} ends at {head}: the journal was restored from an older copy",
            path.display(),
            position.0
        ))
        .hint("export into another folder"));
    }
    // Records that `until` leaves out are of a later export: this one ends at the first of them.
    let until = request.until;
    let request = LogRequest { after: position, until: None, ..request.clone() };
    let progress = Progress::new(terminal, format!("exporting {}", origin.shown));
    let mut upto = origin.head;
    reading::each(source, &request, origin.head, progress, |record| {
        if until.is_some_and(|until| record.received >= until) {
            upto = Offset(record.offset.unwrap_or_default().0.saturating_sub(1));
            return Ok(ControlFlow::Break(()));
        }
        folder.push(record)?;
        Ok(ControlFlow::Continue(()))
    })
    .await?;
    let written = folder.finish(upto)?;
    let noun = |count: u64, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    output::note(match written.records {
        0 => format!("{}: nothing new after offset {}", path.display(), position.0),
        _ => {
            format!(
                "{}: {} in {}",
                path.display(),
                noun(written.records, "record"),
                noun(written.parts, "file")
            )
        }
    });
    Ok(position)
}

/// The filters that all exports into a folder have in common, as on the command line. The times may differ.
fn selection(request: &LogRequest) -> String {
    let RecordArgs { vms, events, kind } = &request.records;
    let mut words = Vec::new();
    words.extend(vms.vm.iter().map(|glob| format!("--vm {glob}")));
    words.extend(vms.host.iter().map(|glob| format!("--host {glob}")));
    words.extend(events.event.iter().map(|glob| format!("--event {glob}")));
    words.extend(events.wheres.iter().map(|place| format!("--where {place}")));
    words.extend(kind.iter().map(|kind| format!("--kind {}", kind.name())));
    if words.is_empty() { "no filter".to_owned() } else { words.join(" ") }
}

impl From<FolderError> for Failure {
    fn from(error: FolderError) -> Self {
        match &error {
            FolderError::OtherJournal { .. }
            | FolderError::OtherSelection { .. }
            | FolderError::NotEmpty { .. } => Self::usage(error).hint("export into another folder"),
            FolderError::InUse { .. } => Self::usage(error),
            _ => Self::failed(error),
        }
    }
}
