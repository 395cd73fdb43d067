//! Waits for many sockets at once, and for other threads.
//!
//! On Linux: epoll, an eventfd, and a timerfd, each operation one system call. On other systems, and on Linux with
//! the feature `portable`, the crate `polling`, which is kqueue on macOS and the BSDs. Both are level-triggered.

use std::os::fd::OwnedFd;

#[cfg(all(target_os = "linux", not(feature = "portable")))]
#[path = "poller/linux.rs"]
mod system;
#[cfg(any(not(target_os = "linux"), feature = "portable"))]
#[path = "poller/portable.rs"]
mod system;

pub use system::{PollRegistration, Poller, Waker};

/// Maximum number of sockets reported by one wait.
const READY_MAX: usize = 256;

/// The conditions of a socket to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Bytes or a client have arrived, or the peer sends no more.
    pub read: bool,
    /// Bytes can be written, or a connection attempt has ended.
    pub write: bool,
}

impl Interest {
    /// Waits for nothing.
    pub const NONE: Self = Self { read: false, write: false };
    /// Waits for bytes or clients.
    pub const READ: Self = Self { read: true, write: false };
    /// Waits for room to write.
    pub const WRITE: Self = Self { read: false, write: true };
}

/// A socket that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The token with which it is watched.
    pub token: usize,
    /// Whether reading returns at once.
    pub read: bool,
    /// Whether writing returns at once.
    pub write: bool,
    /// Whether the peer closed the connection, or it failed. May be set without any interest.
    pub closed: bool,
}

impl PollRegistration {
    /// Changes the conditions, by a system call only if they differ.
    ///
    /// # Errors
    ///
    /// A system error.
    pub fn set_interest(&mut self, interest: Interest) -> std::io::Result<()> {
        if self.interest == interest {
            return Ok(());
        }
        self.modify(interest)?;
        self.interest = interest;
        Ok(())
    }

    /// Returns the current conditions.
    #[must_use]
    pub fn interest(&self) -> Interest {
        self.interest
    }
}

impl From<PollRegistration> for OwnedFd {
    fn from(watched: PollRegistration) -> Self {
        watched.into_socket()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

    use super::*;

    fn wait(poller: &mut Poller) -> Vec<Ready> {
        let mut ready = Vec::new();
        poller.wait(&mut ready, Some(Duration::from_secs(60))).unwrap();
        ready
    }

    #[test]
    fn socket_is_reported_until_it_is_read() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let mut poller = Poller::new().unwrap();
        let watched = poller.watch(theirs.into(), 7, Interest::READ).unwrap();
        ours.write_all(b"x").unwrap();
        for _ in 0..2 {
            let ready = wait(&mut poller);
            assert_eq!(ready.iter().map(|ready| (ready.token, ready.read)).collect::<Vec<_>>(), [(7, true)]);
        }
        let mut stream = UnixStream::from(OwnedFd::from(watched));
        stream.read_exact(&mut [0]).unwrap();
        let mut ready = Vec::new();
        poller.wait(&mut ready, Some(Duration::ZERO)).unwrap();
        assert!(ready.is_empty(), "it is not watched any more: {ready:?}");
    }

    #[test]
    fn interest_selects_the_reported_conditions() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let mut poller = Poller::new().unwrap();
        let mut watched = poller.watch(theirs.into(), 1, Interest::NONE).unwrap();
        ours.write_all(b"x").unwrap();
        let mut ready = Vec::new();
        poller.wait(&mut ready, Some(Duration::ZERO)).unwrap();
        assert!(ready.is_empty(), "{ready:?}");
        watched.set_interest(Interest::WRITE).unwrap();
        assert!(wait(&mut poller)[0].write);
        watched.set_interest(Interest::READ).unwrap();
        assert!(wait(&mut poller)[0].read);
        drop(watched);
        assert!(ours.write_all(b"x").is_err(), "it is closed with its owner");
    }

    #[test]
    fn waker_ends_a_wait_and_makes_the_descriptor_readable() {
        let mut poller = Poller::new().unwrap();
        let waker = poller.waker();
        let thread = std::thread::spawn(move || waker.wake());
        // No timeout: only the waker ends the wait.
        poller.wait(&mut Vec::new(), None).unwrap();
        thread.join().unwrap();
        poller.waker().wake();
        let mut descriptors = [rustix::event::PollFd::new(&poller, rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut descriptors, None).unwrap(), 1);
        let before = Instant::now();
        poller.wait(&mut Vec::new(), Some(Duration::from_secs(600))).unwrap();
        assert!(before.elapsed() < Duration::from_secs(600));
        assert!(poller.as_fd().try_clone_to_owned().is_ok());
    }
}
