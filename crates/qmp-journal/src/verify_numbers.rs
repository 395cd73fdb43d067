//! Compares epoch and number of each record with those of the record before it. Pure: no file, no clock.

use super::body::RecordKind;

/// The last numbers of a VM.
#[derive(Clone, Copy, Default)]
pub(super) struct VmPosition {
    /// Epoch and number; `None` without a record of the VM's host.
    numbers: Option<(u32, u64)>,
    /// Its last record in a sealed segment, with the numbers of the row of the VM.
    pub(super) sealed: Option<(u64, u32, u64)>,
}

/// A row of `epoch`, and whether its records were found.
pub(super) struct EpochRow {
    pub(super) opened: u64,
    pub(super) closed: Option<u64>,
    pub(super) was_opened: bool,
    pub(super) was_closed: bool,
}

impl VmPosition {
    /// Advances to a record, and returns the numbers of the one before it.
    pub(super) fn advance(
        &mut self,
        offset: u64,
        numbers: (u32, u64),
        is_sealed: bool,
    ) -> Option<(u32, u64)> {
        let before = self.numbers.replace(numbers);
        self.pass(offset, is_sealed);
        before
    }

    /// Advances to a record without numbers of the VM's host.
    pub(super) fn pass(&mut self, offset: u64, is_sealed: bool) {
        if is_sealed {
            let (epoch, seq) = self.numbers.unwrap_or_default();
            self.sealed = Some((offset, epoch, seq));
        }
    }
}

/// Whether `numbers` may follow those `before` them; without a hole if `exact`.
pub(super) fn follows(before: (u32, u64), numbers: (u32, u64), kind: RecordKind, exact: bool) -> bool {
    let (epoch, seq) = numbers;
    match (kind, exact) {
        (RecordKind::Attached, true) => (Some(epoch), seq) == (before.0.checked_add(1), 0),
        (RecordKind::Attached, false) => epoch > before.0 && seq == 0,
        (_, true) => (epoch, Some(seq)) == (before.0, before.1.checked_add(1)),
        (_, false) => numbers > before,
    }
}
