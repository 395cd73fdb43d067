//! One VM: from its monitor into the journal.
//!
//! The task reads for ever. The events of each read become one append, which never waits. When the journal has no room
//! (a stalled disk), events are counted and discarded; when there is room again, the epoch is closed with that count, and
//! the VM's state is queried again over the same connection, which opens the next epoch. Because the connection stays open,
//! QEMU discards no events, and no other client can use the monitor.
//!
//! The records are those of a [`Recorder`]; this task reads.

mod epoch;
mod leave_request;
pub(crate) mod exit;
mod failure;
mod recorder;
mod snapshot;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use qmp_client::{EventBatch, Follow, FollowEvent, PendingReply};
use qmp_host::clock::Clock;
use qmp_journal::Appender;
use qmp_wire::{DetachReason, UnixMicros};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::relay::REPLY_JOURNAL_MAX;
use crate::silence_watch::record_answer;
use crate::vm::FollowedVm;
pub(crate) use leave_request::LeaveRequest;
pub(crate) use recorder::{Recorder, committed};
use snapshot::Answers;

/// How long a monitor must send nothing before the hub leaves it, so that everything that was sent before is read: time for
/// the runtime to poll the system once.
const LEAVE_QUIET: Duration = Duration::from_millis(2);

/// How long the hub reads from a monitor that it leaves, if the monitor keeps sending.
const LEAVE_READ_MAX: Duration = Duration::from_millis(200);

/// Follows one VM until a request to leave it.
pub(crate) struct Attachment {
    vm: Arc<FollowedVm>,
    records: Recorder,
    /// Whether findings are recorded, and how the VM's process ended.
    records_findings: bool,
    clock: Clock,
    /// The journal has ended. The monitor is still read, so that the VM's memory does not grow.
    journal_ended: bool,
}

impl Attachment {
    pub(crate) fn new(vm: Arc<FollowedVm>, appender: Appender, records_findings: bool, clock: Clock) -> Self {
        let records = Recorder::new(Arc::clone(&vm), appender, clock);
        Self { vm, records, records_findings, clock, journal_ended: false }
    }

    /// Runs until a request to leave; then closes the epoch, waits for its commit, and only then leaves the monitor.
    ///
    /// There are thousands of these futures, so rare ones inside are boxed. The follower is boxed because a future keeps an
    /// argument of its function twice.
    pub(crate) async fn run(mut self, mut follow: Box<Follow>, mut leave: oneshot::Receiver<LeaveRequest>) {
        let requested = loop {
            tokio::select! {
                requested = &mut leave => break Some(requested),
                room = async { Box::pin(self.records.appender.room()).await }, if self.records.waits_for_room() && !self.journal_ended => {
                    self.journal_ended = room.is_err();
                    if self.records.record_overrun() {
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
                let certain_until = if self.records.epoch.is_open() {
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
                        return self.records.epoch.newest_record();
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
                if let Some(uuid) = answers.uuid() {
                    self.vm.set_uuid(Some(uuid));
                }
                self.vm.silence.attached(answers.process.map(|process| process.pid), Instant::now());
                self.records.attached(snapshot);
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
                self.records.detached(&reason, &detail, self.clock.now());
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

    fn events(&mut self, mut events: EventBatch<'_>) {
        let mut draft = self.records.begin_events();
        while let Some((event, received_at)) = events.next_received() {
            self.records.add_event(&mut draft, event, self.clock.time_of(received_at));
        }
        self.records.record_events(draft);
    }

    /// Releases a reply to its client once the events before it are committed, or after [`REPLY_JOURNAL_MAX`].
    fn reply(&self, reply: PendingReply) {
        if !reply.waits_for_events() {
            return reply.release();
        }
        let tap = self.vm.tap.lock();
        if let Some(line) = &tap.line
            && !self.records.epoch.waits_for_room()
        {
            return line.hold(reply);
        }
        match tap.last {
            Some(ticket) if !self.records.epoch.waits_for_room() => {
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

    async fn close(&mut self, leave: &LeaveRequest, certain_until: UnixMicros) {
        while !self.records.leave(leave, certain_until) && self.records.appender.room().await.is_ok() {}
        self.records.left(leave);
        committed(&self.vm, &self.records.appender).await;
    }
}
