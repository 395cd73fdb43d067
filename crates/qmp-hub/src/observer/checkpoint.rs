//! Checkpoints of the correlators in the journal: appended with the findings, and restored before records are read again.

use qmp_findings::{Correlators, SavedState};
use qmp_journal::{Checkpoint, Globs, Query, Reader};
use qmp_wire::{Offset, Record};

/// The checkpoint of a VM after its record at `offset`, the last one; `None` if none is due.
pub(super) fn checkpoint(correlators: &mut Correlators, vm: &str, offset: Offset) -> Option<Checkpoint> {
    let SavedState { version, checksum, state } = correlators.checkpoint(vm, offset)?;
    Some(Checkpoint { vm: vm.into(), offset, version, checksum, state })
}

/// Restores a VM from its checkpoint in the journal, if the last record of that is after `after`, not after `upto`, and
/// `is_usable` accepts it. Returns that record: the records after it are next.
///
/// A checkpoint that cannot be read counts as missing.
pub fn restore_checkpoint(
    correlators: &mut Correlators,
    reader: &Reader,
    vm: &str,
    (after, upto): (Offset, Offset),
    is_usable: impl Fn(&Record<'_>) -> bool,
) -> Option<Record<'static>> {
    let Checkpoint { offset, version, checksum, state, .. } = reader.checkpoint(vm).ok()??;
    if offset <= after || offset > upto {
        return None;
    }
    let last = record_at(reader, vm, offset).filter(is_usable)?;
    correlators.restore(vm, offset, &SavedState { version, checksum, state }).then_some(last)
}

/// The record of a VM at this offset, if there is one.
fn record_at(reader: &Reader, vm: &str, offset: Offset) -> Option<Record<'static>> {
    let query = Query { vm: Globs::parse([globset::escape(vm)]).ok()?, ..Query::default() };
    let mut cursor = reader.cursor(query, Offset(offset.0.saturating_sub(1)));
    let record = cursor.next_batch_upto(1, offset).ok()?.pop()?;
    (record.offset == Some(offset)).then_some(record)
}
