//! Connecting to clients that listen.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Instant,
};

use qmp_host::poller::Interest;
use rustix::net::sockopt::socket_error;

use super::{
    dialers::{DialState, Slot},
    event_loop::EventLoop,
    token::Token,
};
use crate::{
    caller::{DialerId, Origin},
    counters::add,
    dialer::{Attempt, Dialer},
};

impl EventLoop {
    /// Serves the only connection of a dialer, or makes the first attempt of one that reconnects.
    pub(super) fn add_dialer(
        &mut self,
        id: DialerId,
        dialer: Dialer,
        socket: Option<OwnedFd>,
    ) -> io::Result<()> {
        self.check_open()?;
        let service = self.service_of(dialer.settings);
        if let Some(socket) = socket {
            if let Some(key) = self.open(socket, Origin::Dialer(id), service)? {
                self.serve(key);
            }
        } else {
            self.dialers
                .insert(id, Slot { dialer, service, state: DialState::Waiting(Some(Instant::now())) });
            self.attempt(id, 0);
        }
        Ok(())
    }

    /// Makes the attempts that are due.
    pub(super) fn dial_due(&mut self) {
        if self.dialers.is_empty() {
            return;
        }
        let now = Instant::now();
        let due = self.dialers.iter().filter(|(_, slot)| slot.due_at().is_some_and(|at| at <= now));
        for id in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.attempt(id, 0);
        }
    }

    /// Returns the time of the next attempt.
    pub(super) fn next_dial(&self) -> Option<Instant> {
        self.dialers.values().filter_map(Slot::due_at).min()
    }

    /// Continues an attempt whose outcome is known.
    pub(super) fn handle_dialed(&mut self, id: DialerId) {
        let Some(slot) = self.dialers.get_mut(&id) else { return };
        let state = std::mem::replace(&mut slot.state, DialState::Connected);
        let DialState::Connecting(socket, index) = state else {
            slot.state = state;
            return;
        };
        match socket_error(socket.as_fd()) {
            Ok(Ok(())) => self.serve_dialed(id, socket.into_socket()),
            Ok(Err(_)) | Err(_) => {
                drop(socket);
                self.attempt(id, index + 1);
            }
        }
    }

    /// Records the loss of a connection.
    pub(super) fn handle_dialed_lost(&mut self, id: DialerId) {
        if let Some(slot) = self.dialers.get_mut(&id) {
            slot.wait();
        }
    }

    /// Tries the addresses from number `first` on.
    fn attempt(&mut self, id: DialerId, first: usize) {
        let is_full = self.is_full();
        let Some(slot) = self.dialers.get_mut(&id) else { return };
        for index in first.. {
            let attempt = if is_full { None } else { slot.dialer.target.attempt(index) };
            match attempt {
                None => break,
                Some(Ok(Attempt::Connected(socket))) => return self.serve_dialed(id, socket),
                Some(Ok(Attempt::InProgress(socket))) => {
                    if let Ok(socket) = self.poller.watch(socket, Token::Dialer(id).into(), Interest::WRITE) {
                        slot.state = DialState::Connecting(socket, index);
                        return;
                    }
                }
                Some(Err(_)) => {}
            }
        }
        add(&self.parts.shared.counters.dials_failed, 1);
        slot.wait();
    }

    fn serve_dialed(&mut self, id: DialerId, socket: OwnedFd) {
        let Some(slot) = self.dialers.get_mut(&id) else { return };
        slot.state = DialState::Connected;
        let service = slot.service.clone();
        match self.open(socket, Origin::Dialer(id), service) {
            Ok(Some(key)) => self.serve(key),
            // The embedder refuses the client, or the system lacks resources.
            Ok(None) | Err(_) => self.handle_dialed_lost(id),
        }
    }
}
