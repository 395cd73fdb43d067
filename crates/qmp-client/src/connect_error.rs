//! Why a monitor could not be attached, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use qmp_host::InheritedError;
use qmp_wire::{Address, CommandError, FrameError};

use crate::close_reason::CloseReason;

/// Errors of connecting to a monitor and of bringing it to command mode.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// There is no such socket file.
    #[error("no socket {}: is the VM running? its -qmp option names the path", .path.display())]
    NoSuchSocket {
        /// The path.
        path: PathBuf,
    },
    /// The path names a file that is no socket.
    #[error("{} is not a socket: give the path in the VM's -qmp option", .path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// No process listens at the address.
    #[error("no process listens on {address}: the QEMU has ended or has not started yet")]
    Refused {
        /// The address.
        address: Address,
    },
    /// The operating system denies access.
    #[error(
        "permission denied for {address}: run as the user that owns the socket, or allow this user to read and write it"
    )]
    PermissionDenied {
        /// The address.
        address: Address,
    },
    /// The queue of clients that wait for this monitor is full.
    #[error(
        "the monitor {address} is in use and other clients wait for it: end the client that uses it, or give the VM another -qmp option"
    )]
    Busy {
        /// The address.
        address: Address,
    },
    /// All descriptors for monitors are in use.
    #[error(
        "all {limit} open files for monitors are in use: raise the limit of this process with `ulimit -n` or LimitNOFILE="
    )]
    NoDescriptors {
        /// The limit in force.
        limit: usize,
    },
    /// The host did not accept the connection in time.
    #[error("no answer from {address} within {waited:?}: check host, port and firewall")]
    DialTimeout {
        /// The address.
        address: Address,
        /// How long this side waited.
        waited: Duration,
    },
    /// Another failure of the operating system.
    #[error("cannot reach {address}: {error}")]
    Unreachable {
        /// The address.
        address: Address,
        /// The error of the operating system.
        error: Arc<io::Error>,
    },
    /// This side was to listen at an address at which another process listens.
    #[error(
        "another process listens on {address} already: leave out ,server=on to connect to it, or choose another address"
    )]
    InUse {
        /// The address.
        address: Address,
    },
    /// This side cannot listen at the address.
    #[error("cannot listen on {address}: {error}")]
    CannotListen {
        /// The address.
        address: Address,
        /// The error of the operating system.
        error: Arc<io::Error>,
    },
    /// The name of a socket file is too long to be bound.
    #[error("the file name of {} is too long for a socket: at most {limit_bytes} bytes after the last /", .path.display())]
    NameTooLong {
        /// The path.
        path: PathBuf,
        /// The longest name that fits.
        limit_bytes: usize,
    },
    /// The inherited descriptor cannot be used.
    #[error("cannot use fd:{number}: {error}")]
    Inherited {
        /// The descriptor's number.
        number: i32,
        /// Why.
        error: InheritedError,
    },
    /// The peer accepted the connection and sent no greeting.
    #[error(
        "no greeting from {address} within {waited:?}: the monitor is in use by another client (one client per socket; give the VM another -qmp option), or this is no QMP socket"
    )]
    NoGreeting {
        /// The address.
        address: Address,
        /// How long this side waited.
        waited: Duration,
    },
    /// The peer does not speak QMP.
    #[error(
        "{address} is not a QMP server: it begins with {first_bytes:?}; a human monitor (-monitor) or a console is not a -qmp socket"
    )]
    NotQmp {
        /// The address.
        address: Address,
        /// The first bytes received, as text.
        first_bytes: Box<str>,
    },
    /// The peer greeted like a QMP server, but without what each of them sends.
    #[error("{address} is not a QMP server: invalid greeting: {what}")]
    InvalidGreeting {
        /// The address.
        address: Address,
        /// The missing or invalid part.
        what: &'static str,
    },
    /// The server broke the protocol before command mode.
    #[error("{address} broke the protocol before the negotiation was done: {error}")]
    Protocol {
        /// The address.
        address: Address,
        /// The violation.
        error: FrameError,
    },
    /// The server sent its greeting and then no reply to `qmp_capabilities`.
    #[error(
        "{address} did not answer qmp_capabilities within {waited:?}: the QEMU is stuck or very busy; try again"
    )]
    NegotiationTimeout {
        /// The address.
        address: Address,
        /// How long this side waited.
        waited: Duration,
    },
    /// The server refused to go to command mode.
    #[error("{address} refused qmp_capabilities: {error}")]
    NegotiationRefused {
        /// The address.
        address: Address,
        /// The error that the server sent.
        error: CommandError,
    },
    /// The server sent an error in place of its greeting and closed the connection, as a relay of the hub does with a
    /// client that it does not serve.
    #[error("{address} refused this client: {}", .error.desc)]
    ServerRefused {
        /// The address.
        address: Address,
        /// The error that the server sent.
        error: CommandError,
    },
    /// The connection ended before command mode.
    #[error("{address} ended the connection before the negotiation was done: {reason}")]
    Ended {
        /// The address.
        address: Address,
        /// How the connection ended.
        reason: CloseReason,
    },
    /// The server sent more events before command mode than are kept.
    #[error("{address} sent more than {limit_bytes} bytes of events before the negotiation was done")]
    Flooded {
        /// The address.
        address: Address,
        /// The limit.
        limit_bytes: usize,
    },
}

impl ConnectError {
    /// Whether another client seems to use the monitor: the monitor accepts and sends nothing, or its queue is full. A
    /// QEMU that is too busy to send its greeting looks the same.
    #[must_use]
    pub fn is_monitor_in_use(&self) -> bool {
        matches!(self, Self::NoGreeting { .. } | Self::Busy { .. })
    }
}
