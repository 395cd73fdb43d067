//! An epoch as correlators see it, and what is left of the one before.

use qmp_events::Release;
use qmp_wire::UnixMicros;

use crate::finding::Id;
use crate::local_time::Moment;
use crate::observation::Snapshot;
use crate::process::{Identity, Process};
use crate::saved::{saved, saved_enum};

/// The span of certainty that the records belong to.
#[derive(Debug, Default)]
pub(crate) struct Span {
    /// The record that opened it; `None` if that was never seen.
    pub(crate) opened: Option<Id>,
    pub(crate) opened_at: Moment,
    /// Whether it is open still.
    pub(crate) open: bool,
    /// What the VM runs, if it said.
    pub(crate) release: Option<Release>,
    pub(crate) snapshot: Snapshot,
    /// The end of what is certain in it, once it is closed.
    pub(crate) certain_until: Option<UnixMicros>,
    /// What was known when the span before it ended.
    pub(crate) before: Option<Box<Before>>,
}

/// What was known of a VM when a span ended.
#[derive(Debug)]
pub(crate) struct Before {
    pub(crate) last: Id,
    /// The record that opened it; `None` if that was never seen.
    pub(crate) opened: Option<Id>,
    pub(crate) snapshot: Snapshot,
    /// The end of what is certain in it.
    pub(crate) certain_until: Option<UnixMicros>,
    /// What is known of its run state.
    pub(crate) known: Option<Known>,
    /// Whether its QEMU had ended by then, as far as the monitor told.
    pub(crate) is_end_seen: bool,
}

/// What is known of the run state, by an answer of the VM or an event that leaves no doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    RunState(Box<str>),
    /// It does not run.
    Stopped,
}

saved!(Span { opened, opened_at, open, release, snapshot, certain_until, before });
saved!(Before { last, opened, snapshot, certain_until, known, is_end_seen });

impl Before {
    /// Whether the process at the monitor was the one that this snapshot names.
    pub(crate) fn process_is(&self, snapshot: &Snapshot) -> Identity {
        Process::compare(self.snapshot.process.as_ref(), snapshot.process.as_ref())
    }
}
saved_enum!(Known { RunState { 0: run_state }, Stopped {} });
