//! Hands a monitor over to a successor, and continues one.

use std::{
    collections::BTreeSet,
    io,
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use qmp_events::limiter::OpenWindow;
use qmp_host::lock;
use qmp_wire::server::{Refusal, Server, ServerState};

use super::{
    dialers::{DialState, Slot},
    event_loop::EventLoop,
};
use crate::{
    caller::{DialerId, ListenerId, Origin},
    connection::{Connection, Service},
    counters::subtract,
    dialer::{Dialer, Target},
    handover::{
        self, ConnectionState, DialerState, Form, Handover, ListenerState, SilentSource, State, WindowState,
        from_hex, microseconds, to_hex,
    },
    listener::{Listener, Settings, SocketFile},
    slow_reader::SlowReader,
};

impl EventLoop {
    /// Stops serving and returns the state for a successor.
    pub(super) fn hand_over(&mut self) -> Handover {
        self.deliver_queue();
        let mut state = State::new();
        self.suspend_events(&mut state);
        let mut descriptors = Vec::new();
        for (id, listener) in self.listeners.take() {
            let (socket, file, settings) = listener.into_parts();
            let Settings { connections_max, pretty, out_of_band, slow_reader } = settings;
            let drops_oldest = slow_reader.map(|policy| policy == SlowReader::DropOldest);
            let path = file.map(SocketFile::keep);
            state.listeners.push(ListenerState {
                id: id.0,
                path,
                connections_max: connections_max.map(|connections| connections as u64),
                form: Form { pretty, out_of_band, drops_oldest },
            });
            descriptors.push(socket);
        }
        self.suspend_dialers(&mut state);
        for mut connection in std::mem::take(&mut self.connections).into_iter().flatten() {
            refuse_pending(&mut connection);
            match suspend(&connection) {
                Some(suspended) => {
                    state.connections.push(suspended);
                    descriptors.push(connection.into_socket());
                    subtract(&self.parts.shared.counters.connections, 1);
                }
                None => self.forget(connection),
            }
        }
        Handover { state, descriptors }
    }

    /// Closes the queue, and saves the state of rate limits and silent sources.
    fn suspend_events(&mut self, state: &mut State) {
        let shared = Arc::clone(&self.parts.shared);
        let now = shared.clock.monotonic();
        let mut queue = lock(&shared.queue);
        queue.closed = true;
        for OpenWindow { kind, key, closes_at, interval, held } in queue.limiter.take_windows() {
            state.windows.push(WindowState {
                event: kind.name().into(),
                key: key.to_string(),
                remaining_us: microseconds(closes_at.saturating_duration_since(now)),
                interval_us: microseconds(interval),
                held: held.and_then(|line| String::from_utf8(line).ok()),
            });
        }
        for (kind, key, also) in std::mem::take(&mut queue.silent) {
            state.silent.push(SilentSource { event: kind.name().into(), key: key.into(), also: also.into() });
        }
    }

    /// Continues where the predecessor stopped.
    pub(super) fn resume(&mut self, handover: Handover) -> io::Result<()> {
        let Handover { state, descriptors } = handover;
        self.resume_events(&state);
        let mut descriptors = descriptors.into_iter();
        for (listener, socket) in state.listeners.into_iter().zip(descriptors.by_ref()) {
            let connections_max =
                listener.connections_max.and_then(|connections| connections.try_into().ok());
            let settings = Settings { connections_max, ..listener.form.settings() };
            let file = listener.path.and_then(|path| SocketFile::at(&path));
            self.parts.shared.reserve(listener.id);
            let id = ListenerId(listener.id);
            self.parts.shared.arrivals.add(id);
            self.add_listener(id, Listener::new(socket, file, settings))?;
        }
        let connected = state.connections.iter().filter_map(|connection| connection.dialer).collect();
        self.resume_dialers(state.dialers, &connected);
        for (connection, socket) in state.connections.into_iter().zip(descriptors) {
            self.resume_connection(&connection, socket)?;
        }
        self.rest();
        Ok(())
    }

    fn suspend_dialers(&mut self, state: &mut State) {
        let now = Instant::now();
        for (id, Slot { dialer, state: dial, .. }) in std::mem::take(&mut self.dialers) {
            let (path, addresses) = match dialer.target {
                Target::Unix(path) => (Some(path), Vec::new()),
                Target::Tcp(addresses) => (None, addresses),
            };
            let Settings { pretty, out_of_band, slow_reader, .. } = dialer.settings;
            let drops_oldest = slow_reader.map(|policy| policy == SlowReader::DropOldest);
            state.dialers.push(DialerState {
                id: id.0,
                path,
                addresses,
                delay_us: microseconds(dialer.delay.unwrap_or_default()),
                remaining_us: match dial {
                    DialState::Waiting(at) => {
                        Some(at.map_or(u64::MAX, |at| microseconds(at.saturating_duration_since(now))))
                    }
                    DialState::Connecting(..) => Some(0),
                    DialState::Connected => None,
                },
                form: Form { pretty, out_of_band, drops_oldest },
            });
        }
    }

    /// Continues dialers, of which these are connected.
    fn resume_dialers(&mut self, dialers: Vec<DialerState>, connected: &BTreeSet<u64>) {
        for state in dialers {
            let settings = state.form.settings();
            self.parts.shared.reserve(state.id);
            let dialer = Dialer {
                target: state.path.map_or(Target::Tcp(state.addresses), Target::Unix),
                delay: Some(Duration::from_micros(state.delay_us)),
                settings,
            };
            let dial = if connected.contains(&state.id) {
                DialState::Connected
            } else {
                // A connection that could not be continued is a loss.
                let remaining_us = state.remaining_us.unwrap_or(state.delay_us);
                DialState::Waiting(Instant::now().checked_add(Duration::from_micros(remaining_us)))
            };
            let service = self.service_of(settings);
            self.dialers.insert(DialerId(state.id), Slot { dialer, service, state: dial });
        }
    }

    fn resume_events(&mut self, state: &State) {
        let now = self.parts.shared.clock.monotonic();
        let mut queue = lock(&self.parts.shared.queue);
        for window in &state.windows {
            let Some(kind) = handover::kind(&window.event) else { continue };
            queue.limiter.reopen(OpenWindow {
                kind,
                key: window.key.as_str().into(),
                closes_at: now + Duration::from_micros(window.remaining_us),
                interval: Duration::from_micros(window.interval_us),
                held: window.held.as_ref().map(|line| line.clone().into_bytes()),
            });
        }
        let sources = state.silent.iter().filter_map(|source| {
            let kind = handover::kind(&source.event)?;
            Some((kind, source.key.as_str().into(), source.also.as_str().into()))
        });
        queue.silent.extend(sources);
        queue.wakes_at = queue.limiter.next_deadline();
    }

    fn resume_connection(&mut self, state: &ConnectionState, socket: OwnedFd) -> io::Result<()> {
        let service: Service = self.service(state.form.settings());
        let listener = state.listener.map(ListenerId).filter(|id| self.listeners.opened(*id));
        let dialer = state.dialer.map(DialerId);
        let origin =
            listener.map(Origin::Listener).or(dialer.map(Origin::Dialer)).unwrap_or(Origin::Attached);
        if let Some(id) = state.dialer {
            self.parts.shared.reserve(id);
        }
        if let Some(id) = listener {
            self.parts.shared.arrivals.record(id);
        }
        let server = Server::resume(
            Arc::clone(&service.profile),
            &ServerState {
                negotiated: state.negotiated,
                out_of_band: state.out_of_band_enabled,
                input: from_hex(&state.input).unwrap_or_default(),
                line: state.line,
                column: state.column,
            },
        );
        let caller = self.next_caller(&socket, origin);
        let key = self.insert(socket, service, caller, server)?;
        if let Some(connection) = self.connection(key) {
            connection.outgoing.push_reply(&from_hex(&state.output).unwrap_or_default());
        }
        self.admit(key);
        self.serve(key);
        Ok(())
    }
}

/// Refuses the requests without a reply.
fn refuse_pending(connection: &mut Connection) {
    let refusal = || Refusal::generic("The command was interrupted by an update of the monitor");
    connection.server.refuse_running(refusal);
    while let Some((request, _)) = connection.server.poll_request() {
        connection.server.reply(request, Err(refusal()));
    }
    connection.collect();
}

/// Returns the state of a connection; `None` if it cannot be continued.
fn suspend(connection: &Connection) -> Option<ConnectionState> {
    let ServerState { negotiated, out_of_band, input, line, column } = connection.server.suspend()?;
    let profile = &connection.service.profile;
    Some(ConnectionState {
        listener: connection.caller.listener().map(|id| id.0),
        dialer: connection.caller.dialer().map(|id| id.0),
        form: Form {
            pretty: Some(profile.pretty),
            out_of_band: Some(profile.out_of_band),
            drops_oldest: Some(connection.service.slow_reader == SlowReader::DropOldest),
        },
        negotiated,
        out_of_band_enabled: out_of_band,
        input: to_hex(&input),
        line,
        column,
        output: to_hex(connection.outgoing.bytes()),
    })
}
