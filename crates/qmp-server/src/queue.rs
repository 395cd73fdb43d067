//! The queue to the monitor's loop: events, replies to commands, and orders.
//!
//! One lock guards all of it, so that there is one order: an event that a thread emits before it replies to a
//! command precedes that reply on every connection.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, TryLockError},
    time::Instant,
};

use qmp_events::{EventKind, limiter::Limiter};
use qmp_host::lock;
use qmp_wire::server::{Refusal, RequestId};

use crate::{
    caller::{ConnectionId, DialerId, ListenerId},
    command::Command,
    connection::ConnectionKey,
    dialer::Dialer,
    listener::Listener,
    text::Stamp,
};

/// Maximum bytes of events that wait for the monitor's loop; further events are dropped and counted, a loss for
/// each client like any other. An empty queue accepts one event of any size.
///
/// A QEMU emits at most 3,000 events a second, of about 100 bytes: this is three seconds without a turn of the
/// loop.
pub const QUEUE_MAX_BYTES: usize = 1 << 20;

/// Maximum number of silent sources that are recorded; events of further ones pass as if they were not gated.
///
/// More interfaces and nodes than any machine has.
pub const SILENT_SOURCES_MAX: usize = 4096;

/// Bytes that an emptied buffer may keep.
const RETAINED_BYTES: usize = 256 << 10;

/// Events, each a line, with the replies between them.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) lines: Vec<u8>,
    /// The end of each line.
    pub(crate) ends: Vec<usize>,
    pub(crate) replies: Vec<CommandReply>,
    pub(crate) orders: Vec<Order>,
    /// Events that did not fit; their position is the end.
    pub(crate) overrun: u64,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty() && self.replies.is_empty() && self.orders.is_empty() && self.overrun == 0
    }

    /// Removes all items, and keeps the buffers.
    pub(crate) fn clear(&mut self) {
        self.lines.clear();
        self.lines.shrink_to(RETAINED_BYTES);
        self.ends.clear();
        self.ends.shrink_to(RETAINED_BYTES / 64);
        self.replies.clear();
        self.orders.clear();
        self.overrun = 0;
    }
}

/// A reply to a command that was handed over.
#[derive(Debug)]
pub(crate) struct CommandReply {
    /// Number of events of the batch that precede it.
    pub(crate) after: usize,
    pub(crate) connection: ConnectionKey,
    pub(crate) request: RequestId,
    /// The text of the value to return.
    pub(crate) result: Result<Vec<u8>, Refusal>,
}

/// An order of a thread to the loop.
#[derive(Debug)]
pub(crate) enum Order {
    Listen(ListenerId, Listener),
    RemoveListener(ListenerId),
    /// A dialer, and its only connection unless it reconnects.
    Dial(DialerId, Dialer, Option<std::os::fd::OwnedFd>),
    RemoveDialer(DialerId),
    Attach(std::os::fd::OwnedFd),
    Disconnect(ConnectionId),
    AddCommand(Box<Command>),
    RemoveCommand(Box<str>),
    HandOver,
    Stop,
}

#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) batch: Batch,
    pub(crate) limiter: Limiter<Vec<u8>>,
    pub(crate) stamp: Stamp,
    /// Event, source, and the second member by which the source is silent.
    pub(crate) silent: BTreeSet<(EventKind, Box<str>, Box<str>)>,
    /// The time until which the loop waits unless it is woken; meaningless while it does not sleep.
    pub(crate) wakes_at: Option<Instant>,
    pub(crate) sleeps: bool,
    /// Whether the monitor was ordered to stop.
    pub(crate) stops: bool,
    pub(crate) closed: bool,
}

impl Queue {
    pub(crate) fn new() -> Self {
        Self {
            batch: Batch::default(),
            limiter: Limiter::default(),
            stamp: Stamp::default(),
            silent: BTreeSet::new(),
            wakes_at: None,
            sleeps: true,
            stops: false,
            closed: false,
        }
    }

    /// Appends a whole line.
    pub(crate) fn push_line(batch: &mut Batch, line: &[u8]) {
        batch.lines.extend_from_slice(line);
        batch.ends.push(batch.lines.len());
    }

    /// Moves all due items into `batch`, which has to be empty. If there are none, the loop may go to sleep.
    ///
    /// Returns the number of held events that were released.
    pub(crate) fn take(&mut self, now: Instant, batch: &mut Batch, may_sleep: bool) -> u64 {
        let Self { limiter, batch: waiting, .. } = self;
        let count_before = waiting.ends.len();
        if limiter.next_deadline().is_some_and(|deadline| deadline <= now) {
            limiter.expire(now, |line| Self::push_line(waiting, &line));
        }
        let released = waiting.ends.len() - count_before;
        std::mem::swap(&mut self.batch, batch);
        self.sleeps = may_sleep && batch.is_empty();
        self.wakes_at = self.limiter.next_deadline();
        released as u64
    }

    /// Returns whether the loop has to be woken for a new item or an earlier deadline; `true` only once.
    pub(crate) fn needs_wake(&mut self) -> bool {
        let deadline = self.limiter.next_deadline();
        let earlier = deadline.is_some_and(|deadline| self.wakes_at.is_none_or(|known| deadline < known));
        let needed = self.sleeps && (earlier || !self.batch.is_empty());
        if needed {
            self.sleeps = false;
        }
        needed
    }
}

/// Locks like [`lock`], but spins for a while: a thread that emits then has no sleeper to wake when it unlocks,
/// which would cost it microseconds.
pub(crate) fn lock_patiently<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    for attempt in 0..1000 {
        match mutex.try_lock() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
            // The holder of the lock may have lost its core.
            Err(TryLockError::WouldBlock) if attempt % 100 == 99 => std::thread::yield_now(),
            Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
        }
    }
    lock(mutex)
}
