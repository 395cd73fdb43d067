//! One VM: from its monitor into the journal.
//!
//! The task reads for ever. The events of each read become one append, which never waits. When the journal has no room
//! (a stalled disk), events are counted and discarded; when there is room again, the epoch is closed with that count, and
//! the VM's state is queried again over the same connection, which opens the next epoch. Because the connection stays open,
//! QEMU discards no events, and no other client can use the monitor.
//!
//! [`epoch::EpochMachine`], which is pure, decides about the records; this task reads, appends and counts.

mod epoch;
mod exit;
mod failure;
mod snapshot;

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use qmp_client::{EventBatch, Follow, FollowEvent, PendingReply};
use qmp_host::clock::Clock;
use qmp_journal::{Appender, Batch, Draft};
use qmp_wire::{Body, DetachReason, UnixMicros};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::reason;
use crate::relay::REPLY_JOURNAL_MAX;
use crate::silence_watch::record_answer;
use crate::vm::FollowedVm;
use epoch::{DetachOutcome, EpochMachine, EventTimes, EventsOutcome};
use snapshot::Answers;

/// How long a monitor must send nothing before the hub leaves it, so that everything that was sent before is read: time for
/// the runtime to poll the system once.
const LEAVE_QUIET: Duration = Duration::from_millis(2);

/// How long the hub reads from a monitor that it leaves, if the monitor keeps sending.
const LEAVE_READ_MAX: Duration = Duration::from_millis(200);

/// Follows one VM until a request to leave it.
pub(crate) struct Attachment {
    vm: Arc<FollowedVm>,
    records: Records,
    /// Whether findings are recorded, and how the VM's process ended.
    records_findings: bool,
    clock: Clock,
    epoch: EpochMachine,
    /// The journal has ended. The monitor is still read, so that the VM's memory does not grow.
    journal_ended: bool,
}

/// Where the records of one VM go.
struct Records {
    vm: Arc<FollowedVm>,
    appender: Appender,
}

/// Why a VM is left.
#[derive(Clone, Debug)]
pub(crate) struct LeaveRequest {
    pub(crate) reason: DetachReason,
    /// The exact cause, for people.
    pub(crate) detail: Box<str>,
}

impl Attachment {
    pub(crate) fn new(vm: Arc<FollowedVm>, appender: Appender, records_findings: bool, clock: Clock) -> Self {
        let records = Records { vm: Arc::clone(&vm), appender };
        Self { vm, records, records_findings, clock, epoch: EpochMachine::new(), journal_ended: false }
    }

    /// Runs until a request to leave; then closes the epoch, waits for its commit, and only then leaves the monitor.
    ///
    /// There are thousands of these futures, so rare ones inside are boxed. The follower is boxed because a future keeps an
    /// argument of its function twice.
    pub(crate) async fn run(mut self, mut follow: Box<Follow>, mut leave: oneshot::Receiver<LeaveRequest>) {
        let requested = loop {
            tokio::select! {
                requested = &mut leave => break Some(requested),
                room = async { Box::pin(self.records.appender.room()).await }, if self.epoch.waits_for_room() && !self.journal_ended => {
                    self.journal_ended = room.is_err();
                    if self.record_overrun() {
                        follow.renew();
                    }
                }
                followed = follow.next() => {
                    if self.take(followed).is_break() {
                        break None;
                    }
                }
            }
        };
        let requested = match requested {
            Some(requested) => requested,
            None => leave.await,
        };
        // The sender was dropped with the hub: the epoch stays open, as in a crash.
        if let Ok(leave) = requested {
            Box::pin(async {
                let certain_until = if self.epoch.is_open() {
                    self.read_what_has_come(&mut follow).await
                } else {
                    self.clock.now()
                };
                // No reply is read from here on, and the commit may take long.
                follow.end_commands();
                self.close(&leave, certain_until).await;
            })
            .await;
        }
    }

    /// Records everything that the VM sent before this call. Returns the moment up to which that is certain.
    async fn read_what_has_come(&mut self, follow: &mut Follow) -> UnixMicros {
        let begun = Instant::now();
        loop {
            let quiet_from = self.clock.now();
            match tokio::time::timeout(LEAVE_QUIET, follow.next()).await {
                Err(_) => return quiet_from,
                Ok(followed) => {
                    if self.take(followed).is_break() {
                        return quiet_from;
                    }
                    if begun.elapsed() > LEAVE_READ_MAX {
                        return self.epoch.newest_record();
                    }
                }
            }
        }
    }

    /// Handles one step of the follower. Returns `Break` if no further step can follow.
    fn take(&mut self, followed: FollowEvent<'_>) -> ControlFlow<()> {
        match followed {
            FollowEvent::Attached { snapshot, .. } => {
                let answers = Answers::read(snapshot);
                if answers.status.is_some() {
                    self.answered();
                }
                self.vm.silence.attached(answers.process.map(|process| process.pid), Instant::now());
                self.attached(snapshot);
            }
            FollowEvent::Events(events) => {
                self.vm.silence.heard(Instant::now());
                self.events(events);
            }
            FollowEvent::Reply(reply) => {
                self.answered();
                self.reply(reply);
            }
            FollowEvent::ProbeAnswered { run_state } => {
                self.answered();
                self.vm.silence.named(run_state);
            }
            FollowEvent::Detached { reason, process, .. } => {
                self.vm.silence.detached();
                let (reason, detail) = (reason.detach_reason(), reason.to_string());
                self.detached(&reason, &detail);
                // The exit status explains the end of the VM; no task waits for it.
                if let Some(process) =
                    process.filter(|_| self.records_findings && reason == DetachReason::PeerClosed)
                {
                    tokio::spawn(exit::record(
                        process,
                        self.vm.name.clone(),
                        self.records.appender.clone(),
                        self.clock,
                    ));
                }
            }
            FollowEvent::Failed { error, attempt, retry_in } => {
                failure::record(&self.vm, error, attempt, self.clock);
                // A descriptor that was inherited cannot be connected a second time.
                if retry_in.is_none() {
                    return ControlFlow::Break(());
                }
            }
            // The client may report more steps in a later version; the hub needs none of them.
            _ => {}
        }
        ControlFlow::Continue(())
    }

    /// The VM answered a command.
    fn answered(&self) {
        let now = Instant::now();
        if let Some(spell) = self.vm.silence.answered(now)
            && self.records_findings
        {
            record_answer(&self.vm, spell, now, self.clock.now(), &self.records.appender);
        }
    }

    fn attached(&mut self, snapshot: &str) {
        // The VM detached and attached again before there was room to close its epoch.
        if self.epoch.is_overrun() && !self.record_overrun() {
            return;
        }
        // Before the record: a line that begins in between gets the greeting, and the record as well.
        self.vm.tap.lock().attached(snapshot);
        let now = self.clock.now();
        let append = |body: Body<'_>| self.records.append_one(body, now);
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

    fn events(&mut self, mut events: EventBatch<'_>) {
        let recording = self.epoch.is_open();
        let (mut batch, mut times) = (Batch::new(), EventTimes::after(self.epoch.newest_record()));
        while let Some((event, received_at)) = events.next_received() {
            self.vm.counts.event(&event.name);
            let received = self.clock.time_of(received_at);
            times.add(event.timestamp, received);
            if recording {
                let data = event.data.map(Cow::Borrowed);
                let body = Body::Event {
                    name: event.name,
                    sent_name: event.sent_name.map(Cow::Borrowed),
                    timestamp: event.timestamp,
                    data,
                };
                batch.push(&Draft { vm: self.vm.name.as_str(), received, body });
            }
        }
        let outcome = self.epoch.record_events(times, || self.records.append(batch));
        if outcome != EventsOutcome::Recorded {
            self.vm.counts.events_discarded.add(times.count());
        }
        if outcome == EventsOutcome::OverrunBegan {
            self.overrun();
        }
    }

    /// Releases a reply to its client once the events before it are committed, or after [`REPLY_JOURNAL_MAX`].
    fn reply(&self, reply: PendingReply) {
        if !reply.waits_for_events() {
            return reply.release();
        }
        let tap = self.vm.tap.lock();
        if let Some(line) = &tap.line
            && !self.epoch.waits_for_room()
        {
            return line.hold(reply);
        }
        match tap.last {
            Some(ticket) if !self.epoch.waits_for_room() => {
                let appender = self.records.appender.clone();
                tokio::spawn(async move {
                    let committed = tokio::time::timeout(REPLY_JOURNAL_MAX, appender.committed(ticket)).await;
                    match committed {
                        Ok(Ok(_)) => reply.release(),
                        // The VM has executed the command, and the client must get the result.
                        Ok(Err(_)) | Err(_) => reply.release_early(),
                    }
                });
            }
            Some(_) => reply.release_early(),
            None => reply.release(),
        }
    }

    fn detached(&mut self, reason: &DetachReason, detail: &str) {
        tracing::warn!(vm = %self.vm.name, "detached: {detail}");
        self.vm.tap.lock().greeting = None;
        let now = self.clock.now();
        let append = |body: Body<'_>| self.records.append_one(body, now);
        match self.epoch.detach(reason, detail, now, append) {
            DetachOutcome::OverrunBegan => return self.overrun(),
            DetachOutcome::Closed => self.vm.counts.gap(reason),
            DetachOutcome::NoneOpen => {}
        }
        self.vm.detached(detail, reason::of_detach(reason), now);
    }

    /// Sets the status and logs that the journal has no room.
    fn overrun(&self) {
        self.vm.overrun(self.clock.now());
        tracing::error!(vm = %self.vm.name, "the journal has no room; events are thrown away until it has");
    }

    /// Closes the epoch that the overrun ended. Returns whether the VM's state must be queried again.
    fn record_overrun(&mut self) -> bool {
        let append = |body: Body<'_>| self.records.append_one(body, self.clock.now());
        let Ok(lost) = self.epoch.record_overrun(append) else { return false };
        if let Some(lost_events) = lost {
            self.vm.counts.gap(&DetachReason::Overrun);
            tracing::warn!(vm = %self.vm.name, lost_events, "the journal has room again");
        }
        true
    }

    async fn close(&mut self, leave: &LeaveRequest, certain_until: UnixMicros) {
        loop {
            let is_closed = if self.epoch.is_overrun() {
                self.record_overrun()
            } else {
                let append = |body: Body<'_>| self.records.append_one(body, self.clock.now());
                self.epoch.leave(&leave.reason, &leave.detail, certain_until, append).is_ok()
            };
            if is_closed || self.records.appender.room().await.is_err() {
                break;
            }
        }
        self.vm.silence.detached();
        self.vm.detached(&leave.detail, reason::of_detach(&leave.reason), self.clock.now());
        let last = self.vm.tap.lock().last;
        if let Some(ticket) = last {
            let _ = self.records.appender.committed(ticket).await;
        }
    }
}

impl Records {
    /// Hands one record to the journal; `false` if it has no room.
    fn append_one(&self, body: Body<'_>, received: UnixMicros) -> bool {
        let mut batch = Batch::new();
        batch.push(&Draft { vm: self.vm.name.as_str(), received, body });
        self.append(batch)
    }

    /// Hands `batch` to the journal; `false` if it has no room. The memory of a batch is not kept: most VMs send
    /// nothing for minutes, and there may be thousands of them.
    fn append(&self, mut batch: Batch) -> bool {
        let records = batch.len() as u64;
        let mut tap = self.vm.tap.lock();
        match self.appender.append(&mut batch) {
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
}
