//! Accepting clients.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use qmp_host::poller::Ready;
use qmp_wire::server::Profile;
use rustix::io::Errno;

use super::event_loop::EventLoop;
use crate::{
    caller::{ListenerId, Origin},
    connection::Service,
    counters::add,
    listener::Settings,
    outgoing::{self, EVENTS_DROPPED},
    slow_reader::SlowReader,
    socket,
};

/// Delay before the next accept after the system had no file descriptor or no memory for a client.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Maximum number of clients accepted before other sockets are served.
const ACCEPT_MAX: usize = 64;

impl EventLoop {
    /// Accepts the clients of a ready listener. Removes the listener if it was shut down, which the poller would report
    /// for ever.
    pub(super) fn handle_listener(&mut self, id: ListenerId, report: Ready) {
        self.accept(id);
        if report.closed {
            self.remove_failed(id);
        }
    }

    fn remove_failed(&mut self, id: ListenerId) {
        if self.remove_listener(id).is_some() {
            add(&self.parts.shared.counters.listeners_failed, 1);
        }
    }

    fn accept(&mut self, id: ListenerId) {
        for _ in 0..ACCEPT_MAX {
            if self.is_full() {
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
                    match self.open(socket, Origin::Listener(id), service) {
                        Ok(Some(key)) => {
                            self.parts.shared.arrivals.record(id);
                            self.serve(key);
                        }
                        Ok(None) => self.listeners.closed(id),
                        Err(_) => {
                            self.listeners.closed(id);
                            return self.listeners.pause(Some(Instant::now() + RETRY_AFTER));
                        }
                    }
                }
                // A client that has already disconnected, and any error that a client can cause.
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // The socket was shut down, or has never listened.
                Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOTSOCK) => return self.remove_failed(id),
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

    /// Returns the settings for the clients of a listener or a dialer, whose lost events are in the schema.
    pub(super) fn service_of(&mut self, settings: Settings) -> Service {
        if settings.slow_reader == Some(SlowReader::DropOldest) {
            self.parts.commands.insert_event(EVENTS_DROPPED, outgoing::dropped_data());
        }
        self.service(settings)
    }

    /// Returns whether the monitor has as many connections as it may have.
    pub(super) fn is_full(&self) -> bool {
        self.connections.len() - self.free.len() - self.freed.len() >= self.parts.connections_max
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
