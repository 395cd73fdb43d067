//! Checkpoints of the correlators in the journal: appended with the findings, and restored before records are read again.

use qmp_findings::{Correlators, Position, SavedState};
use qmp_journal::{Checkpoint, Globs, Query, Reader};
use qmp_wire::Offset;

/// The checkpoint of a VM after its record at `offset`, the last one; `None` if none is due.
pub(super) fn checkpoint(correlators: &mut Correlators, vm: &str, offset: Offset) -> Option<Checkpoint> {
    let SavedState { version, checksum, state } = correlators.checkpoint(vm, offset)?;
    Some(Checkpoint { vm: vm.into(), offset, version, checksum, state })
}

/// The checkpoints of the VMs whose oldest records without one may be removed soon: they are in the first quarter of the
/// journal. A VM gets one at most once in the time in which three quarters of the journal are replaced.
pub(super) fn checkpoints_before_removal(
    correlators: &mut Correlators,
    first: Offset,
    head: Offset,
) -> Vec<Checkpoint> {
    let before = Offset(first.0 + head.0.saturating_sub(first.0) / 4);
    let states = correlators.checkpoints_before(before).into_iter();
    let checkpoint = |(vm, offset, SavedState { version, checksum, state })| Checkpoint {
        vm,
        offset,
        version,
        checksum,
        state,
    };
    states.map(checkpoint).collect()
}

/// The last record that a restored state includes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoredState {
    /// Its offset: the records after it are next.
    pub offset: Offset,
    /// Its epoch, number and receipt.
    pub position: Position,
}

/// Restores a VM from its checkpoint in the journal, if the last record of that is after `after`, not after `upto`, and
/// `is_usable` accepts it. Retention may have removed the record itself.
///
/// A checkpoint that cannot be read counts as missing.
pub fn restore_checkpoint(
    correlators: &mut Correlators,
    reader: &Reader,
    vm: &str,
    (after, upto): (Offset, Offset),
    is_usable: impl Fn(Position) -> bool,
) -> Option<RestoredState> {
    let Checkpoint { offset, version, checksum, state, .. } = reader.checkpoint(vm).ok()??;
    if offset <= after || offset > upto {
        return None;
    }
    if offset >= reader.first().ok()? && !has_record_at(reader, vm, offset) {
        return None;
    }
    let mut restored = Correlators::new();
    if !restored.restore(vm, offset, &SavedState { version, checksum, state }) {
        return None;
    }
    let position = restored.position(vm).filter(|position| is_usable(*position))?;
    correlators.take_vm(vm, restored);
    Some(RestoredState { offset, position })
}

/// Whether the record at this offset belongs to the VM.
fn has_record_at(reader: &Reader, vm: &str, offset: Offset) -> bool {
    let query = Query { vm: Globs::of_vms([vm]), ..Query::default() };
    let mut cursor = reader.cursor(query, Offset(offset.0.saturating_sub(1)));
    let records = cursor.next_batch_upto(1, offset).unwrap_or_default();
    records.first().is_some_and(|record| record.offset == Some(offset))
}
