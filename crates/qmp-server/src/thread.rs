//! A monitor on its own thread.

use std::{
    io,
    os::fd::OwnedFd,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    caller::{ConnectionId, DialerId, ListenerId},
    command::Command,
    counters::Stats,
    dialer::Dialer,
    emitter::{Emitter, SharedState},
    handover::Handover,
    listener::Listener,
    monitor::Monitor,
    panics,
    queue::Order,
};

impl Monitor {
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
    /// A system error if the thread cannot be created; [`io::ErrorKind::InvalidInput`] if the name contains a NUL.
    pub fn spawn_with(
        self,
        name: &str,
        first: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<MonitorThread> {
        MonitorThread::start(self, name, first)
    }
}

/// A monitor that runs on its own thread. Dropping it stops the monitor, as [`stop`](Self::stop) does.
///
/// Code that the monitor calls on that thread, such as a command, may own it, too: `quit` is a command that calls
/// [`stop`](Self::stop) or drops it.
#[derive(Debug)]
pub struct MonitorThread {
    shared: Arc<SharedState>,
    thread: Option<JoinHandle<io::Result<Option<Handover>>>>,
}

impl MonitorThread {
    pub(crate) fn start(
        monitor: Monitor,
        name: &str,
        first: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        if name.contains('\0') {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name of the thread contains a NUL"));
        }
        let shared = monitor.shared();
        let thread = thread::Builder::new().name(name.into()).spawn(move || {
            first()?;
            monitor.run()
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Returns a handle by which any thread emits events.
    #[must_use]
    pub fn emitter(&self) -> Emitter {
        Emitter::new(Arc::clone(&self.shared))
    }

    /// Serves clients that connect to `listener`, too.
    ///
    /// If the system cannot watch the socket, it is closed.
    pub fn listen(&self, listener: impl Into<Listener>) -> ListenerId {
        let id = self.shared.next_listener();
        if !self.shared.order(Order::Listen(id, listener.into())) {
            self.shared.arrivals.remove(id);
        }
        id
    }

    /// Waits until a client has connected to a listener, as a QEMU with `wait=on` does at its start. Returns at
    /// once if one already has. A client that [`on_connect`](crate::MonitorBuilder::on_connect) refuses does not count.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if the listener was removed, or the thread has ended;
    /// [`io::ErrorKind::Deadlock`] on the monitor's own thread, as in a command, unless a client has connected.
    pub fn wait_for_client(&self, id: ListenerId) -> io::Result<()> {
        self.wait(id, None)
    }

    /// Waits until a client has connected to a listener, for at most this time.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::TimedOut`] after that time, and the errors of [`wait_for_client`](Self::wait_for_client).
    pub fn wait_for_client_timeout(&self, id: ListenerId, timeout: Duration) -> io::Result<()> {
        self.wait(id, Some(timeout))
    }

    fn wait(&self, id: ListenerId, timeout: Option<Duration>) -> io::Result<()> {
        // This thread would wait for its own loop, which accepts clients.
        if self.is_current() && !self.shared.arrivals.has_client(id)? {
            return Err(io::Error::new(
                io::ErrorKind::Deadlock,
                "the monitor's own thread cannot wait for a client",
            ));
        }
        self.shared.arrivals.wait(id, timeout)
    }

    /// Connects to a client that listens: see [`Monitor::dial`].
    ///
    /// # Errors
    ///
    /// Without [`Dialer::reconnect`], the error of the attempt, for which this call waits.
    pub fn dial(&self, dialer: Dialer) -> io::Result<DialerId> {
        let socket = dialer.connect_once()?;
        let id = self.shared.next_dialer();
        self.shared.order(Order::Dial(id, dialer, socket));
        Ok(id)
    }

    /// Ends the attempts of a dialer; its connection stays.
    pub fn remove_dialer(&self, id: DialerId) {
        self.shared.order(Order::RemoveDialer(id));
    }

    /// Stops accepting clients at a listener and closes it; its connections stay.
    pub fn remove_listener(&self, id: ListenerId) {
        self.shared.order(Order::RemoveListener(id));
    }

    /// Serves a client that is already connected.
    pub fn attach(&self, stream: impl Into<OwnedFd>) {
        self.shared.order(Order::Attach(stream.into()));
    }

    /// Closes a connection without a message.
    pub fn disconnect(&self, connection: ConnectionId) {
        self.shared.order(Order::Disconnect(connection));
    }

    /// Adds a command, replacing one of the same name.
    pub fn add_command(&self, command: Command) {
        self.shared.order(Order::AddCommand(Box::new(command)));
    }

    /// Removes a command, also a built-in one.
    pub fn remove_command(&self, name: &str) {
        self.shared.order(Order::RemoveCommand(name.into()));
    }

    /// Returns the statistics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.emitter().stats()
    }

    /// Returns whether the thread ended: by an order, by a system error, or by a panic. [`stop`](Self::stop)
    /// returns the reason.
    ///
    /// Its connections and listeners are closed then, and `emit` returns
    /// [`EmitOutcome::Closed`](crate::EmitOutcome::Closed).
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Sends the remaining output, closes everything and ends the thread.
    ///
    /// Waits until all clients have taken their output, for at most
    /// [`MonitorBuilder::stop_timeout`](crate::MonitorBuilder::stop_timeout);
    /// [`Stats::unwritten`](crate::Stats::unwritten) counts the rest. [`Emitter::stats`] returns it after the end.
    ///
    /// On the monitor's own thread, as in a command, this orders the end and returns at once: the monitor ends after
    /// the reply to the command was written.
    ///
    /// # Errors
    ///
    /// The error that ended the thread earlier, a panic included.
    pub fn stop(mut self) -> io::Result<()> {
        self.end(Order::Stop).map(drop)
    }

    /// Ends the thread without closing anything, for a successor: see [`Monitor::hand_over`].
    ///
    /// # Errors
    ///
    /// The error that ended the thread earlier, a panic included. [`io::ErrorKind::Deadlock`] on the monitor's own
    /// thread, as in a command: the monitor then ends as by [`stop`](Self::stop).
    pub fn hand_over(mut self) -> io::Result<Handover> {
        if self.is_current() {
            let text = "the monitor's own thread cannot wait for its end";
            return Err(io::Error::new(io::ErrorKind::Deadlock, text));
        }
        let handover = self.end(Order::HandOver)?;
        handover.ok_or_else(|| io::Error::other("the monitor's thread was stopped before"))
    }

    /// Returns whether the caller runs on the monitor's thread.
    fn is_current(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| thread.thread().id() == thread::current().id())
    }

    fn end(&mut self, order: Order) -> io::Result<Option<Handover>> {
        self.shared.order(order);
        let is_current = self.is_current();
        let thread = self.thread.take();
        if is_current {
            return Ok(None);
        }
        match thread.map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(payload)) => {
                let error = format!("the monitor's thread panicked: {}", panics::text(&*payload));
                panics::discard(payload);
                Err(io::Error::other(error))
            }
            None => Ok(None),
        }
    }
}

impl Drop for MonitorThread {
    fn drop(&mut self) {
        // The result is reported by `stop`.
        let _ = self.end(Order::Stop);
    }
}
