//! Opening and closing connections.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use qmp_host::poller::Interest;
use qmp_wire::server::Server;

use super::{event_loop::EventLoop, token::Token};
use crate::{
    caller::{Caller, ConnectionId, Origin},
    connection::{Connection, ConnectionKey, Service},
    counters::{add, subtract},
    listener::Settings,
    panics,
};

impl EventLoop {
    pub(super) fn attach(&mut self, socket: OwnedFd) -> io::Result<()> {
        self.check_open()?;
        let service = self.service(Settings::default());
        if let Some(key) = self.open(socket, Origin::Attached, service)? {
            self.serve(key);
        }
        Ok(())
    }

    pub(super) fn disconnect(&mut self, connection: ConnectionId) -> bool {
        let is_it = |open: &&Connection| open.caller.connection() == connection;
        let key = self.connections.iter().flatten().find(is_it).map(|open| open.key);
        key.map(|key| self.close(key)).is_some()
    }

    pub(super) fn connection(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        let slot = usize::try_from(key.slot).ok()?;
        self.connections.get_mut(slot)?.as_mut().filter(|connection| connection.key == key)
    }

    /// Greets a client, unless the embedder refuses it.
    pub(super) fn open(
        &mut self,
        socket: OwnedFd,
        origin: Origin,
        service: Service,
    ) -> io::Result<Option<ConnectionKey>> {
        let caller = self.next_caller(&socket, origin);
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

    pub(super) fn next_caller(&mut self, socket: &OwnedFd, origin: Origin) -> Caller {
        self.opened += 1;
        Caller::new(socket, origin, ConnectionId(self.opened))
    }

    /// Adds a connection to the loop.
    pub(super) fn insert(
        &mut self,
        socket: OwnedFd,
        service: Service,
        caller: Caller,
        server: Server,
    ) -> io::Result<ConnectionKey> {
        let slot = match self.free.last() {
            Some(slot) => *slot,
            None => u32::try_from(self.connections.len()).unwrap_or(u32::MAX),
        };
        self.numbers = self.numbers.wrapping_add(1);
        let key = ConnectionKey { slot, number: self.numbers };
        let socket = self.poller.watch(socket, Token::Connection(slot).into(), Interest::READ)?;
        let connection = Connection::new(socket, key, service, caller, server);
        match self.free.pop() {
            Some(slot) => self.connections[slot as usize] = Some(connection),
            None => self.connections.push(Some(connection)),
        }
        add(&self.parts.shared.counters.connected, 1);
        add(&self.parts.shared.counters.connections, 1);
        Ok(key)
    }

    pub(super) fn close(&mut self, key: ConnectionKey) {
        if self.connection(key).is_none() {
            return;
        }
        let slot = key.slot as usize;
        let Some(connection) = self.connections[slot].take() else { return };
        self.freed.push(key.slot);
        if connection.listens {
            self.audience.retain(|other| *other != key.slot);
            self.pretty_audience -= usize::from(connection.service.profile.pretty);
            self.parts.shared.audience.store(self.audience.len(), Relaxed);
        }
        if let Some(id) = connection.caller.listener() {
            self.listeners.closed(id);
        }
        if let Some(id) = connection.caller.dialer() {
            self.handle_dialed_lost(id);
        }
        self.forget(connection);
        self.resume_accepting();
    }

    /// Counts a closed connection, and notifies the embedder.
    pub(super) fn forget(&mut self, connection: Connection) {
        let counters = &self.parts.shared.counters;
        subtract(&counters.connections, 1);
        let caller = connection.caller.clone();
        drop(connection);
        if let Some(notice) = &mut self.parts.on_disconnect {
            // A panic is counted, and has no other effect.
            let _ = panics::catch(counters, || notice(&caller));
        }
    }
}
