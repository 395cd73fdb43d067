//! Where the relays of a VM are plugged into what its attachment does.
//!
//! Relays come and go while a VM is attached. Its attachment appends and hands over replies under the lock of this, so
//! that a line begins between two appends: it counts exactly what comes behind the last of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use qmp_journal::Ticket;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::line::Line;

/// What connects an attachment with the line of its VM.
#[derive(Debug, Default)]
pub(crate) struct Tap(Mutex<Tapped>);

#[derive(Debug, Default)]
pub(crate) struct Tapped {
    /// The VM's clients at relays, who are to get replies in order with the events.
    pub(crate) line: Option<Arc<Line>>,
    /// The last append: replies that came after it wait for its commit.
    pub(crate) last: Option<Ticket>,
    /// The greeting of the VM that is there, for clients that come later. The journal may keep it for less long.
    pub(crate) greeting: Option<Box<str>>,
}

impl Tap {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Tapped> {
        // Nothing panics between two steps of one change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tapped {
    /// The VM is there, and this is its state.
    pub(crate) fn attached(&mut self, snapshot: &str) {
        #[derive(Deserialize)]
        struct Snapshot<'s> {
            #[serde(borrow)]
            greeting: &'s RawValue,
        }
        let snapshot = serde_json::from_str::<Snapshot<'_>>(snapshot);
        // As an empty object, a greeting that cannot be read is that of the oldest QEMU.
        self.greeting = Some(snapshot.map_or("{}", |snapshot| snapshot.greeting.get()).into());
    }
}
