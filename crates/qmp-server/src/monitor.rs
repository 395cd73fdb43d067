//! The monitor as the embedder drives it: in its own loop, or as the start of a thread.

mod parts;
mod token;
mod listeners;
mod dialers;
mod event_loop;
mod connections;
mod accept;
mod dial;
mod deliver;
mod serve;
mod suspend;

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use qmp_host::poller::Poller;

use self::event_loop::EventLoop;
pub(crate) use self::parts::{OnConnect, OnDisconnect, Parts};
use crate::{
    arrivals,
    caller::{ConnectionId, DialerId, ListenerId},
    command::Command,
    counters::Stats,
    dialer::Dialer,
    emitter::{Emitter, SharedState},
    handover::Handover,
    listener::Listener,
};

/// A monitor that the embedder runs in its own loop or on a thread.
///
/// Watch [`as_fd`](AsFd::as_fd) for reading and call [`process`](Self::process) whenever it is readable; deadlines
/// make it readable, too. Or use [`spawn`](Self::spawn), which does all that on a thread.
#[derive(Debug)]
pub struct Monitor {
    inner: EventLoop,
}

impl Monitor {
    pub(crate) fn new(poller: Poller, parts: Parts) -> Self {
        Self { inner: EventLoop::new(poller, parts) }
    }

    /// Serves clients that connect to `listener`.
    ///
    /// # Errors
    ///
    /// A system error if the socket cannot be watched; [`io::ErrorKind::NotConnected`] after
    /// [`shutdown`](Self::shutdown).
    pub fn listen(&mut self, listener: impl Into<Listener>) -> io::Result<ListenerId> {
        let id = self.inner.parts.shared.next_listener();
        self.inner.add_listener(id, listener.into())?;
        Ok(id)
    }

    /// Stops accepting clients at a listener, and returns it; its connections stay. Returns `None` if it was
    /// already removed.
    pub fn remove_listener(&mut self, id: ListenerId) -> Option<Listener> {
        self.inner.remove_listener(id)
    }

    /// Serves until a client has connected to a listener, as a QEMU with `wait=on` does at its start. Returns at
    /// once if one already has. A client that [`on_connect`](crate::MonitorBuilder::on_connect) refuses does not count.
    ///
    /// # Errors
    ///
    /// A system error, or [`io::ErrorKind::NotFound`] if the listener was removed.
    pub fn wait_for_client(&mut self, id: ListenerId) -> io::Result<()> {
        self.serve_until(id, None)
    }

    /// Serves until a client has connected to a listener, like [`wait_for_client`](Self::wait_for_client), for at
    /// most this time.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::TimedOut`] after that time, and the errors of [`wait_for_client`](Self::wait_for_client).
    pub fn wait_for_client_timeout(&mut self, id: ListenerId, timeout: Duration) -> io::Result<()> {
        self.serve_until(id, Instant::now().checked_add(timeout))
    }

    fn serve_until(&mut self, id: ListenerId, deadline: Option<Instant>) -> io::Result<()> {
        while !self.inner.parts.shared.arrivals.has_client(id)? {
            let left = deadline.map(|deadline| {
                deadline.checked_duration_since(Instant::now()).ok_or_else(arrivals::timed_out)
            });
            let timeout = self.next_timeout().into_iter().chain(left.transpose()?).min();
            self.inner.turn(timeout)?;
        }
        self.inner.arm()
    }

    /// Connects to a client that listens. With [`Dialer::reconnect`], the attempts are made in the loop, and a
    /// failed one is not an error.
    ///
    /// # Errors
    ///
    /// A system error; without [`Dialer::reconnect`], also the error of the attempt, for which this call waits;
    /// [`io::ErrorKind::NotConnected`] after [`shutdown`](Self::shutdown).
    pub fn dial(&mut self, dialer: Dialer) -> io::Result<DialerId> {
        let socket = dialer.connect_once()?;
        let id = self.inner.parts.shared.next_dialer();
        self.inner.add_dialer(id, dialer, socket)?;
        self.inner.rest();
        Ok(id)
    }

    /// Ends the attempts of a dialer; its connection stays. Returns `false` if it makes none.
    pub fn remove_dialer(&mut self, id: DialerId) -> bool {
        self.inner.dialers.remove(&id).is_some()
    }

    /// Serves a client that is already connected: a unix or TCP stream, or an inherited socket.
    ///
    /// # Errors
    ///
    /// A system error if the socket cannot be watched; [`io::ErrorKind::NotConnected`] after
    /// [`shutdown`](Self::shutdown).
    pub fn attach(&mut self, stream: impl Into<OwnedFd>) -> io::Result<()> {
        self.inner.attach(stream.into())?;
        self.inner.rest();
        Ok(())
    }

    /// Closes a connection without a message; returns `false` if it is already closed.
    pub fn disconnect(&mut self, connection: ConnectionId) -> bool {
        self.inner.disconnect(connection)
    }

    /// Adds a command, replacing one of the same name.
    pub fn add_command(&mut self, command: Command) {
        self.inner.parts.commands.insert(command);
    }

    /// Removes a command, also a built-in one; returns `false` if there is none of that name.
    pub fn remove_command(&mut self, name: &str) -> bool {
        self.inner.parts.commands.remove(name).is_some()
    }

    /// Returns a handle by which any thread emits events.
    #[must_use]
    pub fn emitter(&self) -> Emitter {
        Emitter::new(self.shared())
    }

    /// Returns the statistics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.emitter().stats()
    }

    /// Returns how long the embedder's loop may wait; `None` for no limit.
    ///
    /// A loop that watches [`as_fd`](AsFd::as_fd) needs this only if its timeouts come from its own
    /// [`TimeSource`](crate::TimeSource).
    #[must_use]
    pub fn next_timeout(&self) -> Option<Duration> {
        self.inner.next_timeout()
    }

    /// Does all pending work, without blocking.
    ///
    /// # Errors
    ///
    /// A system error if the ready sockets cannot be determined.
    pub fn process(&mut self) -> io::Result<()> {
        self.inner.turn(Some(Duration::ZERO))?;
        self.inner.arm()
    }

    /// Stops serving and returns the state that a successor needs: listeners, connections with the unread input,
    /// missing replies and unwritten output, held events, silent sources. Clients notice nothing.
    ///
    /// Commands that were handed over and have no reply, and those that wait for them, are refused: reply to them
    /// before. A connection is closed if more than 64 KiB of an incomplete message have arrived. Later events are
    /// discarded, so stop the devices first.
    #[must_use]
    pub fn hand_over(mut self) -> Handover {
        self.inner.hand_over()
    }

    /// Sends the remaining output and closes everything: held events are sent, and each client is written to once,
    /// without waiting for it. Later events are discarded.
    ///
    /// [`Stats::unwritten`] counts the messages that a client did not take.
    pub fn shutdown(&mut self) {
        self.inner.shutdown(Duration::ZERO);
    }

    /// Like [`shutdown`](Self::shutdown), and waits for at most this time until all clients have taken the remaining
    /// output.
    pub fn shutdown_within(&mut self, timeout: Duration) {
        self.inner.shutdown(timeout);
    }

    pub(crate) fn shared(&self) -> Arc<SharedState> {
        Arc::clone(&self.inner.parts.shared)
    }

    /// Continues where the predecessor stopped.
    pub(crate) fn resume(&mut self, handover: Handover) -> io::Result<()> {
        self.inner.resume(handover)
    }

    /// Serves until an order ends the loop; returns the state for a successor if one was ordered.
    pub(crate) fn run(mut self) -> io::Result<Option<Handover>> {
        self.inner.lingers = true;
        while !self.inner.stopped {
            let timeout = self.inner.next_timeout();
            self.inner.turn(timeout)?;
        }
        if self.inner.hands_over {
            return Ok(Some(self.inner.hand_over()));
        }
        self.inner.shutdown(self.inner.parts.stop_timeout);
        Ok(None)
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}
