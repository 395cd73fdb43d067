//! A domain whose events come through libvirt: one follower of a daemon records for many of them.
//!
//! The follower records under a lock, and is never made to wait: the journal either has room or the event is counted as lost.
//! A task of the domain waits for room after an overrun, and for the request to leave.

use std::sync::{Arc, Mutex, MutexGuard};

use qmp_client::{ExecuteError, Follow, PeerProcess, ReplySink};
use qmp_host::lock;
use qmp_journal::Appender;
use qmp_libvirt::MonitorEvent;
use qmp_wire::{DetachReason, RawEvent, Timestamp, UnixMicros};
use tokio::sync::{Notify, oneshot};

use crate::attach::{LeaveRequest, Recorder, committed, exit};
use crate::domain_commands::DomainLink;
use crate::relay::REPLY_JOURNAL_MAX;
use crate::vm::FollowedVm;

/// Records one domain.
pub(crate) struct DomainRecorder {
    pub(crate) vm: Arc<FollowedVm>,
    state: Mutex<DomainState>,
    appender: Appender,
    /// Whether findings are recorded, and how the domain's process ended.
    records_findings: bool,
    link: DomainLink,
    /// The journal had no room.
    overrun: Notify,
}

/// The wait of a task for the process of a VM, which the VM shows as long as this lives.
struct ProcessWatch<'a>(&'a FollowedVm);

impl<'a> ProcessWatch<'a> {
    fn new(vm: &'a FollowedVm) -> Self {
        vm.set_process_watched(true);
        Self(vm)
    }
}

impl Drop for ProcessWatch<'_> {
    fn drop(&mut self) {
        self.0.set_process_watched(false);
    }
}

struct DomainState {
    recorder: Recorder,
    /// The domain was left: nothing is recorded from here on.
    is_left: bool,
    /// When the follower stopped reading, if it did.
    read_until: Option<UnixMicros>,
}

impl DomainRecorder {
    pub(crate) fn new(recorder: Recorder, records_findings: bool, link: DomainLink) -> Self {
        let (vm, appender) = (Arc::clone(recorder.vm()), recorder.appender().clone());
        let state = Mutex::new(DomainState { recorder, is_left: false, read_until: None });
        Self { vm, state, appender, records_findings, link, overrun: Notify::new() }
    }

    /// Opens an epoch.
    pub(crate) fn attached(&self, snapshot: &str) {
        self.record(|recorder| recorder.attached(snapshot));
    }

    /// Records an event.
    pub(crate) fn event(&self, event: &MonitorEvent) {
        self.record(|recorder| {
            let mut draft = recorder.begin_events();
            // Without a time, QEMU and libvirt write −1, and different microseconds.
            let timestamp = Timestamp::from_wire(event.seconds, event.microseconds.into()).ok().flatten();
            let (name, data) = ((&*event.name).into(), event.data.as_deref());
            let raw = RawEvent { name, sent_name: None, timestamp, data };
            recorder.add_event(&mut draft, raw, recorder.now());
            recorder.record_events(draft);
        });
    }

    /// Closes the epoch, in which no event is missing up to `certain_until` and its newest record; without it, up to now.
    pub(crate) fn detached(&self, reason: &DetachReason, detail: &str, certain_until: Option<UnixMicros>) {
        self.record(|recorder| {
            let certain_until = certain_until.unwrap_or_else(|| recorder.now());
            recorder.detached(reason, detail, certain_until.max(recorder.newest_record()));
        });
    }

    /// Releases the reply to a command once the events before it are committed, or after [`REPLY_JOURNAL_MAX`].
    pub(crate) fn reply(&self, sink: Box<dyn ReplySink>, result: Result<Box<str>, ExecuteError>) {
        let waits_for_room = self.lock().recorder.waits_for_room();
        let last = self.vm.tap.lock().last;
        match last {
            None => sink.deliver(result),
            Some(_) if waits_for_room => sink.deliver_early(result),
            Some(ticket) => {
                let appender = self.appender.clone();
                tokio::spawn(async move {
                    match tokio::time::timeout(REPLY_JOURNAL_MAX, appender.committed(ticket)).await {
                        Ok(Ok(_)) => sink.deliver(result),
                        // The domain has executed the command, and the client must get the result.
                        Ok(Err(_)) | Err(_) => sink.deliver_early(result),
                    }
                });
            }
        }
    }

    /// Records how the process of the domain ended, as soon as that is known. With `awaits_end`, it may run on for any time.
    pub(crate) async fn record_exit(self: Arc<Self>, process: PeerProcess, awaits_end: bool) {
        if !self.records_findings {
            return;
        }
        let pid = process.pid();
        let _watched = awaits_end.then(|| ProcessWatch::new(&self.vm));
        let status = if awaits_end { process.exit_of_running().await } else { process.wait_for_exit().await };
        if let Some(status) = status {
            let clock = self.lock().recorder.clock();
            exit::append(pid, status, &self.vm.name, &self.appender, clock).await;
        }
    }

    /// The follower stops reading: from here on events may be missing.
    pub(crate) fn end_reading(&self) {
        let mut state = self.lock();
        state.read_until = Some(state.recorder.now());
    }

    /// The domain runs, and no epoch can open, because of `error`.
    pub(crate) fn failed(&self, error: &str) {
        if self.vm.attempt_failed(error, None, self.now()) {
            tracing::warn!(vm = %self.vm.name, "not attached: {error}");
        }
    }

    /// The current time on the clock of the records.
    pub(crate) fn now(&self) -> UnixMicros {
        self.lock().recorder.now()
    }

    /// Runs until a request to leave; then closes the epoch, and waits for its commit. As long as it runs, the queue of
    /// `commands` refuses commands.
    pub(crate) async fn run(
        self: Arc<Self>,
        mut leave: oneshot::Receiver<LeaveRequest>,
        commands: Box<Follow>,
    ) {
        let requested = loop {
            tokio::select! {
                requested = &mut leave => break requested,
                () = self.room_after_overrun() => self.end_overrun(),
            }
        };
        // The sender was dropped with the hub: the epoch stays open, as in a crash.
        let Ok(leave) = requested else { return };
        while !self.try_leave(&leave) && self.appender.room().await.is_ok() {}
        self.lock().recorder.left(&leave);
        committed(&self.vm, &self.appender).await;
        drop(commands);
    }

    async fn room_after_overrun(&self) {
        self.overrun.notified().await;
        if self.appender.room().await.is_err() {
            // The journal has ended. Events are still read, so that libvirtd's memory does not grow.
            std::future::pending::<()>().await;
        }
    }

    fn end_overrun(&self) {
        let mut state = self.lock();
        if !state.recorder.waits_for_room() {
            return;
        }
        if state.recorder.record_overrun() {
            self.link.reopen();
        } else {
            self.overrun.notify_one();
        }
    }

    fn try_leave(&self, leave: &LeaveRequest) -> bool {
        let mut state = self.lock();
        state.is_left = true;
        let certain_until = state.read_until.unwrap_or_else(|| state.recorder.now());
        state.recorder.leave(leave, certain_until)
    }

    fn record(&self, act: impl FnOnce(&mut Recorder)) {
        let mut state = self.lock();
        if state.is_left {
            return;
        }
        act(&mut state.recorder);
        if state.recorder.waits_for_room() {
            self.overrun.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, DomainState> {
        // Each change of the epoch is one assignment.
        lock(&self.state)
    }
}
