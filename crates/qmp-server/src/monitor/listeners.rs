//! The listeners of a monitor.

use std::{collections::BTreeMap, io, time::Instant};

use qmp_host::poller::{Interest, PollRegistration, Poller};

use super::token::Token;
use crate::{
    caller::ListenerId,
    connection::Service,
    listener::{Listener, Settings, SocketFile},
};

#[derive(Debug, Default)]
pub(super) struct Listeners {
    pub(super) slots: BTreeMap<ListenerId, Slot>,
    /// When to accept again after the system lacked resources.
    retry_at: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) socket: PollRegistration,
    file: Option<SocketFile>,
    settings: Settings,
    pub(super) service: Service,
    pub(super) connections: usize,
    pub(super) connections_max: usize,
}

impl Slot {
    /// Pauses or resumes accepting.
    pub(super) fn set_paused(&mut self, paused: bool) {
        // It is watched, so its conditions can be changed.
        let _ = self.socket.set_interest(if paused { Interest::NONE } else { Interest::READ });
    }

    fn into_listener(self) -> Listener {
        Listener::new(self.socket.into_socket(), self.file, self.settings)
    }
}

impl Listeners {
    pub(super) fn add(
        &mut self,
        id: ListenerId,
        listener: Listener,
        service: Service,
        poller: &Poller,
    ) -> io::Result<()> {
        let (socket, file, settings) = listener.into_parts();
        let socket = poller.watch(socket, Token::Listener(id).into(), Interest::READ)?;
        let connections_max = settings.connections_max.unwrap_or(usize::MAX);
        let slot = Slot { socket, file, settings, service, connections: 0, connections_max };
        self.slots.insert(id, slot);
        Ok(())
    }

    pub(super) fn remove(&mut self, id: ListenerId) -> Option<Listener> {
        self.slots.remove(&id).map(Slot::into_listener)
    }

    /// Removes all listeners and returns them.
    pub(super) fn take(&mut self) -> Vec<(ListenerId, Listener)> {
        let slots = std::mem::take(&mut self.slots).into_iter();
        slots.map(|(id, slot)| (id, slot.into_listener())).collect()
    }

    /// Records a continued connection; returns `false` if its listener was removed.
    pub(super) fn opened(&mut self, id: ListenerId) -> bool {
        let slot = self.slots.get_mut(&id);
        slot.map(|slot| slot.connections += 1).is_some()
    }

    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Records a closed connection.
    pub(super) fn closed(&mut self, id: ListenerId) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.connections -= 1;
        }
    }

    /// Leaves clients in the backlog, until `retry_at` or until a connection is closed.
    pub(super) fn pause(&mut self, retry_at: Option<Instant>) {
        for slot in self.slots.values_mut() {
            slot.set_paused(true);
        }
        self.retry_at = retry_at;
    }

    pub(super) fn resume(&mut self) {
        for slot in self.slots.values_mut() {
            slot.set_paused(slot.connections >= slot.connections_max);
        }
        self.retry_at = None;
    }
}
