//! Emitting events from any thread.

use std::{
    cell::RefCell,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use qmp_events::{EventKind, Throttle, limiter::Admission};
use qmp_host::{lock, poller::Waker};
use qmp_wire::server::Refusal;

use crate::{
    arrivals::Arrivals,
    caller::{DialerId, ListenerId},
    counters::{Counters, Stats, add},
    event::EmitEvent,
    pending_command::{PendingCommand, ReplyQueue},
    queue::{CommandReply, Order, QUEUE_MAX_BYTES, Queue, SILENT_SOURCES_MAX},
    rules::{Gate, Rules},
    text,
    time_source::TimeSource,
    validation::{InvalidOutput, Policy, Validation},
};

thread_local! {
    /// The part of a message that is formatted before the lock is acquired.
    static TAIL: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Emits events. Cheap to clone; every device thread has its own.
#[derive(Clone, Debug)]
pub struct Emitter {
    shared: Arc<SharedState>,
}

/// The fate of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmitOutcome {
    /// The event is queued for every client.
    Queued,
    /// The event waits for its rate limit; a newer one of its kind may replace it.
    Held,
    /// No client is in command mode: the event is not delivered.
    Unheard,
    /// The source is silent until it is armed again: see [`Emitter::arm`].
    Silent,
    /// The claimed release does not have the event, or hides it; or an embedder's event was not registered.
    NotInRelease,
    /// The data violates the claimed release, and [`Validation::Refuse`] suppresses it.
    Invalid,
    /// The name is none that QAPI allows for an event: see [`check_event_name`](crate::check_event_name).
    InvalidName,
    /// The queue is full because the monitor's loop did not run.
    Overrun,
    /// The monitor was shut down, was dropped, or its thread ended.
    Closed,
}

/// State shared between the embedder's threads and the monitor's loop.
#[derive(Debug)]
pub(crate) struct SharedState {
    pub(crate) rules: Rules,
    pub(crate) clock: Box<dyn TimeSource>,
    pub(crate) policy: Policy,
    pub(crate) queue: Mutex<Queue>,
    pub(crate) waker: Waker,
    pub(crate) counters: Counters,
    /// Number of connections in command mode.
    pub(crate) audience: AtomicUsize,
    /// Number of queued items, to be read without the lock.
    pub(crate) waiting: AtomicUsize,
    /// Number of listeners and dialers ever added.
    pub(crate) sockets: AtomicU64,
    pub(crate) arrivals: Arrivals,
}

impl SharedState {
    pub(crate) fn new(rules: Rules, clock: Box<dyn TimeSource>, policy: Policy, waker: Waker) -> Self {
        Self {
            rules,
            clock,
            policy,
            queue: Mutex::new(Queue::new()),
            waker,
            counters: Counters::default(),
            audience: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            sockets: AtomicU64::new(0),
            arrivals: Arrivals::default(),
        }
    }

    /// Returns whether a message, or its tail, is valid for its release; reports it if not.
    pub(crate) fn is_valid(&self, message: &[u8]) -> bool {
        let Some((name, data)) = text::name_and_data(message) else { return true };
        let Some(desc) = self.rules.violation(name, data) else { return true };
        let invalid = InvalidOutput::Event { name: name.into(), desc: desc.into() };
        self.policy.report(&invalid, &self.counters);
        false
    }

    /// Returns an id for a listener that is about to be added.
    pub(crate) fn next_listener(&self) -> ListenerId {
        let id = ListenerId(self.sockets.fetch_add(1, Relaxed));
        self.arrivals.add(id);
        id
    }

    /// Returns an id for a dialer that is about to be added.
    pub(crate) fn next_dialer(&self) -> DialerId {
        DialerId(self.sockets.fetch_add(1, Relaxed))
    }

    /// Prevents the id of a listener or dialer from being reused.
    pub(crate) fn reserve(&self, id: u64) {
        self.sockets.fetch_max(id + 1, Relaxed);
    }

    /// Makes the loop read the queue.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    /// Passes an order to the loop; returns `false` if the monitor has ended.
    pub(crate) fn order(&self, order: Order) -> bool {
        let mut queue = lock(&self.queue);
        if queue.closed {
            // A socket in the order is closed with it, which its clients notice.
            return false;
        }
        queue.stops |= matches!(order, Order::Stop | Order::HandOver);
        queue.batch.orders.push(order);
        if queue.needs_wake() {
            drop(queue);
            self.wake();
        }
        true
    }

    /// Re-arms an event whose source fell silent after it; all of its sources with `None`.
    pub(crate) fn arm(&self, kind: EventKind, source: Option<&str>) {
        let mut queue = lock(&self.queue);
        queue
            .silent
            .retain(|(other, key, _)| *other != kind || source.is_some_and(|source| **key != *source));
    }
}

impl ReplyQueue for SharedState {
    fn queue_reply(&self, command: &PendingCommand, result: Result<Vec<u8>, Refusal>) {
        let checked = |text| self.policy.check_return(&command.name, &command.returns, text, &self.counters);
        let result = result.and_then(checked);
        if let (Ok(_), Some((kind, source))) = (&result, &command.arms) {
            self.arm(*kind, source.as_deref());
        }
        let mut queue = lock(&self.queue);
        if queue.closed {
            return;
        }
        let (connection, request) = (command.connection, command.request);
        let after = queue.batch.ends.len();
        queue.batch.replies.push(CommandReply { after, connection, request, result });
        if queue.needs_wake() {
            drop(queue);
            self.wake();
        }
    }

    fn is_stopping(&self) -> bool {
        let queue = lock(&self.queue);
        queue.closed || queue.stops
    }
}

impl Emitter {
    pub(crate) fn new(shared: Arc<SharedState>) -> Self {
        Self { shared }
    }

    /// Emits an event to every client that is in command mode.
    ///
    /// The return value is the only report about an event that is not sent: check it, at least in tests.
    ///
    /// Never waits for a client or for the monitor's loop, and allocates nothing once its buffers have grown. The
    /// timestamp is taken here; a held event keeps it. Events of one thread keep their order, except held ones.
    pub fn emit(&self, event: &impl EmitEvent) -> EmitOutcome {
        let kind = event.kind();
        let Some(rule) = self.shared.rules.rule(kind, event.name()) else {
            return EmitOutcome::NotInRelease;
        };
        if text::check_name(event.name(), kind).is_err() {
            return EmitOutcome::InvalidName;
        }
        let refuses = self.shared.policy.validation == Validation::Refuse;
        let unheard = self.shared.audience.load(Relaxed) == 0 && !refuses;
        if unheard && rule.limit.is_none() && rule.gate.is_none() {
            add(&self.shared.counters.emitted, 1);
            return EmitOutcome::Unheard;
        }
        // A thread whose thread-locals are destroyed emits, too, from a buffer of its own.
        let mut tail = TAIL.try_with(RefCell::take).unwrap_or_default();
        tail.clear();
        text::write_tail(event, &rule.hidden, &mut tail);
        if refuses && !self.shared.is_valid(&tail) {
            return EmitOutcome::Invalid;
        }
        let source = kind.map(|kind| Source { kind, limit: rule.limit.as_ref(), gate: rule.gate });
        let emitted = self.queue(source.as_ref(), &tail);
        let _ = TAIL.try_with(|kept| kept.replace(tail));
        emitted
    }

    /// Re-arms an event whose source fell silent after it; all of its sources with `None`.
    ///
    /// There are three such events: `NIC_RX_FILTER_CHANGED`, whose sources are interfaces, and
    /// `BLOCK_WRITE_THRESHOLD` and `BLOCK_IMAGE_CORRUPTED`, whose sources are nodes. The first two are re-armed
    /// when a registered command `query-rx-filter` or `block-set-write-threshold` succeeds.
    pub fn arm(&self, kind: EventKind, source: Option<&str>) {
        self.shared.arm(kind, source);
    }

    /// Sends all held events at once, and closes their windows: before a snapshot of the machine, or the end of
    /// this process. Returns their number.
    pub fn flush_held(&self) -> u64 {
        let mut queue = lock(&self.shared.queue);
        if queue.closed {
            return 0;
        }
        let Queue { batch, limiter, .. } = &mut *queue;
        let mut flushed = 0;
        limiter.flush(|line| {
            Queue::push_line(batch, &line);
            flushed += 1;
        });
        add(&self.shared.counters.emitted, flushed);
        self.wake_after(queue, EmitOutcome::Queued);
        flushed
    }

    /// Makes the monitor's loop read its clock again, as after [`ManualClock::advance`](crate::ManualClock).
    pub fn wake(&self) {
        self.shared.wake();
    }

    /// Returns the statistics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let merged = lock(&self.shared.queue).limiter.merged();
        Stats { merged, ..self.shared.counters.stats() }
    }

    fn queue(&self, source: Option<&Source<'_>>, tail: &[u8]) -> EmitOutcome {
        let mut guard = lock(&self.shared.queue);
        let queue = &mut *guard;
        if queue.closed {
            return EmitOutcome::Closed;
        }
        let wall = self.shared.clock.wall();
        if let Some(source) = source {
            if source.is_silent(queue, tail) {
                return EmitOutcome::Silent;
            }
            if let Some((limit, key)) = source.limited(tail) {
                let now = self.shared.clock.monotonic();
                if let Admission::Hold(held) = queue.limiter.admit(source.kind, key, limit.interval, now) {
                    let line = held.get_or_insert_default();
                    line.clear();
                    queue.stamp.write(wall, line);
                    line.extend_from_slice(tail);
                    return self.wake_after(guard, EmitOutcome::Held);
                }
            }
        }
        let unheard = self.shared.audience.load(Relaxed) == 0;
        let waiting = queue.batch.lines.len();
        if !unheard && waiting > 0 && waiting + tail.len() > QUEUE_MAX_BYTES {
            queue.batch.overrun += 1;
            add(&self.shared.counters.overrun, 1);
            return self.wake_after(guard, EmitOutcome::Overrun);
        }
        add(&self.shared.counters.emitted, 1);
        if unheard {
            return self.wake_after(guard, EmitOutcome::Unheard);
        }
        queue.stamp.write(wall, &mut queue.batch.lines);
        Queue::push_line(&mut queue.batch, tail);
        self.wake_after(guard, EmitOutcome::Queued)
    }

    fn wake_after(&self, mut queue: std::sync::MutexGuard<'_, Queue>, emitted: EmitOutcome) -> EmitOutcome {
        self.shared.waiting.store(queue.batch.ends.len(), Relaxed);
        if queue.needs_wake() {
            drop(queue);
            self.shared.wake();
        }
        emitted
    }
}

/// An event of the catalogue, and its rule in the release.
struct Source<'a> {
    kind: EventKind,
    limit: Option<&'a Throttle>,
    gate: Option<Gate>,
}

impl<'a> Source<'a> {
    /// Returns the limit of the event and its key, unless it is exempt.
    fn limited<'t>(&self, tail: &'t [u8]) -> Option<(&'a Throttle, &'t str)> {
        let limit = self.limit?;
        let exempt =
            limit.exempt.is_some_and(|exempt| text::member(tail, exempt.member) == Some(exempt.value));
        (!exempt).then(|| (limit, limit.key.and_then(|key| text::member(tail, key)).unwrap_or_default()))
    }

    /// Returns whether the source is silent, and silences it if it was not.
    fn is_silent(&self, queue: &mut Queue, tail: &[u8]) -> bool {
        let Some(gate) = self.gate else { return false };
        let key = gate.keys.iter().find_map(|key| text::member(tail, key)).unwrap_or_default();
        let also = gate.also.and_then(|member| text::member(tail, member)).unwrap_or_default();
        let key = (self.kind, Box::from(key), Box::from(also));
        if queue.silent.len() >= SILENT_SOURCES_MAX {
            return queue.silent.contains(&key);
        }
        !queue.silent.insert(key)
    }
}
