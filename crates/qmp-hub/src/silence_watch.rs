//! The timer queue of all VMs, and the task that checks the VMs that are due.
//!
//! Events do not change the queue: a VM that is due and sent something since then is put back. So each VM costs one check per
//! span, and a quiet VM one probe more.

mod record;

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use qmp_host::lock;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::silence::{Check, Setting, SilentAfter};
use crate::vm::FollowedVm;
pub(crate) use record::{Recorder, record_answer};
use record::{record_run_state, record_silence};

/// Probes that are sent without a pause. VMs that were attached together are due together; pauses spread their probes, and
/// events of other VMs are not delayed.
const PROBES_AT_ONCE_MAX: usize = 32;

/// The pause after [`PROBES_AT_ONCE_MAX`] probes: 3,200 probes a second, 10,000 VMs in three seconds.
const PROBES_PAUSE: Duration = Duration::from_millis(10);

/// When the reply to a probe is evaluated: replies take microseconds, and those of a host under load some milliseconds.
const REPLY_READ_AFTER: Duration = Duration::from_secs(1);

/// How long the watch waits before it retries to record a silence, when the journal has no room.
const RECORD_RETRY: Duration = Duration::from_secs(1);

/// Finds out which VMs are silent. Clones share the queue.
#[derive(Clone, Debug)]
pub(crate) struct SilenceWatch(Arc<WatchState>);

#[derive(Debug)]
struct WatchState {
    queue: Mutex<Queue>,
    /// Notified when the queue has an earlier first entry.
    earlier: Notify,
    /// For VMs whose setting is not set.
    default: Setting,
}

#[derive(Debug, Default)]
struct Queue {
    due: BinaryHeap<Due>,
    /// How often the queue was filled again: a VM that was taken out before that is not put back.
    generation: u64,
}

/// When to check a VM.
#[derive(Debug)]
struct Due {
    at: Instant,
    vm: Weak<FollowedVm>,
}

impl SilenceWatch {
    pub(crate) fn new(default: SilentAfter) -> Self {
        let default = Setting::new(Some(default));
        Self(Arc::new(WatchState { queue: Mutex::default(), earlier: Notify::new(), default }))
    }

    /// Watches one more VM, until every other reference to it is dropped.
    pub(crate) fn add(&self, vm: &Arc<FollowedVm>) {
        if let Some(span) = self.span(vm) {
            self.lock().due.push(Due { at: Instant::now() + span, vm: Arc::downgrade(vm) });
            self.0.earlier.notify_one();
        }
    }

    /// Sets the span for VMs whose setting is not set. Returns whether it changed; the caller calls [`Self::restart`] then.
    pub(crate) fn set_default(&self, silent_after: SilentAfter) -> bool {
        self.0.default.set(Some(silent_after))
    }

    /// Fills the queue with these VMs, after settings changed.
    pub(crate) fn restart(&self, vms: &[Arc<FollowedVm>]) {
        let now = Instant::now();
        // Due now, because a span may be shorter than the time that has passed.
        let due = vms.iter().map(|vm| Due { at: now, vm: Arc::downgrade(vm) });
        {
            let mut queue = self.lock();
            queue.due = due.collect();
            queue.generation += 1;
        }
        self.0.earlier.notify_one();
    }

    /// Checks VMs for ever.
    pub(crate) async fn run(self, recorder: Recorder) {
        loop {
            let next = self.look_at_due(Instant::now(), &recorder);
            tokio::select! {
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
                () = self.0.earlier.notified() => {}
            }
        }
    }

    /// Checks the VMs that are due. Returns when to check again.
    fn look_at_due(&self, now: Instant, recorder: &Recorder) -> Option<Instant> {
        let mut probes = 0;
        loop {
            let (vm, generation) = {
                let mut queue = self.lock();
                match queue.due.peek() {
                    None => return None,
                    Some(first) if first.at > now => return Some(first.at),
                    Some(_) if probes == PROBES_AT_ONCE_MAX => return Some(now + PROBES_PAUSE),
                    Some(_) => (queue.due.pop().and_then(|first| first.vm.upgrade()), queue.generation),
                }
            };
            let Some(vm) = vm else { continue };
            let Some(span) = self.span(&vm) else {
                // A change of settings adds it again.
                vm.silence.disregard();
                continue;
            };
            if let Some(run_state) = vm.silence.take_run_state() {
                record_run_state(&vm, &run_state, recorder);
            }
            let at = match vm.silence.look(span, now, recorder.clock.now()) {
                Check::Wait(until) => until,
                Check::Probe => {
                    probes += 1;
                    // The VM may be detached by now; it is checked again like the others.
                    let _ = vm.commander.probe();
                    now + span.min(REPLY_READ_AFTER)
                }
                Check::Record(spell) => {
                    record_silence(&vm, spell, now, recorder);
                    now + span.min(RECORD_RETRY)
                }
            };
            let mut queue = self.lock();
            if queue.generation == generation {
                queue.due.push(Due { at, vm: Arc::downgrade(&vm) });
            }
        }
    }

    fn span(&self, vm: &FollowedVm) -> Option<Duration> {
        match vm.silence.setting.get().or_else(|| self.0.default.get()) {
            Some(SilentAfter::Span(span)) => Some(span),
            Some(SilentAfter::Off) | None => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        lock(&self.0.queue)
    }
}

/// The earliest entry is the greatest: the heap yields its greatest entry first.
impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Due {}
