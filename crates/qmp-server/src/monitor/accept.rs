//! Accepting clients.

use std::{
    collections::BTreeMap,
    io,
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use qmp_wire::server::Profile;
use rustix::{
    event::epoll::{self, EventData, EventFlags},
    io::Errno,
    net::{SocketFlags, accept_with},
};

use super::{LISTENERS, Monitor, Service};
use crate::{caller::ListenerId, listener::Listener};

/// Delay before the next accept after the system had no file descriptor or no memory for a client.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Maximum number of clients accepted before other sockets are served.
const ACCEPT_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Listeners {
    slots: BTreeMap<ListenerId, Slot>,
    /// When to accept again after the system lacked resources.
    retry_at: Option<Instant>,
}

#[derive(Debug)]
struct Slot {
    listener: Listener,
    service: Service,
    connections: usize,
    connections_max: usize,
    /// Number of clients accepted so far.
    accepted: u64,
    /// Whether clients stay in the backlog for the moment.
    paused: bool,
}

impl Slot {
    fn watch(&mut self, id: ListenerId, epoll: &OwnedFd, paused: bool) {
        if self.paused != paused {
            let flags = if paused { EventFlags::empty() } else { EventFlags::IN };
            // It was added, so it can be changed.
            let _ = epoll::modify(epoll, &self.listener, token(id), flags);
            self.paused = paused;
        }
    }
}

fn token(id: ListenerId) -> EventData {
    EventData::new_u64(LISTENERS + id.0)
}

impl Listeners {
    pub(super) fn add(
        &mut self,
        id: ListenerId,
        listener: Listener,
        service: Service,
        epoll: &OwnedFd,
    ) -> io::Result<()> {
        epoll::add(epoll, &listener, token(id), EventFlags::IN)?;
        let connections_max = listener.settings.connections_max.unwrap_or(usize::MAX);
        let slot = Slot { listener, service, connections: 0, connections_max, accepted: 0, paused: false };
        self.slots.insert(id, slot);
        Ok(())
    }

    pub(super) fn remove(&mut self, id: ListenerId, epoll: &OwnedFd) -> Option<Listener> {
        let slot = self.slots.remove(&id)?;
        // It was added, so it can be removed.
        let _ = epoll::delete(epoll, &slot.listener);
        Some(slot.listener)
    }

    /// Removes all listeners and returns them.
    pub(super) fn take(&mut self, epoll: &OwnedFd) -> Vec<(ListenerId, Listener)> {
        let slots = std::mem::take(&mut self.slots).into_iter();
        let removed = slots.map(|(id, slot)| {
            // It was added, so it can be removed.
            let _ = epoll::delete(epoll, &slot.listener);
            (id, slot.listener)
        });
        removed.collect()
    }

    /// Records a continued connection; returns `false` if its listener was removed.
    pub(super) fn opened(&mut self, id: ListenerId) -> bool {
        let slot = self.slots.get_mut(&id);
        slot.map(|slot| {
            slot.connections += 1;
            slot.accepted += 1;
        })
        .is_some()
    }

    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Returns the number of clients that a listener accepted; `None` if there is no such listener.
    pub(super) fn accepted(&self, id: ListenerId) -> Option<u64> {
        self.slots.get(&id).map(|slot| slot.accepted)
    }

    /// Records a closed connection.
    pub(super) fn closed(&mut self, id: Option<ListenerId>) {
        if let Some(slot) = id.and_then(|id| self.slots.get_mut(&id)) {
            slot.connections -= 1;
        }
    }

    fn pause(&mut self, epoll: &OwnedFd, retry_at: Option<Instant>) {
        for (id, slot) in &mut self.slots {
            slot.watch(*id, epoll, true);
        }
        self.retry_at = retry_at;
    }

    fn resume(&mut self, epoll: &OwnedFd) {
        for (id, slot) in &mut self.slots {
            slot.watch(*id, epoll, slot.connections >= slot.connections_max);
        }
        self.retry_at = None;
    }
}

impl Monitor {
    pub(super) fn accept(&mut self, id: ListenerId) {
        for _ in 0..ACCEPT_MAX {
            let connected = self.connections.len() - self.free.len();
            if connected >= self.parts.connections_max {
                return self.listeners.pause(&self.epoll, None);
            }
            let Some(slot) = self.listeners.slots.get_mut(&id) else { return };
            if slot.connections >= slot.connections_max {
                return slot.watch(id, &self.epoll, true);
            }
            match accept_with(&slot.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) => {
                    slot.accepted += 1;
                    slot.connections += 1;
                    let service = slot.service.clone();
                    match self.open(socket, Some(id), service) {
                        Ok(Some(key)) => self.serve(key),
                        Ok(None) => self.listeners.closed(Some(id)),
                        Err(_) => {
                            self.listeners.closed(Some(id));
                            return self.listeners.pause(&self.epoll, Some(Instant::now() + RETRY_AFTER));
                        }
                    }
                }
                // A client that has already disconnected, and any error that a client can cause.
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => return self.listeners.pause(&self.epoll, Some(Instant::now() + RETRY_AFTER)),
            }
        }
    }

    /// Returns the settings for the clients of a listener, or of an attached socket.
    pub(super) fn service(&self, settings: crate::listener::Settings) -> Service {
        let ours = &self.parts.profile;
        let pretty = settings.pretty.unwrap_or(ours.pretty);
        let out_of_band = settings.out_of_band.unwrap_or(ours.out_of_band);
        let profile = if (pretty, out_of_band) == (ours.pretty, ours.out_of_band) {
            Arc::clone(ours)
        } else {
            Arc::new(Profile { pretty, out_of_band, ..Profile::clone(ours) })
        };
        Service { profile, slow_reader: settings.slow_reader.unwrap_or(self.parts.slow_reader) }
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
