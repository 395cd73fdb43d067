//! Checkpoints of the correlators: the state of a VM at one of its records, so that its epoch need not be read from the
//! beginning again.
//!
//! A checkpoint is taken right after a record, so it is what anyone gets who reads the records up to that one. The
//! observer hands it to the journal behind the findings that were concluded by then, in one batch: where it is, they are,
//! and a hub that starts concludes again only what came after it.
//!
//! One of other code, or that does not hold what was written, is passed over, and the epoch is read whole.

use qmp_wire::{Offset, Record};
use serde_json::Value;

use super::saved::{self, Saved as _};
use super::tracked::Tracked;
use super::{CHECKPOINT_MAX_BYTES, CHECKPOINT_RECORDS, Correlators};
use crate::journal::{Checkpoint, Globs, Query, Reader};

impl Correlators {
    /// The state of a VM after its record at `offset`, which was taken last; `None` while few records came since the
    /// last checkpoint, or if the state is too large to be one.
    pub(crate) fn checkpoint(&mut self, vm: &str, offset: Offset) -> Option<Checkpoint> {
        let tracked = self.vms.get_mut(vm).filter(|tracked| tracked.unsaved() >= CHECKPOINT_RECORDS)?;
        tracked.now_saved();
        let state = text(tracked);
        (state.len() <= CHECKPOINT_MAX_BYTES).then(|| {
            let checksum = checksum(vm, offset, &state);
            Checkpoint { vm: vm.into(), offset, version: saved::version().into(), checksum, state }
        })
    }

    /// Goes on from the checkpoint of a VM, if its last record is behind `after`, not behind `upto`, and is one that
    /// `is_usable` takes. Returns that record: those after it are to be taken next.
    ///
    /// A checkpoint that cannot be read is none.
    pub fn restore(
        &mut self,
        reader: &Reader,
        vm: &str,
        (after, upto): (Offset, Offset),
        is_usable: impl Fn(&Record<'_>) -> bool,
    ) -> Option<Record<'static>> {
        let checkpoint = reader.checkpoint(vm).ok()??;
        let offset = checkpoint.offset;
        if offset <= after || offset > upto || *checkpoint.version != *saved::version() {
            return None;
        }
        let last = record_at(reader, vm, offset).filter(is_usable)?;
        let intact = checksum(vm, offset, &checkpoint.state) == checkpoint.checksum;
        let tracked = intact.then(|| read(&checkpoint.state)).flatten()?;
        self.vms.insert(vm.into(), tracked);
        self.note(vm);
        Some(last)
    }

    /// The whole state of a VM as a text.
    #[cfg(test)]
    pub(super) fn saved(&self, vm: &str) -> Option<Box<str>> {
        self.vms.get(vm).map(|tracked| text(tracked))
    }

    /// The correlators that have this state of this VM; `None` if that is no state.
    #[cfg(test)]
    pub(super) fn of_saved(vm: &str, state: &str) -> Option<Self> {
        let mut correlators = Self::new();
        correlators.vms.insert(vm.into(), read(state)?);
        correlators.note(vm);
        Some(correlators)
    }
}

fn text(tracked: &Tracked) -> Box<str> {
    tracked.save().to_string().into()
}

fn read(state: &str) -> Option<Box<Tracked>> {
    let value: Value = serde_json::from_str(state).ok()?;
    Box::load(value)
}

fn checksum(vm: &str, offset: Offset, state: &str) -> i64 {
    saved::hash((vm, offset, state)).cast_signed()
}

/// The record of a VM at this place, if there is one.
fn record_at(reader: &Reader, vm: &str, offset: Offset) -> Option<Record<'static>> {
    let query = Query { vm: Globs::parse([globset::escape(vm)]).ok()?, ..Query::default() };
    let mut cursor = reader.cursor(query, Offset(offset.0.saturating_sub(1)));
    let record = cursor.next_batch_upto(1, offset).ok()?.pop()?;
    (record.offset == Some(offset)).then_some(record)
}
