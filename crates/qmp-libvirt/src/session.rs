//! The order of calls at the start of a connection: authentication, opening, registration, and only then the list of domains,
//! so that no event is missed between the list and the registration.

use std::time::Instant;

use crate::call::{Authentication, Call, Reply, Version};
use crate::connection::{CallId, Connection, ConnectionError, Output};
use crate::domain::Domain;
use crate::event::Event;
use crate::header::Header;
use crate::remote_error::RemoteError;

/// Errors that end a session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The connection ended.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The daemon requires SASL on its socket.
    #[error(
        "libvirt requires SASL on this socket, which is not supported: set auth_unix_rw = \"polkit\" or \"none\" in libvirtd.conf"
    )]
    Sasl,
    /// The daemon requires an unknown kind of authentication.
    #[error("libvirt requires an unknown kind of authentication ({number})")]
    UnknownAuthentication {
        /// Its number.
        number: i32,
    },
    /// The daemon refused a call without which there are no events.
    #[error("cannot {step}: {error}")]
    Refused {
        /// What the call was for.
        step: Step,
        /// The daemon's error.
        error: RemoteError,
    },
}

/// A step of the start of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// The kinds of authentication that the daemon accepts.
    ListAuthentication,
    /// polkit.
    Authenticate,
    /// The hypervisor.
    Open,
    /// Pings of the daemon, so that it drops a client that hangs.
    KeepAlive,
    /// The daemon's version.
    Version,
    /// The host's name.
    HostName,
    /// Starts and stops.
    RegisterLifecycle,
    /// Losses of monitors.
    RegisterControlError,
    /// Events of monitors.
    RegisterMonitorEvents,
    /// The domains that run.
    List,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ListAuthentication => "list the kinds of authentication",
            Self::Authenticate => "authenticate by polkit",
            Self::Open => "open the hypervisor",
            Self::KeepAlive => "request keepalive",
            Self::Version => "request the version",
            Self::HostName => "request the name of the host",
            Self::RegisterLifecycle => "register for the starts and stops of domains",
            Self::RegisterControlError => "register for losses of monitors",
            Self::RegisterMonitorEvents => "register for the events of monitors",
            Self::List => "list the domains that run",
        })
    }
}

/// What the daemon said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DaemonInfo {
    /// Its version; `None` if it did not say.
    pub version: Option<Version>,
    /// The name of its host; `None` if it did not say.
    pub host_name: Option<Box<str>>,
}

/// What a session hands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SessionOutput {
    /// The daemon has opened the hypervisor. Events may follow.
    Connected(DaemonInfo),
    /// These domains run.
    Domains(Vec<Domain>),
    Event(Event),
    Reply {
        call: CallId,
        result: Result<Reply, RemoteError>,
    },
    Unknown(Header),
}

/// A connection that begins in the right order.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Connection,
    uri: Box<str>,
    info: DaemonInfo,
    /// The step in progress and its call; `None` once open.
    opening: Option<(Step, CallId)>,
    /// The session ends its start without a registration: it is for calls only.
    without_events: bool,
}

impl Session {
    /// Creates a session with the hypervisor of `uri` on a connection made at `now`.
    pub(crate) fn new(uri: &str, now: Instant) -> Self {
        let mut connection = Connection::new(now);
        let call = connection.call(Call::ListAuthentication, now);
        let opening = Some((Step::ListAuthentication, call));
        Self { connection, uri: uri.into(), info: DaemonInfo::default(), opening, without_events: false }
    }

    /// As [`new`](Self::new), for calls only: the daemon sends no events.
    pub(crate) fn without_events(uri: &str, now: Instant) -> Self {
        Self { without_events: true, ..Self::new(uri, now) }
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(crate) fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Returns the next output. After an error the session is of no use.
    pub(crate) fn poll_output(&mut self, now: Instant) -> Result<Option<SessionOutput>, SessionError> {
        while let Some(output) = self.connection.poll_output(now)? {
            let (call, result) = match output {
                Output::Event(event) => return Ok(Some(SessionOutput::Event(event))),
                Output::Unknown(header) => return Ok(Some(SessionOutput::Unknown(header))),
                Output::Reply { call, result } => (call, result),
            };
            match self.opening {
                Some((step, awaited)) if awaited == call => {
                    if let Some(output) = self.advance(step, result, now)? {
                        return Ok(Some(output));
                    }
                }
                _ => return Ok(Some(SessionOutput::Reply { call, result })),
            }
        }
        Ok(None)
    }

    /// Handles the reply to a step and makes the next call.
    fn advance(
        &mut self,
        step: Step,
        result: Result<Reply, RemoteError>,
        now: Instant,
    ) -> Result<Option<SessionOutput>, SessionError> {
        let reply = match result {
            Ok(reply) => Some(reply),
            Err(_) if step.is_optional() => None,
            Err(error) => return Err(SessionError::Refused { step, error }),
        };
        let mut output = None;
        let next = match (step, reply) {
            (Step::ListAuthentication, Some(Reply::Numbers(kinds))) => authenticate(&kinds)?,
            (Step::ListAuthentication | Step::Authenticate, _) => Step::Open,
            (Step::Open, _) => Step::KeepAlive,
            (Step::KeepAlive, _) if self.without_events => {
                self.opening = None;
                return Ok(Some(SessionOutput::Connected(self.info.clone())));
            }
            (Step::KeepAlive, _) => Step::Version,
            (Step::Version, reply) => {
                self.info.version = match reply {
                    Some(Reply::Version(version)) => Some(version),
                    _ => None,
                };
                Step::HostName
            }
            (Step::HostName, reply) => {
                self.info.host_name = match reply {
                    Some(Reply::Text(name)) => Some(name),
                    _ => None,
                };
                output = Some(SessionOutput::Connected(self.info.clone()));
                Step::RegisterLifecycle
            }
            (Step::RegisterLifecycle, _) => Step::RegisterControlError,
            (Step::RegisterControlError, _) => Step::RegisterMonitorEvents,
            (Step::RegisterMonitorEvents, _) => Step::List,
            (Step::List, reply) => {
                self.opening = None;
                let domains = match reply {
                    Some(Reply::Domains(domains)) => domains,
                    _ => Vec::new(),
                };
                return Ok(Some(SessionOutput::Domains(domains)));
            }
        };
        let call = self.connection.call(next.call(&self.uri), now);
        self.opening = Some((next, call));
        Ok(output)
    }
}

impl Step {
    /// Whether the session goes on if the daemon refuses.
    fn is_optional(self) -> bool {
        matches!(self, Self::KeepAlive | Self::Version | Self::HostName)
    }

    fn call(self, uri: &str) -> Call {
        match self {
            Self::ListAuthentication => Call::ListAuthentication,
            Self::Authenticate => Call::AuthenticatePolkit,
            Self::Open => Call::Open { uri: uri.into() },
            Self::KeepAlive => Call::SupportsKeepAlive,
            Self::Version => Call::LibraryVersion,
            Self::HostName => Call::HostName,
            Self::RegisterLifecycle => Call::RegisterLifecycle,
            Self::RegisterControlError => Call::RegisterControlError,
            Self::RegisterMonitorEvents => Call::RegisterMonitorEvents,
            Self::List => Call::ListAll,
        }
    }
}

/// Returns the step after the list of authentications, of which one is enough.
fn authenticate(kinds: &[i32]) -> Result<Step, SessionError> {
    let kinds: Vec<_> = kinds.iter().copied().map(Authentication::from).collect();
    if kinds.is_empty() || kinds.contains(&Authentication::Nothing) {
        return Ok(Step::Open);
    }
    if kinds.contains(&Authentication::Polkit) {
        return Ok(Step::Authenticate);
    }
    match kinds[0] {
        Authentication::Other(number) => Err(SessionError::UnknownAuthentication { number }),
        _ => Err(SessionError::Sasl),
    }
}
