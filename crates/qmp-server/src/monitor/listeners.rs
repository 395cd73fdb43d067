//! The listeners of a monitor.

use std::{collections::BTreeMap, io, os::fd::OwnedFd, time::Instant};

use rustix::event::epoll::{self, EventData, EventFlags};

use crate::{caller::ListenerId, connection::Service, listener::Listener};

/// Tokens from here on are listeners; tokens of connections are below.
pub(super) const LISTENERS: u64 = 1 << 63;

#[derive(Debug, Default)]
pub(super) struct Listeners {
    pub(super) slots: BTreeMap<ListenerId, Slot>,
    /// When to accept again after the system lacked resources.
    retry_at: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) listener: Listener,
    pub(super) service: Service,
    pub(super) connections: usize,
    pub(super) connections_max: usize,
    /// Number of clients accepted so far.
    pub(super) accepted: u64,
    /// Whether clients stay in the backlog for the moment.
    pub(super) paused: bool,
}

impl Slot {
    pub(super) fn watch(&mut self, id: ListenerId, epoll: &OwnedFd, paused: bool) {
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

    pub(super) fn pause(&mut self, epoll: &OwnedFd, retry_at: Option<Instant>) {
        for (id, slot) in &mut self.slots {
            slot.watch(*id, epoll, true);
        }
        self.retry_at = retry_at;
    }

    pub(super) fn resume(&mut self, epoll: &OwnedFd) {
        for (id, slot) in &mut self.slots {
            slot.watch(*id, epoll, slot.connections >= slot.connections_max);
        }
        self.retry_at = None;
    }
}
