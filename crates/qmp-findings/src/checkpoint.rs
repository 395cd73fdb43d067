//! Checkpoints of the correlators: the state of a VM after one of its records, so that its epoch need not be read from
//! the beginning again.
//!
//! A checkpoint is taken right after a record and equals the state of any reader of the records up to that one. The
//! observer appends it to the journal after the findings that were concluded by then, in one batch: a checkpoint
//! implies its findings, and a hub that starts only concludes from later records.
//!
//! A checkpoint of another version of the code, or with a wrong checksum, is not restored, and the epoch is read from
//! its beginning.

use std::sync::LazyLock;

use qmp_wire::Offset;
use serde_json::Value;

use crate::correlators::Correlators;
use crate::limits::{CHECKPOINT_MAX_BYTES, CHECKPOINT_RECORDS};
use crate::persist::{self, Persist as _};
use crate::tracker::VmTracker;

/// Raised when a change gives another meaning to the same members: earlier texts are not read then.
const REVISION: u32 = 1;

/// The version of the code that a text is for: the release, and a hash of the layout.
static VERSION: LazyLock<Box<str>> = LazyLock::new(|| {
    let mut layout = String::new();
    VmTracker::layout(&mut layout);
    format!("{}.{REVISION}-{:016x}", env!("CARGO_PKG_VERSION"), persist::hash(&layout)).into()
});

/// The state of a VM as a text, with its version and checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedState {
    /// The version of the code that reads the state.
    pub version: Box<str>,
    /// The checksum of the state, its VM and its offset.
    pub checksum: i64,
    /// The state.
    pub state: Box<str>,
}

impl Correlators {
    /// The state of a VM after its last record, at `offset`; `None` if fewer than [`CHECKPOINT_RECORDS`] records were
    /// taken since the last checkpoint, or if the state is larger than [`CHECKPOINT_MAX_BYTES`].
    #[must_use]
    pub fn checkpoint(&mut self, vm: &str, offset: Offset) -> Option<SavedState> {
        let tracker = self.vms.get_mut(vm).filter(|tracker| tracker.unsaved() >= CHECKPOINT_RECORDS)?;
        saved(vm, offset, tracker)
    }

    /// The states of the VMs with a record before `before` that no checkpoint covers, each with the offset of the VM's
    /// last record: the journal may remove these records soon.
    #[must_use]
    pub fn checkpoints_before(&mut self, before: Offset) -> Vec<(Box<str>, Offset, SavedState)> {
        let mut states = Vec::new();
        for (vm, tracker) in &mut self.vms {
            if let Some((first, last)) = tracker.unsaved_span()
                && first < before
            {
                states.extend(saved(vm, last, tracker).map(|saved| (vm.clone(), last, saved)));
            }
        }
        states
    }

    /// Replaces the state of a VM by its saved state after its record at `offset`. Returns whether the saved state
    /// could be read; otherwise the VM is unchanged.
    pub fn restore(&mut self, vm: &str, offset: Offset, saved: &SavedState) -> bool {
        let is_intact = *saved.version == *version() && checksum(vm, offset, &saved.state) == saved.checksum;
        let Some(tracker) = is_intact.then(|| read(&saved.state)).flatten() else { return false };
        self.vms.insert(vm.into(), tracker);
        self.note(vm);
        true
    }

    /// The state of a VM as a text.
    #[cfg(test)]
    pub(super) fn saved(&self, vm: &str) -> Option<Box<str>> {
        self.vms.get(vm).map(|tracker| text(tracker))
    }

    /// Creates correlators with this state of this VM; `None` if the text is not a state.
    #[cfg(test)]
    pub(super) fn of_saved(vm: &str, state: &str) -> Option<Self> {
        let mut correlators = Self::new();
        correlators.vms.insert(vm.into(), read(state)?);
        correlators.note(vm);
        Some(correlators)
    }
}

/// The state of a VM as it is saved; `None` if it is too large.
fn saved(vm: &str, offset: Offset, tracker: &mut VmTracker) -> Option<SavedState> {
    tracker.reset_unsaved();
    let state = text(tracker);
    (state.len() <= CHECKPOINT_MAX_BYTES).then(|| {
        let checksum = checksum(vm, offset, &state);
        SavedState { version: version().into(), checksum, state }
    })
}

/// The version of the code that a text is for. Texts of another version are not read.
fn version() -> &'static str {
    &VERSION
}

fn text(tracker: &VmTracker) -> Box<str> {
    tracker.save().to_string().into()
}

fn read(state: &str) -> Option<Box<VmTracker>> {
    let value: Value = serde_json::from_str(state).ok()?;
    Box::load(value)
}

fn checksum(vm: &str, offset: Offset, state: &str) -> i64 {
    persist::hash((vm, offset, state)).cast_signed()
}
