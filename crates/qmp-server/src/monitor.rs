//! The monitor: its sockets, its clients, and one turn of its loop.
//!
//! One turn handles the ready sockets, then takes all items of the queue and delivers them, until the queue is
//! empty. It never blocks.

mod accept;
mod deliver;
mod serve;
mod suspend;

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use qmp_wire::server::{Profile, Server};
use rustix::{
    event::{
        Timespec,
        epoll::{self, CreateFlags, EventData, EventFlags},
    },
    io::Errno,
    time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime},
};

use self::accept::Listeners;
use crate::{
    builder::MonitorBuilder,
    caller::{Caller, ConnectionId, ListenerId},
    command::Command,
    commands::Commands,
    connection::{Connection, ConnectionKey, Disconnected, Service},
    counters::{Stats, add, subtract},
    emitter::{Emitter, Shared},
    listener::{Listener, Settings},
    outgoing::{self, EVENTS_DROPPED},
    panics,
    queue::{Batch, Order, Queue, lock},
    slow_reader::SlowReader,
    thread::MonitorThread,
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
/// Tokens from here on are listeners; tokens of connections are below.
const LISTENERS: u64 = 1 << 63;

/// A monitor that the embedder runs in its own loop or on a thread.
///
/// Watch [`as_fd`](AsFd::as_fd) for reading and call [`process`](Self::process) whenever it is readable; deadlines
/// make it readable, too. Or use [`spawn`](Self::spawn), which does all that on a thread.
#[derive(Debug)]
pub struct Monitor {
    parts: Parts,
    epoll: OwnedFd,
    timer: OwnedFd,
    /// The deadlines to which the timer is set, of both clocks.
    armed: Option<(Option<Instant>, Option<Instant>)>,
    listeners: Listeners,
    connections: Vec<Option<Connection>>,
    free: Vec<u32>,
    numbers: u32,
    /// Number of connections ever opened, refused ones included.
    opened: u64,
    /// Number of connections in the audience that get messages spread over many lines.
    pretty_audience: usize,
    /// Slots of the connections in command mode.
    audience: Vec<u32>,
    /// Connections with a pending request.
    to_serve: Vec<ConnectionKey>,
    batch: Batch,
    /// Buffer of the last read.
    input: Vec<u8>,
    ready: Vec<(u64, EventFlags)>,
    /// Whether work is left that is due at once.
    is_behind: bool,
    stopped: bool,
    /// Whether it was stopped for a successor.
    pub(crate) hands_over: bool,
    /// Whether the loop has its own thread, which may spin briefly.
    pub(crate) lingers: bool,
}

/// The configuration that [`MonitorBuilder`] collects.
pub(crate) struct Parts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) profile: Arc<Profile>,
    pub(crate) commands: Commands,
    pub(crate) ready: Box<dyn Fn() -> bool + Send>,
    pub(crate) lose_held: bool,
    pub(crate) slow_reader: SlowReader,
    pub(crate) output_max_bytes: usize,
    pub(crate) connections_max: usize,
    pub(crate) on_connect: Option<OnConnect>,
    pub(crate) on_disconnect: Option<OnDisconnect>,
}

/// Decides whether a client may connect.
pub(crate) type OnConnect = Box<dyn FnMut(&Caller) -> bool + Send>;

/// Is notified of a closed connection.
pub(crate) type OnDisconnect = Box<dyn FnMut(&Caller) + Send>;

impl std::fmt::Debug for Parts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Parts").field("profile", &self.profile).finish_non_exhaustive()
    }
}

impl Monitor {
    /// Returns the builder of a monitor that claims to be a QEMU of that version.
    #[must_use]
    pub fn builder(major: u32, minor: u32, micro: u32) -> MonitorBuilder {
        MonitorBuilder::new(major, minor, micro)
    }

    pub(crate) fn new(parts: Parts) -> io::Result<Self> {
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

    /// Serves clients that connect to `listener`.
    ///
    /// # Errors
    ///
    /// A system error if the socket cannot be watched.
    pub fn listen(&mut self, listener: impl Into<Listener>) -> io::Result<ListenerId> {
        let id = self.parts.shared.next_listener();
        self.add_listener(id, listener.into())?;
        Ok(id)
    }

    /// Stops accepting clients at a listener, and returns it; its connections stay. Returns `None` if it was
    /// already removed.
    pub fn remove_listener(&mut self, id: ListenerId) -> Option<Listener> {
        self.listeners.remove(id, &self.epoll)
    }

    /// Serves until a client has connected to a listener, as a QEMU with `wait=on` does at its start. Returns at
    /// once if one already has.
    ///
    /// # Errors
    ///
    /// A system error, or [`io::ErrorKind::NotFound`] if the listener was removed.
    pub fn wait_for_client(&mut self, id: ListenerId) -> io::Result<()> {
        loop {
            match self.listeners.accepted(id) {
                None => return Err(io::Error::new(io::ErrorKind::NotFound, "the listener was removed")),
                Some(0) => self.turn(self.next_timeout())?,
                Some(_) => return self.arm(),
            }
        }
    }

    /// Serves a client that is already connected: a unix or TCP stream, or an inherited socket.
    ///
    /// # Errors
    ///
    /// A system error if the socket cannot be watched.
    pub fn attach(&mut self, stream: impl Into<OwnedFd>) -> io::Result<()> {
        let service = self.service(Settings::default());
        if let Some(key) = self.open(stream.into(), None, service)? {
            self.serve(key);
        }
        self.rest();
        Ok(())
    }

    /// Closes a connection without a message; returns `false` if it is already closed.
    pub fn disconnect(&mut self, connection: ConnectionId) -> bool {
        let is_it = |open: &&Connection| open.caller.connection() == connection;
        let key = self.connections.iter().flatten().find(is_it).map(|open| open.key);
        key.map(|key| self.close(key)).is_some()
    }

    /// Adds a command, replacing one of the same name.
    pub fn add_command(&mut self, command: Command) {
        self.parts.commands.insert(command);
    }

    /// Removes a command, also a built-in one; returns `false` if there is none of that name.
    pub fn remove_command(&mut self, name: &str) -> bool {
        self.parts.commands.remove(name).is_some()
    }

    /// Returns a handle by which any thread emits events.
    #[must_use]
    pub fn emitter(&self) -> Emitter {
        Emitter::new(Arc::clone(&self.parts.shared))
    }

    /// Returns the statistics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.emitter().stats()
    }

    /// Returns how long the embedder's loop may wait; `None` for no limit.
    ///
    /// A loop that watches [`as_fd`](AsFd::as_fd) needs this only if its timeouts come from its own
    /// [`Clock`](crate::Clock).
    #[must_use]
    pub fn next_timeout(&self) -> Option<Duration> {
        if self.is_behind {
            return Some(Duration::ZERO);
        }
        let now = self.parts.shared.clock.monotonic();
        let limit = lock(&self.parts.shared.queue).wakes_at.map(|at| at.saturating_duration_since(now));
        let retry = self.listeners.retry_at().map(|at| at.saturating_duration_since(Instant::now()));
        limit.into_iter().chain(retry).min()
    }

    /// Does all pending work, without blocking.
    ///
    /// # Errors
    ///
    /// A system error if the ready sockets cannot be determined.
    pub fn process(&mut self) -> io::Result<()> {
        self.turn(Some(Duration::ZERO))?;
        self.arm()
    }

    /// Serves on a thread named `qmp`, until [`MonitorThread::stop`].
    ///
    /// # Errors
    ///
    /// A system error if the thread cannot be created.
    pub fn spawn(self) -> io::Result<MonitorThread> {
        self.spawn_with("qmp", || Ok(()))
    }

    /// Serves on a thread of this name, which calls `first` before anything else: the place to install a seccomp
    /// filter.
    ///
    /// If `first` fails, the thread ends with its error: see [`MonitorThread::is_finished`].
    ///
    /// # Errors
    ///
    /// A system error if the thread cannot be created.
    pub fn spawn_with(
        self,
        name: &str,
        first: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<MonitorThread> {
        let shared = Arc::clone(&self.parts.shared);
        MonitorThread::start(self, shared, name, first)
    }

    /// Sends the remaining output and closes everything: held events are sent, and each client is written to once,
    /// without waiting for it. Later events are discarded.
    pub fn shutdown(&mut self) {
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

    /// Runs one turn of the loop: waits, then does the pending work.
    pub(crate) fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
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
    fn rest(&mut self) {
        while self.deliver_queue_or_sleep() {}
        if !self.to_serve.is_empty() {
            self.parts.shared.wake();
        }
    }

    /// Sets the timer to the next deadline, so that the descriptor of the whole monitor becomes readable then.
    fn arm(&mut self) -> io::Result<()> {
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

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
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

    fn connection(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        let slot = usize::try_from(key.slot).ok()?;
        self.connections.get_mut(slot)?.as_mut().filter(|connection| connection.key == key)
    }

    /// Greets a client, unless the embedder refuses it.
    fn open(
        &mut self,
        socket: OwnedFd,
        listener: Option<ListenerId>,
        service: Service,
    ) -> io::Result<Option<ConnectionKey>> {
        let caller = self.next_caller(&socket, listener);
        let counters = &self.parts.shared.counters;
        if let Some(admit) = &mut self.parts.on_connect
            && !panics::catch(counters, || admit(&caller)).unwrap_or(false)
        {
            add(&counters.refused, 1);
            return Ok(None);
        }
        let server = Server::new(Arc::clone(&service.profile));
        self.insert(socket, service, caller, server).map(Some)
    }

    fn next_caller(&mut self, socket: &OwnedFd, listener: Option<ListenerId>) -> Caller {
        self.opened += 1;
        Caller::new(socket, listener, ConnectionId(self.opened))
    }

    /// Adds a connection to the loop.
    fn insert(
        &mut self,
        socket: OwnedFd,
        service: Service,
        caller: Caller,
        server: Server,
    ) -> io::Result<ConnectionKey> {
        let slot = match self.free.last() {
            Some(slot) => *slot,
            None => u32::try_from(self.connections.len()).unwrap_or(u32::MAX),
        };
        // The highest numbers are tokens of other sockets.
        self.numbers = (self.numbers + 1) % (u32::MAX / 2);
        let key = ConnectionKey { slot, number: self.numbers };
        let connection = Connection::new(socket, key, service, caller, server, &self.epoll)?;
        match self.free.pop() {
            Some(slot) => self.connections[slot as usize] = Some(connection),
            None => self.connections.push(Some(connection)),
        }
        add(&self.parts.shared.counters.connected, 1);
        add(&self.parts.shared.counters.connections, 1);
        Ok(key)
    }

    fn close(&mut self, key: ConnectionKey) {
        if self.connection(key).is_none() {
            return;
        }
        let slot = key.slot as usize;
        let Some(connection) = self.connections[slot].take() else { return };
        self.free.push(key.slot);
        if connection.listens {
            self.audience.retain(|other| *other != key.slot);
            self.pretty_audience -= usize::from(connection.service.profile.pretty);
            self.parts.shared.audience.store(self.audience.len(), Relaxed);
        }
        self.listeners.closed(connection.caller.listener());
        self.forget(connection);
        self.resume_accepting();
    }

    /// Counts a closed connection, and notifies the embedder.
    fn forget(&mut self, connection: Connection) {
        let counters = &self.parts.shared.counters;
        subtract(&counters.connections, 1);
        let caller = connection.caller.clone();
        drop(connection);
        if let Some(notice) = &mut self.parts.on_disconnect {
            // A panic is counted, and has no other effect.
            let _ = panics::catch(counters, || notice(&caller));
        }
    }

    fn add_listener(&mut self, id: ListenerId, listener: Listener) -> io::Result<()> {
        if listener.settings.slow_reader == Some(SlowReader::DropOldest) {
            self.parts.commands.insert_event(EVENTS_DROPPED, outgoing::dropped_data());
        }
        let service = self.service(listener.settings);
        self.listeners.add(id, listener, service, &self.epoll)
    }

    fn execute_order(&mut self, order: Order) {
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
            Order::AddCommand(command) => self.add_command(*command),
            Order::RemoveCommand(name) => {
                self.remove_command(&name);
            }
            Order::HandOver => {
                self.hands_over = true;
                self.stopped = true;
            }
            Order::Stop => self.stopped = true,
        }
    }
}

/// A monitor that is dropped without [`shutdown`](Monitor::shutdown), also by a panic, sends nothing more and
/// closes everything.
impl Drop for Monitor {
    fn drop(&mut self) {
        self.close_everything();
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
