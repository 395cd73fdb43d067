//! Accepting clients.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use qmp_wire::server::Profile;
use rustix::io::Errno;

use super::event_loop::EventLoop;
use crate::{caller::ListenerId, connection::Service, listener::Settings, socket};

/// Delay before the next accept after the system had no file descriptor or no memory for a client.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Maximum number of clients accepted before other sockets are served.
const ACCEPT_MAX: usize = 64;

impl EventLoop {
    pub(super) fn accept(&mut self, id: ListenerId) {
        for _ in 0..ACCEPT_MAX {
            let connected = self.connections.len() - self.free.len() - self.freed.len();
            if connected >= self.parts.connections_max {
                return self.listeners.pause(None);
            }
            let Some(slot) = self.listeners.slots.get_mut(&id) else { return };
            if slot.connections >= slot.connections_max {
                return slot.set_paused(true);
            }
            match socket::accept(&slot.socket) {
                Ok(socket) => {
                    slot.connections += 1;
                    let service = slot.service.clone();
                    self.parts.shared.arrivals.record(id);
                    match self.open(socket, Some(id), service) {
                        Ok(Some(key)) => self.serve(key),
                        Ok(None) => self.listeners.closed(Some(id)),
                        Err(_) => {
                            self.listeners.closed(Some(id));
                            return self.listeners.pause(Some(Instant::now() + RETRY_AFTER));
                        }
                    }
                }
                // A client that has already disconnected, and any error that a client can cause.
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => return self.listeners.pause(Some(Instant::now() + RETRY_AFTER)),
            }
        }
    }

    /// Returns the settings for the clients of a listener, or of an attached socket.
    pub(super) fn service(&self, settings: Settings) -> Service {
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
        self.listeners.resume();
    }

    pub(super) fn retry_accepting(&mut self) {
        if self.listeners.retry_at().is_some_and(|at| at <= Instant::now()) {
            self.listeners.resume();
        }
    }
}
