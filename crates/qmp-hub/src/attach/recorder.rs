//! The records of one VM: epochs, events and their ends, into the journal, which is never waited for.
//!
//! [`EpochMachine`], which is pure, decides which records there are; this type appends, counts and sets the VM's status. Its owner
//! reads the VM's events: an [`Attachment`](super::Attachment) from a monitor, a follower of libvirt for many VMs.

use std::borrow::Cow;
use std::sync::Arc;

use qmp_host::clock::Clock;
use qmp_journal::{Appender, Batch, Draft};
use qmp_wire::{Body, DetachReason, RawEvent, UnixMicros};

use super::epoch::{DetachOutcome, EpochMachine, EventTimes, EventsOutcome};
use super::leave_request::LeaveRequest;
use crate::reason;
use crate::vm::FollowedVm;

/// Records one VM.
pub(crate) struct Recorder {
    pub(super) vm: Arc<FollowedVm>,
    pub(super) appender: Appender,
    pub(super) clock: Clock,
    pub(super) epoch: EpochMachine,
}

/// Events that are recorded together.
pub(crate) struct EventsDraft {
    batch: Batch,
    times: EventTimes,
    is_recording: bool,
}

impl Recorder {
    pub(crate) fn new(vm: Arc<FollowedVm>, appender: Appender, clock: Clock) -> Self {
        Self { vm, appender, clock, epoch: EpochMachine::new() }
    }

    pub(crate) fn vm(&self) -> &Arc<FollowedVm> {
        &self.vm
    }

    pub(crate) fn appender(&self) -> &Appender {
        &self.appender
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// The moment up to which an epoch is certain that is closed now.
    pub(crate) fn now(&self) -> UnixMicros {
        self.clock.now()
    }

    /// When the newest record of the epoch was received.
    pub(crate) fn newest_record(&self) -> UnixMicros {
        self.epoch.newest_record()
    }

    /// Whether the record that closes or opens an epoch waits for room.
    pub(crate) fn waits_for_room(&self) -> bool {
        self.epoch.waits_for_room()
    }

    pub(crate) fn attached(&mut self, snapshot: &str) {
        // The VM detached and attached again before there was room to close its epoch.
        if self.epoch.is_overrun() && !self.record_overrun() {
            return;
        }
        // Before the record: a line that begins in between gets the greeting, and the record as well.
        self.vm.tap.lock().attached(snapshot);
        let now = self.clock.now();
        let append = |body: Body<'_>| append_one(&self.vm, &self.appender, body, now);
        if self.epoch.open(snapshot, now, append).is_ok() {
            self.vm.counts.epochs.add(1);
            self.vm.set_left_out(false);
            self.vm.attached(now);
            tracing::info!(vm = %self.vm.name, "attached");
        } else {
            self.vm.tap.lock().greeting = None;
            self.overrun();
        }
    }

    /// Begins a draft of events.
    pub(crate) fn begin_events(&self) -> EventsDraft {
        let times = EventTimes::after(self.epoch.newest_record());
        EventsDraft { batch: Batch::new(), times, is_recording: self.epoch.is_open() }
    }

    /// Adds an event to a draft.
    pub(crate) fn add_event(&self, draft: &mut EventsDraft, event: RawEvent<'_>, received: UnixMicros) {
        self.vm.counts.event(&event.name);
        draft.times.add(event.timestamp, received);
        if draft.is_recording {
            let data = event.data.map(Cow::Borrowed);
            let body = Body::Event {
                name: event.name,
                sent_name: event.sent_name.map(Cow::Borrowed),
                timestamp: event.timestamp,
                data,
            };
            draft.batch.push(&Draft { vm: self.vm.name.as_str(), received, body });
        }
    }

    /// Records the events of a draft.
    pub(crate) fn record_events(&mut self, draft: EventsDraft) {
        let EventsDraft { batch, times, .. } = draft;
        let outcome = self.epoch.record_events(times, || append(&self.vm, &self.appender, batch));
        if outcome != EventsOutcome::Recorded {
            self.vm.counts.events_discarded.add(times.count());
        }
        if outcome == EventsOutcome::OverrunBegan {
            self.overrun();
        }
    }

    /// Closes the epoch, in which no event is missing up to `certain_until`.
    pub(crate) fn detached(&mut self, reason: &DetachReason, detail: &str, certain_until: UnixMicros) {
        tracing::warn!(vm = %self.vm.name, "detached: {detail}");
        self.vm.tap.lock().greeting = None;
        let now = self.clock.now();
        let append = |body: Body<'_>| append_one(&self.vm, &self.appender, body, now);
        match self.epoch.detach(reason, detail, certain_until, append) {
            DetachOutcome::OverrunBegan => return self.overrun(),
            DetachOutcome::Closed => self.vm.counts.gap(reason),
            DetachOutcome::NoneOpen => {}
        }
        self.vm.detached(detail, reason::of_detach(reason), now);
    }

    /// Closes the epoch that the overrun ended. Returns whether the VM's state must be queried again.
    pub(crate) fn record_overrun(&mut self) -> bool {
        let append = |body: Body<'_>| append_one(&self.vm, &self.appender, body, self.clock.now());
        let Ok(lost) = self.epoch.record_overrun(append) else { return false };
        if let Some(lost_events) = lost {
            self.vm.counts.gap(&DetachReason::Overrun);
            tracing::warn!(vm = %self.vm.name, lost_events, "the journal has room again");
        }
        true
    }

    /// Closes the epoch of a VM that is left. Returns whether the journal had room.
    pub(crate) fn leave(&mut self, leave: &LeaveRequest, certain_until: UnixMicros) -> bool {
        if self.epoch.is_overrun() {
            return self.record_overrun();
        }
        let append = |body: Body<'_>| append_one(&self.vm, &self.appender, body, self.clock.now());
        self.epoch.leave(&leave.reason, &leave.detail, certain_until, append).is_ok()
    }

    /// Sets the status of a VM that was left.
    pub(crate) fn left(&self, leave: &LeaveRequest) {
        self.vm.silence.detached();
        self.vm.detached(&leave.detail, reason::of_detach(&leave.reason), self.clock.now());
    }

    /// Sets the status and logs that the journal has no room.
    fn overrun(&self) {
        self.vm.overrun(self.clock.now());
        tracing::error!(vm = %self.vm.name, "the journal has no room; events are thrown away until it has");
    }
}

/// Waits for the commit of the last record of a VM.
pub(crate) async fn committed(vm: &FollowedVm, appender: &Appender) {
    let last = vm.tap.lock().last;
    if let Some(ticket) = last {
        let _ = appender.committed(ticket).await;
    }
}

/// Hands one record to the journal; `false` if it has no room.
fn append_one(vm: &FollowedVm, appender: &Appender, body: Body<'_>, received: UnixMicros) -> bool {
    let mut batch = Batch::new();
    batch.push(&Draft { vm: vm.name.as_str(), received, body });
    append(vm, appender, batch)
}

/// Hands `batch` to the journal; `false` if it has no room. The memory of a batch is not kept: most VMs send nothing for
/// minutes, and there may be thousands of them.
fn append(vm: &FollowedVm, appender: &Appender, mut batch: Batch) -> bool {
    let records = batch.len() as u64;
    let mut tap = vm.tap.lock();
    match appender.append(&mut batch) {
        Ok(ticket) => {
            if let Some(line) = &tap.line {
                line.recorded(records);
            }
            tap.last = Some(ticket);
            true
        }
        Err(_) => false,
    }
}
