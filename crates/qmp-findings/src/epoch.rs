//! An epoch as correlators see it, and the facts kept of the one before.

use qmp_events::{EventKind, Release};
use qmp_wire::UnixMicros;

use crate::finding::Id;
use crate::local_time::Moment;
use crate::observation::{Arrival, Event, Snapshot};
use crate::persist::{persist, persist_enum};
use crate::process::{Identity, Process};

/// The span of certainty to which the records belong.
#[derive(Debug, Default)]
pub(crate) struct Span {
    /// The record that opened it; `None` if that was never seen.
    pub(crate) opened: Option<Id>,
    pub(crate) opened_at: Moment,
    /// Whether it is open.
    pub(crate) open: bool,
    /// The release of QEMU, if known.
    pub(crate) release: Option<Release>,
    pub(crate) snapshot: Snapshot,
    /// The end of what is certain in the span, once it is closed.
    pub(crate) certain_until: Option<UnixMicros>,
    /// The arrival of a domain of libvirt that is not over: its QEMU reports a migration to here.
    pub(crate) arrival: Option<Arrival>,
    /// The facts about the span before, when it ended.
    pub(crate) before: Option<Box<PreviousEpoch>>,
}

/// The facts about a VM when a span ended.
#[derive(Debug)]
pub(crate) struct PreviousEpoch {
    pub(crate) last: Id,
    /// The record that opened the span; `None` if that was never seen.
    pub(crate) opened: Option<Id>,
    pub(crate) snapshot: Snapshot,
    /// The end of what is certain in the span.
    pub(crate) certain_until: Option<UnixMicros>,
    /// The run state, as far as known.
    pub(crate) known: Option<KnownState>,
    /// Whether its QEMU had ended by then, as far as the monitor showed, or may have ended by missing records.
    pub(crate) is_end_seen: bool,
}

/// The run state as far as it is known, by an answer of the VM or an unambiguous event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KnownState {
    RunState(Box<str>),
    /// A run state in which the VM does not run.
    Stopped,
}

persist!(Span { opened, opened_at, open, release, snapshot, certain_until, arrival, before });
persist!(PreviousEpoch { last, opened, snapshot, certain_until, known, is_end_seen });

impl Span {
    /// Ends the arrival of a domain with this event, if it does.
    pub(crate) fn end_arrival(&mut self, event: &Event<'_>) {
        let is_last = || matches!(event.text("status"), Some("completed" | "failed" | "cancelled"));
        match event.kind {
            Some(EventKind::Migration) if is_last() => self.arrival = None,
            Some(EventKind::Resume) => self.arrival = None,
            _ => {}
        }
    }
}

impl PreviousEpoch {
    /// The run state `paused`, if the same process was in it before, and libvirt says that the domain is paused, with a reason
    /// that stands for several run states: a domain that was restored paused keeps the reason of its restore.
    pub(crate) fn is_still_paused(&self, snapshot: &Snapshot) -> Option<&str> {
        let KnownState::RunState(known) = self.known.as_ref()? else { return None };
        let is_paused = snapshot.libvirt.as_ref()?.words().state == "paused" && &**known == "paused";
        (is_paused && self.process_is(snapshot) == Identity::Same).then_some(known)
    }

    /// Whether the process at the monitor is the one that this snapshot names.
    pub(crate) fn process_is(&self, snapshot: &Snapshot) -> Identity {
        Process::compare(self.snapshot.process.as_ref(), snapshot.process.as_ref())
    }
}
persist_enum!(KnownState { RunState { 0: run_state }, Stopped {} });
