//! One VM: from its monitor into the journal.
//!
//! The task reads for ever. Each batch of events that one read brought becomes one append, which never waits.
//! When the journal has no room (a stalled disk), what comes is counted and thrown away; as soon as there is
//! room, the epoch is closed with that count, and the VM is asked for its state again over the same connection,
//! which opens the next epoch. Keeping the connection means that QEMU throws nothing away, and that no other
//! client takes the monitor meanwhile.

mod exit;

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use qmp_client::{Address, ConnectError, EventBatch, Follow, Followed, PendingReply};
use qmp_host::blocking;
use qmp_host::{clock, permissions};
use qmp_journal::{Appender, Batch, Draft};
use qmp_wire::{Body, DetachReason, Timestamp, UnixMicros};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use crate::relay::REPLY_JOURNAL_MAX;
use crate::silence_watch::record_answer;
use crate::vm::Vm;
use crate::{reason, taken};

/// Looks at the host for the reason why monitors do not greet, at a time: each reads the list of all processes.
static LOOKS: Semaphore = Semaphore::const_new(1);

/// How long a monitor must be silent before a hub that leaves it has everything that was sent before: time for the
/// runtime to ask the system once.
const LEAVE_QUIET: Duration = Duration::from_millis(2);

/// How long a hub that leaves a monitor reads what was sent before, if the monitor never is silent.
const LEAVE_READ_MAX: Duration = Duration::from_millis(200);

/// Follows one VM until it is to leave it.
pub(crate) struct Attachment {
    vm: Arc<Vm>,
    appender: Appender,
    /// Whether findings are recorded, and how the VM's process ended.
    records_findings: bool,
    epoch: EpochState,
    /// When the newest record of the epoch was received.
    newest_event: UnixMicros,
    /// Nothing will ever be committed any more. The monitor is read all the same, so that the VM does not grow.
    journal_ended: bool,
}

/// Why a VM is left.
#[derive(Clone, Debug)]
pub(crate) struct Leave {
    pub(crate) reason: DetachReason,
    /// What exactly, for people.
    pub(crate) detail: Box<str>,
}

/// The VM's epoch, as far as the journal has been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EpochState {
    Closed,
    Open,
    /// The journal had no room, and has an open epoch that is to be closed.
    Overrun {
        lost_events: u64,
        /// When the first of them was sent, or the monitor closed.
        certain_until: UnixMicros,
    },
    /// The journal had no room for the record that opens an epoch.
    Unrecorded,
}

/// What a snapshot tells of the monitor itself.
#[derive(Debug, Default, Deserialize)]
struct Answers {
    /// Without an answer in time, the epoch opens all the same.
    #[serde(rename = "query-status")]
    status: Option<IgnoredAny>,
    process: Option<ProcessNumber>,
}

#[derive(Debug, Deserialize)]
struct ProcessNumber {
    pid: i32,
}

impl Answers {
    fn read(snapshot: &str) -> Self {
        serde_json::from_str(snapshot).unwrap_or_default()
    }
}

impl Attachment {
    pub(crate) const fn new(vm: Arc<Vm>, appender: Appender, records_findings: bool) -> Self {
        Self {
            vm,
            appender,
            records_findings,
            epoch: EpochState::Closed,
            newest_event: UnixMicros(0),
            journal_ended: false,
        }
    }

    /// Runs until it is told to leave; then closes the epoch, waits for its commit, and only then leaves the monitor.
    ///
    /// There are thousands of these, so what is rarely waited for is boxed while it is. The follower is because a future
    /// keeps an argument of its function twice.
    pub(crate) async fn run(mut self, mut follow: Box<Follow>, mut leave: oneshot::Receiver<Leave>) {
        let told = loop {
            tokio::select! {
                told = &mut leave => break Some(told),
                room = async { Box::pin(self.appender.room()).await }, if self.waits_for_room() && !self.journal_ended => {
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
        let told = match told {
            Some(told) => told,
            None => leave.await,
        };
        // Whoever could tell is gone without a word: the hub was dropped, and its epochs stay open, as in a crash.
        if let Ok(leave) = told {
            Box::pin(async {
                let certain_until = match self.epoch {
                    EpochState::Open => self.read_what_has_come(&mut follow).await,
                    _ => clock::now(),
                };
                // Nothing is read from here on, and the disk may take its time.
                follow.end_commands();
                self.close(&leave, certain_until).await;
            })
            .await;
        }
    }

    /// Records what the VM sent before this call, and returns the moment up to which that is certain.
    async fn read_what_has_come(&mut self, follow: &mut Follow) -> UnixMicros {
        let begun = Instant::now();
        loop {
            let quiet_from = clock::now();
            match tokio::time::timeout(LEAVE_QUIET, follow.next()).await {
                Err(_) => return quiet_from,
                Ok(followed) => {
                    if self.take(followed).is_break() {
                        return quiet_from;
                    }
                    if begun.elapsed() > LEAVE_READ_MAX {
                        return self.newest_event;
                    }
                }
            }
        }
    }

    /// Takes what happened; breaks when nothing more can happen.
    fn take(&mut self, followed: Followed<'_>) -> ControlFlow<()> {
        match followed {
            Followed::Attached { snapshot, .. } => {
                let answers = Answers::read(snapshot);
                if answers.status.is_some() {
                    self.answered();
                }
                self.vm.silence.attached(answers.process.map(|process| process.pid), Instant::now());
                self.attached(snapshot);
            }
            Followed::Events(events) => {
                self.vm.silence.heard(Instant::now());
                self.events(events);
            }
            Followed::Reply(reply) => {
                self.answered();
                self.reply(reply);
            }
            Followed::Answered { run_state } => {
                self.answered();
                self.vm.silence.named(run_state);
            }
            Followed::Detached { reason, detail, process } => {
                self.vm.silence.detached();
                self.detached(&reason, &detail);
                // Read for those who want to know why the VM is gone; nothing waits for it.
                if let Some(process) =
                    process.filter(|_| self.records_findings && reason == DetachReason::PeerClosed)
                {
                    tokio::spawn(exit::record(process, self.vm.name.clone(), self.appender.clone()));
                }
            }
            Followed::Failed { error, attempt, retry_in } => {
                self.failed(error, attempt);
                // A descriptor that was inherited cannot be connected a second time.
                if retry_in.is_none() {
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// The VM answered something.
    fn answered(&self) {
        let now = Instant::now();
        if let Some(spell) = self.vm.silence.answered(now)
            && self.records_findings
        {
            record_answer(&self.vm, spell, now, &self.appender);
        }
    }

    fn failed(&self, error: &ConnectError, attempt: u32) {
        self.vm.counts.attach_failures.add(1);
        let (name, now) = (&self.vm.name, clock::now());
        if error.is_taken() {
            tokio::spawn(explain(Arc::clone(&self.vm)));
            return;
        }
        self.vm.set_left_out(matches!(error, ConnectError::NoDescriptors { .. }));
        let reason = reason::of_attempt(error);
        let error = described(error);
        if self.vm.attempt_failed(&error, reason, now) {
            tracing::warn!(vm = %name, attempt, "cannot attach to {name}: {error}");
        }
    }

    fn attached(&mut self, snapshot: &str) {
        // The peer left and came back before there was room to close the epoch that it had.
        if matches!(self.epoch, EpochState::Overrun { .. }) && !self.record_overrun() {
            return;
        }
        // Before the record, as what a line that begins in between knows; it hears the record, too.
        self.vm.tap.lock().attached(snapshot);
        if self.append_one(Body::Attached { snapshot: Cow::Borrowed(snapshot) }) {
            (self.epoch, self.newest_event) = (EpochState::Open, clock::now());
            self.vm.counts.epochs.add(1);
            self.vm.set_left_out(false);
            self.vm.attached(clock::now());
            tracing::info!(vm = %self.vm.name, "attached");
        } else {
            self.vm.tap.lock().greeting = None;
            self.overrun(EpochState::Unrecorded);
        }
    }

    fn events(&mut self, mut events: EventBatch<'_>) {
        let recording = self.epoch == EpochState::Open;
        let mut batch = Batch::new();
        let (mut count, mut newest, mut earliest) = (0, self.newest_event, UnixMicros(i64::MAX));
        while let Some((event, received_at)) = events.next_received() {
            count += 1;
            self.vm.counts.event(&event.name);
            newest = clock::micros(received_at);
            earliest = earliest.min(sent_at(event.timestamp, newest));
            if recording {
                let data = event.data.map(Cow::Borrowed);
                let body = Body::Event {
                    name: event.name,
                    sent_name: event.sent_name.map(Cow::Borrowed),
                    timestamp: event.timestamp,
                    data,
                };
                batch.push(&Draft { vm: self.vm.name.as_str(), received: newest, body });
            }
        }
        // What was recorded is certain, however late a rate-limited event was sent.
        let earliest = earliest.max(self.newest_event);
        if let EpochState::Overrun { lost_events, certain_until } = &mut self.epoch {
            *lost_events += count;
            *certain_until = earliest.min(*certain_until);
        }
        if recording && self.append(batch) {
            self.newest_event = newest;
            return;
        }
        self.vm.counts.events_discarded.add(count);
        if recording {
            self.overrun(EpochState::Overrun { lost_events: count, certain_until: earliest });
        }
    }

    /// Lets the asker have the reply once the events before it are committed, or after [`REPLY_JOURNAL_MAX`].
    fn reply(&self, reply: PendingReply) {
        if !reply.waits_for_events() {
            return reply.release();
        }
        let tap = self.vm.tap.lock();
        if let Some(line) = &tap.line
            && !self.waits_for_room()
        {
            return line.hold(reply);
        }
        match tap.last {
            Some(ticket) if !self.waits_for_room() => {
                let appender = self.appender.clone();
                tokio::spawn(async move {
                    let committed = tokio::time::timeout(REPLY_JOURNAL_MAX, appender.committed(ticket)).await;
                    match committed {
                        Ok(Ok(_)) => reply.release(),
                        // The command was carried out all the same, and its client must know.
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
        if self.epoch == EpochState::Open {
            let now = clock::now();
            if !self.append_detached(reason, detail, now) {
                self.overrun(EpochState::Overrun { lost_events: 0, certain_until: now });
                return;
            }
            self.vm.counts.gap(reason);
        }
        // After an overrun its record still waits for room; that the peer is gone besides changes nothing there.
        if !matches!(self.epoch, EpochState::Overrun { .. }) {
            self.epoch = EpochState::Closed;
        }
        self.vm.detached(detail, reason::of_detach(reason), clock::now());
    }

    fn overrun(&mut self, state: EpochState) {
        self.epoch = state;
        self.vm.overrun(clock::now());
        tracing::error!(vm = %self.vm.name, "the journal has no room; events are thrown away until it has");
    }

    /// Closes the epoch that the overrun ended. Returns whether the VM is to be asked for its state again.
    fn record_overrun(&mut self) -> bool {
        if let EpochState::Overrun { lost_events, certain_until } = self.epoch {
            let detail = format!("the journal had no room; {lost_events} events were thrown away");
            if !self.append_detached(&DetachReason::Overrun, &detail, certain_until) {
                return false;
            }
            self.vm.counts.gap(&DetachReason::Overrun);
            tracing::warn!(vm = %self.vm.name, lost_events, "the journal has room again");
        }
        self.epoch = EpochState::Closed;
        true
    }

    async fn close(&mut self, leave: &Leave, certain_until: UnixMicros) {
        loop {
            let recorded = match self.epoch {
                EpochState::Closed | EpochState::Unrecorded => break,
                EpochState::Overrun { .. } => self.record_overrun(),
                EpochState::Open => self.append_detached(&leave.reason, &leave.detail, certain_until),
            };
            if recorded {
                break;
            }
            if self.appender.room().await.is_err() {
                break;
            }
        }
        self.vm.silence.detached();
        self.vm.detached(&leave.detail, reason::of_detach(&leave.reason), clock::now());
        let last = self.vm.tap.lock().last;
        if let Some(ticket) = last {
            let _ = self.appender.committed(ticket).await;
        }
    }

    fn waits_for_room(&self) -> bool {
        matches!(self.epoch, EpochState::Overrun { .. } | EpochState::Unrecorded)
    }

    fn append_detached(&mut self, reason: &DetachReason, detail: &str, certain_until: UnixMicros) -> bool {
        let (reason, detail) = (reason.clone(), Some(Cow::Borrowed(detail)));
        self.append_one(Body::Detached { reason, detail, certain_until: Some(certain_until) })
    }

    fn append_one(&mut self, body: Body<'_>) -> bool {
        let mut batch = Batch::new();
        batch.push(&Draft { vm: self.vm.name.as_str(), received: clock::now(), body });
        self.append(batch)
    }

    /// Hands `batch` to the journal; `false` if it has no room. The memory of a batch is not kept: most VMs say
    /// nothing for minutes, and there may be thousands of them.
    fn append(&mut self, mut batch: Batch) -> bool {
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

/// When an event was sent: before it was received. A clock of the VM's host that is ahead tells nothing.
fn sent_at(timestamp: Option<Timestamp>, received: UnixMicros) -> UnixMicros {
    let micros =
        |at: Timestamp| at.seconds().saturating_mul(1_000_000).saturating_add(at.microseconds().into());
    timestamp.map_or(received, |at| UnixMicros(micros(at)).min(received))
}

/// Looks why the monitor of a VM does not greet, and says so if that is news.
async fn explain(vm: Arc<Vm>) {
    // The semaphore lives as long as the program and is never closed.
    let Ok(_turn) = LOOKS.acquire().await else { return };
    let address = vm.address.clone();
    let why = blocking(move || taken::look(&address)).await;
    if vm.taken(&why, clock::now()) {
        let (name, reason, text) = (&vm.name, why.reason, why.text);
        tracing::warn!(vm = %name, reason, "{name} is taken, and is tried again from time to time: {text}");
    }
}

/// Why it failed. Whose socket it is says which group to join.
fn described(error: &ConnectError) -> String {
    match error {
        ConnectError::PermissionDenied { address: Address::Unix { path, .. } } => {
            permissions::refused_socket(path)
        }
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshot_without_the_status_is_no_answer() {
        let failed = r#"{"query-status":{"class":"TimedOut","desc":"no reply"}}"#;
        let cases = [
            (r#"{"address":"unix:/a","query-status":{"status":"running"}}"#.to_owned(), true, None),
            (format!(r#"{{"address":"unix:/a","errors":{failed}}}"#), false, None),
            (format!(r#"{{"process":{{"pid":7,"name":"qemu"}},"errors":{failed}}}"#), false, Some(7)),
            ("{}".to_owned(), false, None),
        ];
        for (snapshot, is_answered, pid) in cases {
            let answers = Answers::read(&snapshot);
            assert_eq!(answers.status.is_some(), is_answered, "{snapshot}");
            assert_eq!(answers.process.map(|process| process.pid), pid, "{snapshot}");
        }
    }
}
