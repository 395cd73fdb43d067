//! The connection between the attachment of a VM and its line.
//!
//! Relays are opened and closed while a VM is attached. Its attachment appends records and hands over replies under this
//! lock, so that a line begins between two appends: the line counts exactly the records after the first of them.

use std::sync::{Arc, Mutex, MutexGuard};

use qmp_host::lock;
use qmp_journal::Ticket;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::line::Line;

/// Connects an attachment with the line of its VM.
#[derive(Debug, Default)]
pub(crate) struct Tap(Mutex<TapState>);

#[derive(Debug, Default)]
pub(crate) struct TapState {
    /// The VM's clients at relays, which get replies in order with the events.
    pub(crate) line: Option<Arc<Line>>,
    /// The last append: later replies wait for its commit.
    pub(crate) last: Option<Ticket>,
    /// The greeting of the attached VM, for a line that begins later. Retention may have pruned it from the journal.
    pub(crate) greeting: Option<Box<str>>,
}

impl Tap {
    pub(crate) fn lock(&self) -> MutexGuard<'_, TapState> {
        lock(&self.0)
    }
}

impl TapState {
    /// The VM is attached: keeps its greeting.
    pub(crate) fn attached(&mut self, snapshot: &str) {
        #[derive(Deserialize)]
        struct Snapshot<'s> {
            #[serde(borrow)]
            greeting: &'s RawValue,
        }
        let snapshot = serde_json::from_str::<Snapshot<'_>>(snapshot);
        // An empty object is read as the greeting of the oldest QEMU.
        self.greeting = Some(snapshot.map_or("{}", |snapshot| snapshot.greeting.get()).into());
    }
}
