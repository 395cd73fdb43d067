//! The monitor itself: its sockets, its clients, its turn of the loop.
//!
//! One turn looks at the sockets that have something to say, then takes all that threads put into the queue and hands it
//! round, until the queue is empty. Nothing in it waits.

mod accept;
mod deliver;
mod serve;

use std::{
    collections::BTreeMap,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use qmp_wire::server::Profile;
use rustix::{
    event::{
        Timespec,
        epoll::{self, CreateFlags, EventData, EventFlags},
    },
    io::Errno,
};

use self::accept::Listeners;
use crate::{
    builder::MonitorBuilder,
    command::Command,
    connection::{Connection, ConnectionKey, Gone},
    counters::{Stats, add, subtract},
    emitter::{Emitter, Shared},
    listener::Listener,
    queue::{Batch, Order, Queue, lock},
    slow_reader::SlowReader,
    thread::MonitorThread,
};

/// Bytes read from one client before the next has its turn.
const READ_BYTES: usize = 64 << 10;

/// Sockets looked at in one turn.
const READY_MAX: usize = 256;

/// How long a monitor's own thread lets events gather after the queue was filled twice in one turn, and how long it waits
/// for one before it sleeps.
///
/// In a storm the threads that emit then almost never meet it at the lock, nor have to wake it; each would cost them a
/// microsecond or more. After a single event it sleeps at once.
const GATHER: Duration = Duration::from_micros(30);
const LINGER: Duration = Duration::from_micros(100);

/// Times that the queue is emptied before the sockets have their turn again.
const ROUNDS_MAX: usize = 16;

const WAKE: u64 = u64::MAX;
/// Tokens from here on are listeners.
const LISTENERS: u64 = u64::MAX - (1 << 16);

/// A monitor, and what it takes to run it in the embedder's own loop.
///
/// Watch [`as_fd`](AsFd::as_fd) for reading, wait no longer than [`next_timeout`](Self::next_timeout), then call
/// [`process`](Self::process). Or let [`spawn`](Self::spawn) do all that on a thread.
#[derive(Debug)]
pub struct Monitor {
    parts: Parts,
    epoll: OwnedFd,
    listeners: Listeners,
    connections: Vec<Option<Connection>>,
    free: Vec<u32>,
    numbers: u32,
    /// Places of the connections in command mode.
    audience: Vec<u32>,
    /// Connections that have a request to look at.
    to_serve: Vec<ConnectionKey>,
    batch: Batch,
    /// What was read last.
    input: Vec<u8>,
    ready: Vec<(u64, EventFlags)>,
    /// Whether something is left to be done at once.
    is_behind: bool,
    stopped: bool,
    /// Whether the loop has a thread of its own, which may be busy for a moment.
    pub(crate) lingers: bool,
}

/// What [`MonitorBuilder`] puts together.
pub(crate) struct Parts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) profile: Arc<Profile>,
    pub(crate) commands: BTreeMap<Box<str>, Command>,
    pub(crate) ready: Box<dyn Fn() -> bool + Send>,
    pub(crate) loses_held: bool,
    pub(crate) slow_reader: SlowReader,
    pub(crate) output_max_bytes: usize,
    pub(crate) connections_max: usize,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Parts").field("profile", &self.profile).finish_non_exhaustive()
    }
}

impl Monitor {
    /// Describes a monitor that claims to be a QEMU of that version.
    #[must_use]
    pub fn builder(major: u32, minor: u32, micro: u32) -> MonitorBuilder {
        MonitorBuilder::new(major, minor, micro)
    }

    pub(crate) fn new(parts: Parts) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &parts.shared.wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        Ok(Self {
            parts,
            epoll,
            listeners: Listeners::default(),
            connections: Vec::new(),
            free: Vec::new(),
            numbers: 0,
            audience: Vec::new(),
            to_serve: Vec::new(),
            batch: Batch::default(),
            input: vec![0; READ_BYTES],
            ready: Vec::with_capacity(READY_MAX),
            is_behind: false,
            stopped: false,
            lingers: false,
        })
    }

    /// Serves clients that connect to `listener`.
    ///
    /// # Errors
    ///
    /// That of the system if the socket cannot be watched.
    pub fn listen(&mut self, listener: impl Into<Listener>) -> io::Result<()> {
        self.listeners.add(listener.into(), &self.epoll)
    }

    /// Serves a client that is connected already: a unix or TCP stream, or an inherited socket.
    ///
    /// # Errors
    ///
    /// That of the system if the socket cannot be watched.
    pub fn attach(&mut self, stream: impl Into<OwnedFd>) -> io::Result<()> {
        let key = self.open(stream.into())?;
        self.serve(key);
        Ok(())
    }

    /// A handle by which any thread emits events.
    #[must_use]
    pub fn emitter(&self) -> Emitter {
        Emitter::new(Arc::clone(&self.parts.shared))
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.emitter().stats()
    }

    /// How long the embedder's loop may wait; `None` for as long as nothing happens.
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

    /// Does everything there is to do, without waiting.
    ///
    /// # Errors
    ///
    /// That of the system if it cannot tell which sockets are ready.
    pub fn process(&mut self) -> io::Result<()> {
        self.turn(Some(Duration::ZERO))
    }

    /// Serves on a thread of its own, until [`MonitorThread::stop`].
    ///
    /// # Errors
    ///
    /// That of the system if it does not make a thread.
    pub fn spawn(self) -> io::Result<MonitorThread> {
        let shared = Arc::clone(&self.parts.shared);
        MonitorThread::start(self, shared)
    }

    /// Says what is left to say and closes everything: held events are sent, and each client is written to once,
    /// without waiting for it. Whatever is emitted after that goes nowhere.
    pub fn shutdown(&mut self) {
        let shared = Arc::clone(&self.parts.shared);
        self.deliver_queue();
        {
            let mut queue = lock(&shared.queue);
            let queue = &mut *queue;
            queue.closed = true;
            let (batch, held) = (&mut queue.batch, &mut queue.limiter);
            held.flush(|line| {
                if !self.parts.loses_held {
                    Queue::push_line(batch, &line);
                    add(&shared.counters.emitted, 1);
                }
            });
        }
        self.deliver_queue();
        self.close_everything();
    }

    /// Closes all connections and listeners, and the queue: `emit` returns `Closed` from here on.
    fn close_everything(&mut self) {
        let shared = &self.parts.shared;
        let orders = {
            let mut queue = lock(&shared.queue);
            queue.closed = true;
            std::mem::take(&mut queue.batch.orders)
        };
        // Sockets among them are closed, so that their clients see it.
        drop(orders);
        for place in 0..self.connections.len() {
            if let Some(connection) = self.connections[place].take() {
                subtract(&shared.counters.connections, 1);
                drop(connection);
            }
        }
        self.audience.clear();
        // Emitters look at the queue, and see that it is closed.
        shared.audience.store(usize::MAX, Relaxed);
        self.listeners = Listeners::default();
        self.stopped = true;
    }

    /// One turn of the loop: waits, does what is to be done.
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
                    // What it says stands in the queue.
                    let _ = rustix::io::read(&self.parts.shared.wake, &mut [0_u8; 8]);
                }
                token if token >= LISTENERS => self.accept(token - LISTENERS),
                token => self.look_at(token, flags),
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

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Lets the events of a storm gather for a moment.
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

    fn look_at(&mut self, token: u64, flags: EventFlags) {
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
                Err(Gone) => self.close(key),
            }
        }
        self.input = input;
    }

    fn connection(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        let place = usize::try_from(key.place).ok()?;
        self.connections.get_mut(place)?.as_mut().filter(|connection| connection.key == key)
    }

    /// Takes in a client and greets it.
    fn open(&mut self, socket: OwnedFd) -> io::Result<ConnectionKey> {
        let place = match self.free.last() {
            Some(place) => *place,
            None => u32::try_from(self.connections.len()).unwrap_or(u32::MAX),
        };
        // The highest numbers are tokens of something else.
        self.numbers = (self.numbers + 1) % (u32::MAX / 2);
        let key = ConnectionKey { place, number: self.numbers };
        let connection = Connection::new(socket, key, Arc::clone(&self.parts.profile), &self.epoll)?;
        match self.free.pop() {
            Some(place) => self.connections[place as usize] = Some(connection),
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
        let place = key.place as usize;
        let connection = self.connections[place].take();
        self.free.push(key.place);
        subtract(&self.parts.shared.counters.connections, 1);
        if connection.is_some_and(|connection| connection.listens) {
            self.audience.retain(|other| *other != key.place);
            self.parts.shared.audience.store(self.audience.len(), Relaxed);
        }
        self.resume_accepting();
    }

    fn follow(&mut self, order: Order) {
        match order {
            Order::Listen(listener) => {
                // There is nobody to tell; the listener is closed, so that clients see it.
                let _ = self.listen(listener);
            }
            Order::Attach(socket) => {
                let _ = self.attach(socket);
            }
            Order::Stop => self.stopped = true,
        }
    }
}

/// A monitor that is dropped without [`shutdown`](Monitor::shutdown), also by a panic, says no more and closes everything.
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
