//! The timer queue of all VMs, and the task that looks at those that are due.
//!
//! Events do not touch the queue: a VM that is due and was heard meanwhile is put back. So what a VM costs is one look a
//! span, and what a quiet one costs is one probe more.

mod record;

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::silence::{Look, Setting, SilentAfter};
use crate::vm::Vm;
pub(crate) use record::{Recorder, record_answer};
use record::{record_run_state, record_silence};

/// Probes that are sent at once. VMs that were attached together are due together; with pauses between, their probes
/// spread, and events of other VMs do not wait for them.
const PROBES_AT_ONCE_MAX: usize = 32;

/// The pause after [`PROBES_AT_ONCE_MAX`] probes: 3,200 probes a second, 10,000 VMs in three seconds.
const PROBES_PAUSE: Duration = Duration::from_millis(10);

/// When the reply to a probe is looked at: replies take microseconds, and those of a host under load some milliseconds.
const REPLY_READ_AFTER: Duration = Duration::from_secs(1);

/// How long the watch waits before it tries again to record a silence, when the journal has no room.
const RECORD_RETRY: Duration = Duration::from_secs(1);

/// Finds out which VMs are silent. Clones share the queue.
#[derive(Clone, Debug)]
pub(crate) struct Watch(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// The queue has an earlier first entry.
    earlier: Notify,
    /// For VMs without a setting of their own.
    default: Setting,
}

#[derive(Debug, Default)]
struct Queue {
    due: BinaryHeap<Due>,
    /// How often the queue was filled anew: a VM that was taken out before is not put back.
    generation: u64,
}

/// When to look at a VM.
#[derive(Debug)]
struct Due {
    at: Instant,
    vm: Weak<Vm>,
}

impl Watch {
    pub(crate) fn new(default: SilentAfter) -> Self {
        let default = Setting::new(Some(default));
        Self(Arc::new(Shared { queue: Mutex::default(), earlier: Notify::new(), default }))
    }

    /// Watches one more VM, until nothing else refers to it.
    pub(crate) fn add(&self, vm: &Arc<Vm>) {
        if let Some(span) = self.span(vm) {
            self.lock().due.push(Due { at: Instant::now() + span, vm: Arc::downgrade(vm) });
            self.0.earlier.notify_one();
        }
    }

    /// Sets the span for VMs that have none of their own. To be followed by [`Self::restart`] if that differs.
    pub(crate) fn set_default(&self, silent_after: SilentAfter) -> bool {
        self.0.default.set(Some(silent_after))
    }

    /// Begins anew with these VMs, after settings were changed.
    pub(crate) fn restart(&self, vms: &[Arc<Vm>]) {
        let now = Instant::now();
        // At once, since spans may have become shorter than what has passed.
        let due = vms.iter().map(|vm| Due { at: now, vm: Arc::downgrade(vm) });
        {
            let mut queue = self.lock();
            queue.due = due.collect();
            queue.generation += 1;
        }
        self.0.earlier.notify_one();
    }

    /// Looks at VMs for ever.
    pub(crate) async fn run(self, recorder: Recorder) {
        loop {
            let next = self.look_at_due(Instant::now(), &recorder);
            tokio::select! {
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
                () = self.0.earlier.notified() => {}
            }
        }
    }

    /// Looks at the VMs that are due, and says when to look again.
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
                // It is watched again when settings change.
                vm.silence.disregard();
                continue;
            };
            if let Some(run_state) = vm.silence.take_run_state() {
                record_run_state(&vm, &run_state, recorder);
            }
            let at = match vm.silence.look(span, now, recorder.clock.now()) {
                Look::Wait(until) => until,
                Look::Probe => {
                    probes += 1;
                    // One that was detached in this moment is looked at again like the others.
                    let _ = vm.commander.probe();
                    now + span.min(REPLY_READ_AFTER)
                }
                Look::Record(spell) => {
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

    fn span(&self, vm: &Vm) -> Option<Duration> {
        match vm.silence.setting.get().or_else(|| self.0.default.get()) {
            Some(SilentAfter::Span(span)) => Some(span),
            Some(SilentAfter::Off) | None => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics between two steps of one change.
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The earliest is the greatest: the queue hands out its greatest entry first.
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
