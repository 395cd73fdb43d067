//! The monitor itself: its sockets, its clients, its turn of the loop.
//!
//! One turn looks at the sockets that have something to say, then takes all that threads put into the queue and hands it
//! round, until the queue is empty. Nothing in it waits.

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
    connection::{Connection, ConnectionKey, Gone, Service},
    counters::{Stats, add, subtract},
    emitter::{Emitter, Shared},
    listener::{Listener, Settings},
    outgoing::{self, EVENTS_DROPPED},
    panics,
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
const TIMER: u64 = u64::MAX - 1;
/// Tokens from here on are listeners; those of connections are below.
const LISTENERS: u64 = 1 << 63;

/// A monitor, and what it takes to run it in the embedder's own loop.
///
/// Watch [`as_fd`](AsFd::as_fd) for reading and call [`process`](Self::process) whenever it is readable; deadlines make it
/// readable, too. Or let [`spawn`](Self::spawn) do all that on a thread.
#[derive(Debug)]
pub struct Monitor {
    parts: Parts,
    epoll: OwnedFd,
    timer: OwnedFd,
    /// What the timer is set to, in terms of both clocks that deadlines come from.
    armed: Option<(Option<Instant>, Option<Instant>)>,
    listeners: Listeners,
    connections: Vec<Option<Connection>>,
    free: Vec<u32>,
    numbers: u32,
    /// Connections that were ever opened, refused ones included.
    opened: u64,
    /// How many in the audience get messages spread over many lines.
    pretty_audience: usize,
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
    /// Whether it was stopped for a successor.
    pub(crate) hands_over: bool,
    /// Whether the loop has a thread of its own, which may be busy for a moment.
    pub(crate) lingers: bool,
}

/// What [`MonitorBuilder`] puts together.
pub(crate) struct Parts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) profile: Arc<Profile>,
    pub(crate) commands: Commands,
    pub(crate) ready: Box<dyn Fn() -> bool + Send>,
    pub(crate) loses_held: bool,
    pub(crate) slow_reader: SlowReader,
    pub(crate) output_max_bytes: usize,
    pub(crate) connections_max: usize,
    pub(crate) on_connect: Option<OnConnect>,
    pub(crate) on_disconnect: Option<OnDisconnect>,
}

/// Decides about a client that connects.
pub(crate) type OnConnect = Box<dyn FnMut(&Caller) -> bool + Send>;

/// Takes note of a connection that was closed.
pub(crate) type OnDisconnect = Box<dyn FnMut(&Caller) + Send>;

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
    /// That of the system if the socket cannot be watched.
    pub fn listen(&mut self, listener: impl Into<Listener>) -> io::Result<ListenerId> {
        let id = self.parts.shared.next_listener();
        self.add_listener(id, listener.into())?;
        Ok(id)
    }

    /// Accepts no more clients at a listener, and returns it; its connections stay. `None` if it is gone already.
    pub fn remove_listener(&mut self, id: ListenerId) -> Option<Listener> {
        self.listeners.remove(id, &self.epoll)
    }

    /// Serves until a client connected to a listener, as a QEMU does that starts with `wait=on`. Returns at once if one did
    /// already.
    ///
    /// # Errors
    ///
    /// That of the system, and [`io::ErrorKind::NotFound`] if the listener is gone.
    pub fn wait_for_client(&mut self, id: ListenerId) -> io::Result<()> {
        loop {
            match self.listeners.accepted(id) {
                None => return Err(io::Error::new(io::ErrorKind::NotFound, "the listener was removed")),
                Some(0) => self.turn(self.next_timeout())?,
                Some(_) => return self.arm(),
            }
        }
    }

    /// Serves a client that is connected already: a unix or TCP stream, or an inherited socket.
    ///
    /// # Errors
    ///
    /// That of the system if the socket cannot be watched.
    pub fn attach(&mut self, stream: impl Into<OwnedFd>) -> io::Result<()> {
        let service = self.service(Settings::default());
        if let Some(key) = self.open(stream.into(), None, service)? {
            self.serve(key);
        }
        self.rest();
        Ok(())
    }

    /// Closes a connection without a word; `false` if it is closed already.
    pub fn disconnect(&mut self, connection: ConnectionId) -> bool {
        let is_it = |open: &&Connection| open.caller.connection() == connection;
        let key = self.connections.iter().flatten().find(is_it).map(|open| open.key);
        key.map(|key| self.close(key)).is_some()
    }

    /// Adds a command, in place of one of the same name.
    pub fn add_command(&mut self, command: Command) {
        self.parts.commands.insert(command);
    }

    /// Removes a command, a built-in one too; `false` if there is none of that name.
    pub fn remove_command(&mut self, name: &str) -> bool {
        self.parts.commands.remove(name).is_some()
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
    ///
    /// A loop that watches [`as_fd`](AsFd::as_fd) needs this only if its timeouts come from a [`Clock`](crate::Clock) of its
    /// own.
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
        self.turn(Some(Duration::ZERO))?;
        self.arm()
    }

    /// Serves on a thread of its own named `qmp`, until [`MonitorThread::stop`].
    ///
    /// # Errors
    ///
    /// That of the system if it does not make a thread.
    pub fn spawn(self) -> io::Result<MonitorThread> {
        self.spawn_with("qmp", || Ok(()))
    }

    /// Serves on a thread of this name, which calls `first` before anything else: the place to install a seccomp filter.
    ///
    /// If `first` fails, the thread ends with its error: see [`MonitorThread::is_finished`].
    ///
    /// # Errors
    ///
    /// That of the system if it does not make a thread.
    pub fn spawn_with(
        self,
        name: &str,
        first: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<MonitorThread> {
        let shared = Arc::clone(&self.parts.shared);
        MonitorThread::start(self, shared, name, first)
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
        let shared = Arc::clone(&self.parts.shared);
        let orders = {
            let mut queue = lock(&shared.queue);
            queue.closed = true;
            std::mem::take(&mut queue.batch.orders)
        };
        // Sockets among them are closed, so that their clients see it.
        drop(orders);
        for place in 0..self.connections.len() {
            if let Some(connection) = self.connections[place].take() {
                self.forget(connection);
            }
        }
        self.audience.clear();
        self.pretty_audience = 0;
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
                TIMER => {
                    // What is due is found without it.
                    let _ = rustix::io::read(&self.timer, &mut [0_u8; 8]);
                    self.armed = None;
                }
                token if token >= LISTENERS => self.accept(ListenerId(token - LISTENERS)),
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

    /// Ends what was done outside of a turn: threads that put something into the queue after this wake the loop.
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
        // A timer that is set to nothing is off.
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

    /// Takes a connection into the loop.
    fn insert(
        &mut self,
        socket: OwnedFd,
        service: Service,
        caller: Caller,
        server: Server,
    ) -> io::Result<ConnectionKey> {
        let place = match self.free.last() {
            Some(place) => *place,
            None => u32::try_from(self.connections.len()).unwrap_or(u32::MAX),
        };
        // The highest numbers are tokens of something else.
        self.numbers = (self.numbers + 1) % (u32::MAX / 2);
        let key = ConnectionKey { place, number: self.numbers };
        let connection = Connection::new(socket, key, service, caller, server, &self.epoll)?;
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
        let Some(connection) = self.connections[place].take() else { return };
        self.free.push(key.place);
        if connection.listens {
            self.audience.retain(|other| *other != key.place);
            self.pretty_audience -= usize::from(connection.service.profile.pretty);
            self.parts.shared.audience.store(self.audience.len(), Relaxed);
        }
        self.listeners.closed(connection.caller.listener());
        self.forget(connection);
        self.resume_accepting();
    }

    /// Counts a connection that was closed, and tells the embedder.
    fn forget(&mut self, connection: Connection) {
        let counters = &self.parts.shared.counters;
        subtract(&counters.connections, 1);
        let caller = connection.caller.clone();
        drop(connection);
        if let Some(notice) = &mut self.parts.on_disconnect {
            // A panic is counted, and changes nothing.
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

    fn follow(&mut self, order: Order) {
        match order {
            Order::Listen(id, listener) => {
                // If that fails, the listener is closed, so that clients see it.
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
