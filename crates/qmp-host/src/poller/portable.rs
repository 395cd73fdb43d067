//! The poller on the crate `polling`.

use std::{
    fmt, io,
    num::NonZeroUsize,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use polling::{Event, Events, PollMode};

use super::{Interest, READY_MAX, Ready};

/// Waits for many sockets, and for other threads. Its descriptor is readable while there is something to report.
pub struct Poller {
    poller: Arc<polling::Poller>,
    events: Events,
}

/// Ends a wait of a [`Poller`] from any thread.
#[derive(Clone, Debug)]
pub struct Waker {
    poller: Arc<polling::Poller>,
}

/// A socket watched by a [`Poller`], until it is dropped and closed.
#[derive(Debug)]
pub struct PollRegistration {
    /// Present until it is taken.
    socket: Option<OwnedFd>,
    token: usize,
    poller: Arc<polling::Poller>,
    pub(super) interest: Interest,
}

impl Poller {
    /// Creates a poller that watches no socket.
    ///
    /// # Errors
    ///
    /// A system error.
    pub fn new() -> io::Result<Self> {
        let capacity = NonZeroUsize::new(READY_MAX).expect("a positive constant");
        Ok(Self { poller: polling::Poller::new()?.into(), events: Events::with_capacity(capacity) })
    }

    /// Returns a handle that ends a wait.
    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker { poller: Arc::clone(&self.poller) }
    }

    /// Watches a socket. `token` identifies it in [`Ready`]; the two highest numbers are reserved.
    ///
    /// # Errors
    ///
    /// A system error.
    pub fn watch(&self, socket: OwnedFd, token: usize, interest: Interest) -> io::Result<PollRegistration> {
        // SAFETY: the socket has to be deleted from the poller before it is closed. The returned value owns it and
        // the poller; it deletes the socket when it is dropped and before it returns the socket.
        unsafe { self.poller.add_with_mode(socket.as_raw_fd(), event(token, interest), PollMode::Level) }?;
        Ok(PollRegistration { socket: Some(socket), token, poller: Arc::clone(&self.poller), interest })
    }

    /// Waits for the first ready socket, a call of [`Waker::wake`], or the end of `timeout`; appends the ready
    /// sockets. Returns whether the timer expired: `false`.
    ///
    /// # Errors
    ///
    /// A system error.
    pub fn wait(&mut self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> io::Result<bool> {
        self.events.clear();
        self.poller.wait(&mut self.events, timeout)?;
        ready.extend(self.events.iter().map(|event| Ready {
            token: event.key,
            read: event.readable,
            write: event.writable,
            closed: event.is_interrupt() || event.is_err().unwrap_or(false),
        }));
        Ok(false)
    }

    /// Does nothing: this form has no timer.
    ///
    /// # Errors
    ///
    /// None; the form of Linux has some.
    pub fn set_timer(&mut self, _after: Duration) -> io::Result<()> {
        Ok(())
    }
}

fn event(token: usize, interest: Interest) -> Event {
    Event::new(token, interest.read, interest.write)
}

impl fmt::Debug for Poller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Poller").field("poller", &self.poller).finish_non_exhaustive()
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}

impl Waker {
    /// Ends the current wait of the poller, or its next one.
    pub fn wake(&self) {
        // Fails only where the poller itself fails, which its next wait reports.
        let _ = self.poller.notify();
    }
}

impl PollRegistration {
    pub(super) fn modify(&mut self, interest: Interest) -> io::Result<()> {
        self.poller.modify_with_mode(self.as_fd(), event(self.token, interest), PollMode::Level)
    }

    /// Returns the socket, which is not watched any more.
    #[must_use]
    pub fn into_socket(mut self) -> OwnedFd {
        self.delete();
        self.socket.take().expect("it is taken only here, with the value that has it")
    }

    fn delete(&self) {
        if let Some(socket) = &self.socket {
            // It was added, so it can be removed.
            let _ = self.poller.delete(socket);
        }
    }
}

impl Drop for PollRegistration {
    fn drop(&mut self) {
        self.delete();
    }
}

impl AsFd for PollRegistration {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_ref().expect("it is taken only with the value that has it").as_fd()
    }
}
