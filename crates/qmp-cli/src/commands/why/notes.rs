//! The notes of operators about a state.

use std::ops::ControlFlow;

use qmp_findings::NOTE;
use qmp_journal::RecordKind;
use qmp_wire::{Body, Causes, Offset, UnixMicros};

use super::read::{each, received_by};
use crate::commands::log::source::Source;
use crate::exit::Failure;

/// The notes after the offset `after` that were written since the state began and by `until`, or are about one of its records.
pub(super) async fn notes(
    source: &Source,
    vm: &str,
    after: Offset,
    (since, until): (Option<UnixMicros>, Option<UnixMicros>),
    about: &Causes,
) -> Result<Causes, Failure> {
    let mut notes = Causes::new();
    each(source, vm, Some(RecordKind::Finding), after, &mut |record| {
        if let Body::Finding { finding, causes, .. } = &record.body
            && *finding == NOTE
            && received_by(&record, until)
            && (since.is_none_or(|since| record.received >= since)
                || causes.iter().any(|cause| about.contains(cause)))
        {
            notes.push((record.epoch, record.seq));
        }
        ControlFlow::Continue(())
    })
    .await?;
    Ok(notes)
}
