//! The poller on epoll, eventfd and timerfd.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use rustix::{
    event::{
        EventfdFlags, Timespec,
        epoll::{self, CreateFlags, EventData, EventFlags},
        eventfd,
    },
    io::Errno,
    time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime},
};

use super::{Interest, READY_MAX, Ready};

const WAKE: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;

/// Waits for many sockets, and for other threads. Its descriptor is readable while there is something to report.
#[derive(Debug)]
pub struct Poller {
    epoll: Arc<OwnedFd>,
    wake: Arc<OwnedFd>,
    timer: OwnedFd,
}

/// Ends a wait of a [`Poller`] from any thread.
#[derive(Clone, Debug)]
pub struct Waker {
    wake: Arc<OwnedFd>,
}

/// A socket watched by a [`Poller`], until it is dropped and closed.
#[derive(Debug)]
pub struct PollRegistration {
    socket: OwnedFd,
    token: usize,
    epoll: Arc<OwnedFd>,
    pub(super) interest: Interest,
}

impl Poller {
    /// Creates a poller that watches no socket.
    ///
    /// # Errors
    ///
    /// A system error.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
        Ok(Self { epoll: epoll.into(), wake: wake.into(), timer })
    }

    /// Returns a handle that ends a wait.
    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker { wake: Arc::clone(&self.wake) }
    }

    /// Watches a socket. `token` identifies it in [`Ready`]; the two highest numbers are reserved.
    ///
    /// # Errors
    ///
    /// A system error.
    pub fn watch(&self, socket: OwnedFd, token: usize, interest: Interest) -> io::Result<PollRegistration> {
        epoll::add(&self.epoll, &socket, EventData::new_u64(token as u64), flags(interest))?;
        Ok(PollRegistration { socket, token, epoll: Arc::clone(&self.epoll), interest })
    }

    /// Waits for the first ready socket, a call of [`Waker::wake`], the timer, or the end of `timeout`; appends the
    /// ready sockets. A signal ends the wait, too. Returns whether the timer expired.
    ///
    /// # Errors
    ///
    /// A system error.
    pub fn wait(&mut self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> io::Result<bool> {
        let timeout = timeout.map(timespec);
        let mut events = [const { MaybeUninit::uninit() }; READY_MAX];
        let events = match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let mut expired = false;
        for event in events {
            // Copied out of a packed structure.
            let (data, flags) = (event.data, event.flags);
            match data.u64() {
                // The values of both counters are irrelevant.
                WAKE => {
                    let _ = rustix::io::read(&self.wake, &mut [0_u8; 8]);
                }
                TIMER => {
                    let _ = rustix::io::read(&self.timer, &mut [0_u8; 8]);
                    expired = true;
                }
                #[expect(clippy::cast_possible_truncation, reason = "it was a usize")]
                token => ready.push(Ready {
                    token: token as usize,
                    read: flags.contains(EventFlags::IN),
                    write: flags.contains(EventFlags::OUT),
                    closed: flags.intersects(EventFlags::HUP | EventFlags::ERR),
                }),
            }
        }
        Ok(expired)
    }

    /// Makes the descriptor of the poller readable after this time, until the next wait.
    ///
    /// # Errors
    ///
    /// A system error.
    pub fn set_timer(&mut self, after: Duration) -> io::Result<()> {
        // A time of zero would disarm the timer.
        let it_value = timespec(after.max(Duration::from_nanos(1)));
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value })?;
        Ok(())
    }
}

fn timespec(span: Duration) -> Timespec {
    Timespec::try_from(span).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 })
}

fn flags(interest: Interest) -> EventFlags {
    let mut flags = EventFlags::empty();
    flags.set(EventFlags::IN, interest.read);
    flags.set(EventFlags::OUT, interest.write);
    flags
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl Waker {
    /// Ends the current wait of the poller, or its next one.
    pub fn wake(&self) {
        // Fails only when the counter is at its limit, and then the wait already ends.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

impl PollRegistration {
    pub(super) fn modify(&mut self, interest: Interest) -> io::Result<()> {
        let token = EventData::new_u64(self.token as u64);
        Ok(epoll::modify(&self.epoll, &self.socket, token, flags(interest))?)
    }

    /// Returns the socket, which is not watched any more.
    #[must_use]
    pub fn into_socket(self) -> OwnedFd {
        // It was added, so it can be removed.
        let _ = epoll::delete(&self.epoll, &self.socket);
        self.socket
    }
}

impl AsFd for PollRegistration {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
