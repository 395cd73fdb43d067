//! Checkpoints of the correlators: the state of a VM at one of its records, so that its epoch need not be read from the
//! beginning again.
//!
//! A checkpoint is taken right after a record, so it is what any reader gets from the records up to that one. The
//! observer appends it to the journal after the findings that were concluded by then, in one batch: where it is, they
//! are, and a hub that starts concludes again only what came after it.
//!
//! One that other code wrote, or that does not hold what was written, is not restored, and the epoch is read whole.

use std::sync::LazyLock;

use qmp_wire::Offset;
use serde_json::Value;

use crate::correlators::Correlators;
use crate::limits::{CHECKPOINT_MAX_BYTES, CHECKPOINT_RECORDS};
use crate::saved::{self, Saved as _};
use crate::tracker::Tracked;

/// To be raised when the correlators mean something else by the same members: texts of before are not read then.
const REVISION: u32 = 1;

/// Which code a text is for: the release, and a hash of the layout.
static VERSION: LazyLock<Box<str>> = LazyLock::new(|| {
    let mut layout = String::new();
    Tracked::layout(&mut layout);
    format!("{}.{REVISION}-{:016x}", env!("CARGO_PKG_VERSION"), saved::hash(&layout)).into()
});

/// The state of a VM as a text, and what tells whether it can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedState {
    /// Which code reads the state.
    pub version: Box<str>,
    /// Of the state, its VM and its offset.
    pub checksum: i64,
    /// The state.
    pub state: Box<str>,
}

impl Correlators {
    /// The state of a VM after its record at `offset`, which was taken last; `None` while few records came since the
    /// last checkpoint, or if the state is too large to be one.
    #[must_use]
    pub fn checkpoint(&mut self, vm: &str, offset: Offset) -> Option<SavedState> {
        let tracked = self.vms.get_mut(vm).filter(|tracked| tracked.unsaved() >= CHECKPOINT_RECORDS)?;
        tracked.now_saved();
        let state = text(tracked);
        (state.len() <= CHECKPOINT_MAX_BYTES).then(|| {
            let checksum = checksum(vm, offset, &state);
            SavedState { version: version().into(), checksum, state }
        })
    }

    /// Goes on from the state of a VM after its record at `offset`. Returns whether that state could be read; the VM is
    /// left as it is otherwise.
    pub fn restore(&mut self, vm: &str, offset: Offset, saved: &SavedState) -> bool {
        let is_intact = *saved.version == *version() && checksum(vm, offset, &saved.state) == saved.checksum;
        let Some(tracked) = is_intact.then(|| read(&saved.state)).flatten() else { return false };
        self.vms.insert(vm.into(), tracked);
        self.note(vm);
        true
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

/// Which code a text is for. Texts of another version are not read.
fn version() -> &'static str {
    &VERSION
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
