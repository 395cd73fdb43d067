//! The loop of a monitor: its sockets, its clients, and one turn.
//!
//! One turn handles the ready sockets, then takes all items of the queue and delivers them, until the queue is
//! empty. It never blocks.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use qmp_host::lock;
use rustix::{
    event::{
        Timespec,
        epoll::{self, CreateFlags, EventData, EventFlags},
    },
    io::Errno,
    time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime},
};

use super::{
    listeners::{LISTENERS, Listeners},
    parts::Parts,
};
use crate::{
    caller::ListenerId,
    connection::{Connection, ConnectionKey, Disconnected},
    counters::add,
    listener::Listener,
    outgoing::{self, EVENTS_DROPPED},
    queue::{Batch, Order, Queue},
    slow_reader::SlowReader,
};

/// Bytes read from one client before the next is served.
const READ_BYTES: usize = 64 << 10;

/// Sockets handled in one turn.
const READY_MAX: usize = 256;

/// Time for which a monitor's own thread lets events collect after the queue was filled twice in one turn, and time
/// for which it waits for one before it sleeps.
///
/// In a storm the emitting threads then almost never contend for the lock, nor have to wake the thread; each would
/// cost them a microsecond or more. After a single event the thread sleeps at once.
const GATHER: Duration = Duration::from_micros(30);
const LINGER: Duration = Duration::from_micros(100);

/// Number of times that the queue is emptied before the sockets are served again.
const ROUNDS_MAX: usize = 16;

const WAKE: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;

/// What a [`Monitor`](crate::Monitor) runs.
#[derive(Debug)]
pub(crate) struct EventLoop {
    pub(super) parts: Parts,
    pub(super) epoll: OwnedFd,
    pub(super) timer: OwnedFd,
    /// The deadlines to which the timer is set, of both clocks.
    pub(super) armed: Option<(Option<Instant>, Option<Instant>)>,
    pub(super) listeners: Listeners,
    pub(super) connections: Vec<Option<Connection>>,
    pub(super) free: Vec<u32>,
    pub(super) numbers: u32,
    /// Number of connections ever opened, refused ones included.
    pub(super) opened: u64,
    /// Number of connections in the audience that get messages spread over many lines.
    pub(super) pretty_audience: usize,
    /// Slots of the connections in command mode.
    pub(super) audience: Vec<u32>,
    /// Connections with a pending request.
    pub(super) to_serve: Vec<ConnectionKey>,
    pub(super) batch: Batch,
    /// Buffer of the last read.
    pub(super) input: Vec<u8>,
    pub(super) ready: Vec<(u64, EventFlags)>,
    /// Whether work is left that is due at once.
    pub(super) is_behind: bool,
    pub(super) stopped: bool,
    /// Whether it was stopped for a successor.
    pub(crate) hands_over: bool,
    /// Whether the loop has its own thread, which may spin briefly.
    pub(crate) lingers: bool,
}

impl EventLoop {
    pub(super) fn new(parts: Parts) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &parts.shared.wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
        Ok(Self {
            parts,
            epoll,
            timer,
            armed: None,
            listeners: Listeners::default(),
            connections: Vec::new(),
            free: Vec::new(),
            numbers: 0,
            opened: 0,
            pretty_audience: 0,
            audience: Vec::new(),
            to_serve: Vec::new(),
            batch: Batch::default(),
            input: vec![0; READ_BYTES],
            ready: Vec::with_capacity(READY_MAX),
            is_behind: false,
            stopped: false,
            hands_over: false,
            lingers: false,
        })
    }

    /// Runs one turn of the loop: waits, then does the pending work.
    pub(super) fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout =
            timeout.map(|timeout| Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 }));
        let mut events = [const { MaybeUninit::uninit() }; READY_MAX];
        let mut ready = std::mem::take(&mut self.ready);
        match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
            Ok((events, _)) => ready.extend(events.iter().map(|event| (event.data.u64(), event.flags))),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for (token, flags) in ready.drain(..) {
            match token {
                WAKE => {
                    // The counter's value is irrelevant: the items are in the queue.
                    let _ = rustix::io::read(&self.parts.shared.wake, &mut [0_u8; 8]);
                }
                TIMER => {
                    // The expired deadlines are found without the value.
                    let _ = rustix::io::read(&self.timer, &mut [0_u8; 8]);
                    self.armed = None;
                }
                token if token >= LISTENERS => self.accept(ListenerId(token - LISTENERS)),
                token => self.handle_ready(token, flags),
            }
        }
        self.ready = ready;
        self.retry_accepting();
        self.is_behind = false;
        for round in 0.. {
            self.serve_waiting();
            if self.lingers && round >= 2 {
                self.linger();
            }
            if !self.deliver_queue_or_sleep() && self.to_serve.is_empty() {
                break;
            }
            if round == ROUNDS_MAX {
                self.is_behind = true;
                break;
            }
        }
        Ok(())
    }

    /// Ends the work outside of a turn: threads that queue an item after this wake the loop.
    pub(super) fn rest(&mut self) {
        while self.deliver_queue_or_sleep() {}
        if !self.to_serve.is_empty() {
            self.parts.shared.wake();
        }
    }

    /// Sets the timer to the next deadline, so that the descriptor of the whole monitor becomes readable then.
    pub(super) fn arm(&mut self) -> io::Result<()> {
        let deadlines = (lock(&self.parts.shared.queue).wakes_at, self.listeners.retry_at());
        let Some(timeout) = self.next_timeout() else { return Ok(()) };
        if !self.is_behind && self.armed == Some(deadlines) {
            return Ok(());
        }
        // A timeout of zero would disarm the timer.
        let timeout = timeout.max(Duration::from_nanos(1));
        let it_value = Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value })?;
        self.armed = Some(deadlines);
        Ok(())
    }

    /// Waits briefly for more events of a storm.
    fn linger(&self) {
        let start = Instant::now();
        loop {
            std::thread::yield_now();
            let waited = start.elapsed();
            if waited >= LINGER || waited >= GATHER && self.parts.shared.waiting.load(Relaxed) > 0 {
                return;
            }
        }
    }

    fn handle_ready(&mut self, token: u64, flags: EventFlags) {
        let key = ConnectionKey::from_token(token);
        let Some(connection) = self.connection(key) else { return };
        let reads = connection.is_read();
        if flags.intersects(EventFlags::HUP | EventFlags::ERR) && !reads {
            return self.close(key);
        }
        if flags.contains(EventFlags::OUT) && connection.flush().is_err() {
            return self.close(key);
        }
        if reads && flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            return self.read(key);
        }
        self.serve(key);
    }

    fn read(&mut self, key: ConnectionKey) {
        let mut input = std::mem::take(&mut self.input);
        if let Some(connection) = self.connection(key) {
            match connection.read(&mut input) {
                Ok(count) => {
                    if let Some(count) = count {
                        connection.server.handle_input(&input[..count]);
                    }
                    self.serve(key);
                }
                Err(Disconnected) => self.close(key),
            }
        }
        self.input = input;
    }

    pub(super) fn add_listener(&mut self, id: ListenerId, listener: Listener) -> io::Result<()> {
        if listener.settings.slow_reader == Some(SlowReader::DropOldest) {
            self.parts.commands.insert_event(EVENTS_DROPPED, outgoing::dropped_data());
        }
        let service = self.service(listener.settings);
        self.listeners.add(id, listener, service, &self.epoll)
    }

    pub(super) fn remove_listener(&mut self, id: ListenerId) -> Option<Listener> {
        self.listeners.remove(id, &self.epoll)
    }

    pub(super) fn execute_order(&mut self, order: Order) {
        match order {
            Order::Listen(id, listener) => {
                // If this fails, the listener is closed, which its clients notice.
                let _ = self.add_listener(id, listener);
            }
            Order::RemoveListener(id) => drop(self.remove_listener(id)),
            Order::Attach(socket) => {
                let _ = self.attach(socket);
            }
            Order::Disconnect(connection) => {
                self.disconnect(connection);
            }
            Order::AddCommand(command) => self.parts.commands.insert(*command),
            Order::RemoveCommand(name) => drop(self.parts.commands.remove(&name)),
            Order::HandOver => {
                self.hands_over = true;
                self.stopped = true;
            }
            Order::Stop => self.stopped = true,
        }
    }

    /// Returns how long the embedder's loop may wait; `None` for no limit.
    ///
    /// A loop that watches [`as_fd`](AsFd::as_fd) needs this only if its timeouts come from its own
    /// [`Clock`](crate::Clock).
    #[must_use]
    pub(super) fn next_timeout(&self) -> Option<Duration> {
        if self.is_behind {
            return Some(Duration::ZERO);
        }
        let now = self.parts.shared.clock.monotonic();
        let limit = lock(&self.parts.shared.queue).wakes_at.map(|at| at.saturating_duration_since(now));
        let retry = self.listeners.retry_at().map(|at| at.saturating_duration_since(Instant::now()));
        limit.into_iter().chain(retry).min()
    }

    /// Sends the remaining output and closes everything: held events are sent, and each client is written to once,
    /// without waiting for it. Later events are discarded.
    pub(super) fn shutdown(&mut self) {
        let shared = Arc::clone(&self.parts.shared);
        self.deliver_queue();
        {
            let mut queue = lock(&shared.queue);
            let queue = &mut *queue;
            queue.closed = true;
            let (batch, held) = (&mut queue.batch, &mut queue.limiter);
            held.flush(|line| {
                if !self.parts.lose_held {
                    Queue::push_line(batch, &line);
                    add(&shared.counters.emitted, 1);
                }
            });
        }
        self.deliver_queue();
        self.close_everything();
    }

    /// Closes all connections and listeners, and the queue: `emit` returns `Closed` from then on.
    fn close_everything(&mut self) {
        let shared = Arc::clone(&self.parts.shared);
        let orders = {
            let mut queue = lock(&shared.queue);
            queue.closed = true;
            std::mem::take(&mut queue.batch.orders)
        };
        // Drop the sockets in the orders, so that their clients notice.
        drop(orders);
        for slot in 0..self.connections.len() {
            if let Some(connection) = self.connections[slot].take() {
                self.forget(connection);
            }
        }
        self.audience.clear();
        self.pretty_audience = 0;
        // Emitters then read the queue, and find it closed.
        shared.audience.store(usize::MAX, Relaxed);
        self.listeners = Listeners::default();
        self.stopped = true;
    }
}

/// A loop that is dropped without [`shutdown`](EventLoop::shutdown), also by a panic, sends nothing more and closes
/// everything.
impl Drop for EventLoop {
    fn drop(&mut self) {
        self.close_everything();
    }
}

impl AsFd for EventLoop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
