//! Taking clients in.

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::{
    event::epoll::{self, EventData, EventFlags},
    io::Errno,
    net::{SocketFlags, accept_with},
};

use super::{LISTENERS, Monitor};
use crate::listener::Listener;

/// How long to wait after the system had no file descriptor or no memory for a client.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Clients taken in before others have their turn.
const ACCEPT_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Listeners {
    listeners: Vec<Listener>,
    /// Whether clients are left in the backlog for the time being, and until when at the latest.
    paused: bool,
    retry_at: Option<Instant>,
}

impl Listeners {
    pub(super) fn add(&mut self, listener: Listener, epoll: &OwnedFd) -> io::Result<()> {
        let token = EventData::new_u64(LISTENERS + self.listeners.len() as u64);
        let flags = if self.paused { EventFlags::empty() } else { EventFlags::IN };
        epoll::add(epoll, &listener, token, flags)?;
        self.listeners.push(listener);
        Ok(())
    }

    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    fn pause(&mut self, epoll: &OwnedFd, retry_at: Option<Instant>) {
        self.watch(epoll, EventFlags::empty());
        self.paused = true;
        self.retry_at = retry_at;
    }

    fn resume(&mut self, epoll: &OwnedFd) {
        if self.paused {
            self.watch(epoll, EventFlags::IN);
            self.paused = false;
            self.retry_at = None;
        }
    }

    fn watch(&self, epoll: &OwnedFd, flags: EventFlags) {
        for (number, listener) in (0_u64..).zip(&self.listeners) {
            // It was added, so it can be changed.
            let _ = epoll::modify(epoll, listener, EventData::new_u64(LISTENERS + number), flags);
        }
    }
}

impl Monitor {
    pub(super) fn accept(&mut self, number: u64) {
        for _ in 0..ACCEPT_MAX {
            let connected = self.connections.len() - self.free.len();
            if connected >= self.parts.connections_max {
                return self.listeners.pause(&self.epoll, None);
            }
            let listener =
                usize::try_from(number).ok().and_then(|number| self.listeners.listeners.get(number));
            let Some(listener) = listener else { return };
            match accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) => match self.open(socket) {
                    Ok(key) => self.serve(key),
                    Err(_) => return self.listeners.pause(&self.epoll, Some(Instant::now() + RETRY_AFTER)),
                },
                // A client that is gone already, and anything that one client can cause.
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => return self.listeners.pause(&self.epoll, Some(Instant::now() + RETRY_AFTER)),
            }
        }
    }

    pub(super) fn resume_accepting(&mut self) {
        self.listeners.resume(&self.epoll);
    }

    pub(super) fn retry_accepting(&mut self) {
        if self.listeners.retry_at.is_some_and(|at| at <= Instant::now()) {
            self.listeners.resume(&self.epoll);
        }
    }
}
