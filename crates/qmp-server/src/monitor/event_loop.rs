//! The loop of a monitor: its sockets, its clients, and one turn.
//!
//! One turn handles the ready sockets, then takes all items of the queue and delivers them, until the queue is
//! empty. It never blocks.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use qmp_host::{
    lock,
    poller::{Poller, Ready},
};

use super::{dialers::Dialers, listeners::Listeners, parts::Parts, token::Token};
use crate::{
    caller::ListenerId,
    connection::{ClientDisconnect, Connection, ConnectionKey},
    counters::add,
    listener::Listener,
    queue::{Batch, Order, Queue},
};

/// Bytes read from one client before the next is served.
const READ_BYTES: usize = 64 << 10;

/// Time for which a monitor's own thread lets events collect after the queue was filled twice in one turn, and time
/// for which it waits for one before it sleeps.
///
/// In a storm the emitting threads then almost never contend for the lock, nor have to wake the thread; each would
/// cost them a microsecond or more. After a single event the thread sleeps at once.
const GATHER: Duration = Duration::from_micros(30);
const LINGER: Duration = Duration::from_micros(100);

/// Number of times that the queue is emptied before the sockets are served again.
const ROUNDS_MAX: usize = 16;

/// The loop of a [`Monitor`](crate::Monitor).
#[derive(Debug)]
pub(crate) struct EventLoop {
    pub(super) parts: Parts,
    pub(super) poller: Poller,
    /// The deadlines to which the timer is set, of both clocks.
    pub(super) armed: Option<(Option<Instant>, Option<Instant>)>,
    pub(super) listeners: Listeners,
    pub(super) dialers: Dialers,
    pub(super) connections: Vec<Option<Connection>>,
    /// Unused slots.
    pub(super) free: Vec<u32>,
    /// Slots of connections closed in this turn: a report about one of them may follow, so they are reused later.
    pub(super) freed: Vec<u32>,
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
    /// Orders taken from the queue and not executed yet.
    pub(super) orders: VecDeque<Order>,
    /// Whether an order is being executed: orders taken meanwhile wait for its end.
    pub(super) executes_order: bool,
    /// Buffer of the last read.
    pub(super) input: Vec<u8>,
    pub(super) ready: Vec<Ready>,
    /// Whether work is left that is due at once.
    pub(super) is_behind: bool,
    pub(super) stopped: bool,
    /// Whether it was stopped for a successor.
    pub(crate) hands_over: bool,
    /// Whether the loop has its own thread, which may spin briefly.
    pub(crate) lingers: bool,
}

impl EventLoop {
    pub(super) fn new(poller: Poller, parts: Parts) -> Self {
        Self {
            parts,
            poller,
            armed: None,
            listeners: Listeners::default(),
            dialers: Dialers::new(),
            connections: Vec::new(),
            free: Vec::new(),
            freed: Vec::new(),
            numbers: 0,
            opened: 0,
            pretty_audience: 0,
            audience: Vec::new(),
            to_serve: Vec::new(),
            batch: Batch::default(),
            orders: VecDeque::new(),
            executes_order: false,
            input: vec![0; READ_BYTES],
            ready: Vec::new(),
            is_behind: false,
            stopped: false,
            hands_over: false,
            lingers: false,
        }
    }

    /// Runs one turn of the loop: waits, then does the pending work.
    pub(super) fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let mut ready = std::mem::take(&mut self.ready);
        if self.poller.wait(&mut ready, timeout)? {
            self.armed = None;
        }
        for report in ready.drain(..) {
            match Token::from_usize(report.token) {
                Token::Connection(slot) => self.handle_ready(slot, report),
                Token::Listener(id) => self.handle_listener(id, report),
                Token::Dialer(id) => self.handle_dialed(id),
            }
        }
        self.free.append(&mut self.freed);
        self.ready = ready;
        self.retry_accepting();
        self.dial_due();
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

    /// Returns when to accept or to connect again.
    fn retry_at(&self) -> Option<Instant> {
        self.listeners.retry_at().into_iter().chain(self.next_dial()).min()
    }

    /// Sets the timer to the next deadline, so that the descriptor of the whole monitor becomes readable then.
    pub(super) fn arm(&mut self) -> io::Result<()> {
        let deadlines = (lock(&self.parts.shared.queue).wakes_at, self.retry_at());
        let Some(timeout) = self.next_timeout() else { return Ok(()) };
        if !self.is_behind && self.armed == Some(deadlines) {
            return Ok(());
        }
        self.poller.set_timer(timeout)?;
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

    fn handle_ready(&mut self, slot: u32, report: Ready) {
        let Some(Some(connection)) = self.connections.get_mut(slot as usize) else { return };
        let (key, reads) = (connection.key, connection.is_read());
        if report.closed && !reads {
            return self.close(key);
        }
        if report.write && connection.flush().is_err() {
            return self.close(key);
        }
        if reads && (report.read || report.closed) {
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
                Err(ClientDisconnect) => self.close(key),
            }
        }
        self.input = input;
    }

    pub(super) fn add_listener(&mut self, id: ListenerId, listener: Listener) -> io::Result<()> {
        let service = self.service_of(listener.settings);
        let added = self.check_open().and_then(|()| self.listeners.add(id, listener, service, &self.poller));
        if added.is_err() {
            self.parts.shared.arrivals.remove(id);
        }
        added
    }

    /// Fails after the monitor was shut down.
    pub(super) fn check_open(&self) -> io::Result<()> {
        if lock(&self.parts.shared.queue).closed {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "the monitor was shut down"));
        }
        Ok(())
    }

    pub(super) fn remove_listener(&mut self, id: ListenerId) -> Option<Listener> {
        self.parts.shared.arrivals.remove(id);
        self.listeners.remove(id)
    }

    /// Executes the waiting orders in their sequence. Does nothing during an order, which may take further ones from
    /// the queue.
    ///
    /// An order from then on waits for the next call, so that a thread that orders again and again starves no client.
    pub(super) fn execute_orders(&mut self) {
        if self.executes_order {
            return;
        }
        self.executes_order = true;
        for _ in 0..self.orders.len() {
            let Some(order) = self.orders.pop_front() else { break };
            self.execute_order(order);
        }
        self.executes_order = false;
    }

    fn execute_order(&mut self, order: Order) {
        match order {
            Order::Listen(id, listener) => {
                // If this fails, the listener is closed, which its clients notice.
                let _ = self.add_listener(id, listener);
            }
            Order::RemoveListener(id) => drop(self.remove_listener(id)),
            Order::Dial(id, dialer, socket) => {
                // If this fails, the socket is closed, which the client notices.
                let _ = self.add_dialer(id, dialer, socket);
            }
            Order::RemoveDialer(id) => drop(self.dialers.remove(&id)),
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
    /// [`TimeSource`](crate::TimeSource).
    #[must_use]
    pub(super) fn next_timeout(&self) -> Option<Duration> {
        if self.is_behind {
            return Some(Duration::ZERO);
        }
        let now = self.parts.shared.clock.monotonic();
        let limit = lock(&self.parts.shared.queue).wakes_at.map(|at| at.saturating_duration_since(now));
        let retry = self.retry_at().map(|at| at.saturating_duration_since(Instant::now()));
        limit.into_iter().chain(retry).min()
    }

    /// Sends the remaining output and closes everything: held events are sent, and clients are waited for at most this
    /// time. Later events are discarded.
    pub(super) fn shutdown(&mut self, timeout: Duration) {
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
        self.write_remaining(timeout);
        self.close_everything();
    }

    /// Writes the remaining output, for at most this time, and closes each connection whose output is written.
    fn write_remaining(&mut self, timeout: Duration) {
        let deadline = Instant::now().checked_add(timeout);
        // A client that connects, or sends, would end each wait at once.
        self.listeners = Listeners::default();
        self.dialers.clear();
        loop {
            for slot in 0..self.connections.len() {
                if let Some(connection) = self.connections[slot].take_if(|connection| !is_behind(connection))
                {
                    self.forget(connection);
                }
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if self.connections.iter().all(Option::is_none) || left.is_some_and(|left| left.is_zero()) {
                return;
            }
            self.ready.clear();
            if self.poller.wait(&mut self.ready, left).is_err() {
                return;
            }
        }
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
        drop((orders, std::mem::take(&mut self.orders)));
        for slot in 0..self.connections.len() {
            if let Some(connection) = self.connections[slot].take() {
                add(&shared.counters.unwritten, connection.outgoing.messages());
                self.forget(connection);
            }
        }
        self.audience.clear();
        self.pretty_audience = 0;
        // Emitters then read the queue, and find it closed.
        shared.audience.store(usize::MAX, Relaxed);
        self.listeners = Listeners::default();
        self.dialers.clear();
        shared.arrivals.clear();
        self.stopped = true;
    }
}

/// Writes the waiting output of a connection; returns whether some is left that the client may still take.
fn is_behind(connection: &mut Connection) -> bool {
    connection.flush().is_ok() && !connection.outgoing.is_empty() && connection.watch(false).is_ok()
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
        self.poller.as_fd()
    }
}
