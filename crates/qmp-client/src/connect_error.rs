//! Why a monitor could not be attached, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use qmp_wire::CommandError;

use crate::{Address, Gone};
use qmp_host::InheritedError;

/// Errors of reaching a monitor and of bringing it to command mode.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// There is no such socket file.
    #[error("no socket {}: is the VM running? its -qmp option names the path", .path.display())]
    NoSuchSocket {
        /// The path asked for.
        path: PathBuf,
    },
    /// The path is something else than a socket.
    #[error("{} is not a socket: give the path that stands in the VM's -qmp option", .path.display())]
    NotASocket {
        /// The path asked for.
        path: PathBuf,
    },
    /// Nobody listens.
    #[error("nobody listens on {address}: the QEMU behind it has ended or has not started yet")]
    Refused {
        /// The address asked for.
        address: Address,
    },
    /// The operating system forbids it.
    #[error(
        "permission denied for {address}: run as the user that owns the socket, or allow this user to read and write it"
    )]
    PermissionDenied {
        /// The address asked for.
        address: Address,
    },
    /// The queue of clients that wait for this monitor is full.
    #[error(
        "the monitor {address} is taken and others wait for it: end the client that holds it, or give the VM another -qmp option"
    )]
    Busy {
        /// The address asked for.
        address: Address,
    },
    /// All descriptors for monitors are in use.
    #[error(
        "all {limit} open files for monitors are in use: raise the limit of this process with `ulimit -n` or LimitNOFILE="
    )]
    NoDescriptors {
        /// How many there are.
        limit: usize,
    },
    /// The host did not answer in time.
    #[error("no answer from {address} within {waited:?}: check host, port and firewall")]
    DialTimeout {
        /// The address asked for.
        address: Address,
        /// How long was waited.
        waited: Duration,
    },
    /// Another failure of the operating system.
    #[error("cannot reach {address}: {error}")]
    Unreachable {
        /// The address asked for.
        address: Address,
        /// What the operating system says.
        error: Arc<io::Error>,
    },
    /// This side was to listen where somebody listens already.
    #[error(
        "somebody listens on {address} already: leave out ,server=on to connect to it, or choose another address"
    )]
    InUse {
        /// The address asked for.
        address: Address,
    },
    /// This side was to listen, and cannot.
    #[error("cannot listen on {address}: {error}")]
    CannotListen {
        /// The address asked for.
        address: Address,
        /// What the operating system says.
        error: Arc<io::Error>,
    },
    /// The name of a socket file is too long to be bound.
    #[error("the file name of {} is too long for a socket: at most {limit_bytes} bytes after the last /", .path.display())]
    NameTooLong {
        /// The path asked for.
        path: PathBuf,
        /// The longest name that fits.
        limit_bytes: usize,
    },
    /// The inherited descriptor cannot be used.
    #[error("cannot use fd:{number}: {error}")]
    Inherited {
        /// The descriptor's number.
        number: i32,
        /// Why not.
        error: InheritedError,
    },
    /// The peer accepted and stays silent.
    #[error(
        "no greeting from {address} within {waited:?}: the monitor is taken by another client (one client per socket; give the VM another -qmp option), or this is no QMP socket"
    )]
    NoGreeting {
        /// The address asked for.
        address: Address,
        /// How long was waited.
        waited: Duration,
    },
    /// What the peer says is no QMP.
    #[error(
        "{address} is not a QMP server: it begins with {first_bytes:?}; a human monitor (-monitor) or a console is not a -qmp socket"
    )]
    NotQmp {
        /// The address asked for.
        address: Address,
        /// The first bytes that came, readable.
        first_bytes: Box<str>,
    },
    /// The server greeted and then did not answer.
    #[error(
        "{address} did not answer qmp_capabilities within {waited:?}: the QEMU is stuck or very busy; try again"
    )]
    NegotiationTimeout {
        /// The address asked for.
        address: Address,
        /// How long was waited.
        waited: Duration,
    },
    /// The server refused to go to command mode.
    #[error("{address} refused qmp_capabilities: {error}")]
    NegotiationRefused {
        /// The address asked for.
        address: Address,
        /// The server's words.
        error: CommandError,
    },
    /// The server sent an error in place of its greeting and closed, as a relay does with a client that it does not serve.
    #[error("{address} turned this client away: {}", .error.desc)]
    TurnedAway {
        /// The address asked for.
        address: Address,
        /// The server's words.
        error: CommandError,
    },
    /// The connection ended before command mode.
    #[error("{address} ended the connection before the negotiation was done: {gone}")]
    Ended {
        /// The address asked for.
        address: Address,
        /// How it ended.
        gone: Gone,
    },
    /// More events came before command mode than are kept.
    #[error("{address} sent more than {limit_bytes} bytes of events before the negotiation was done")]
    Flooded {
        /// The address asked for.
        address: Address,
        /// The limit.
        limit_bytes: usize,
    },
}

impl ConnectError {
    /// Whether somebody else holds the monitor, as far as that can be told: it accepts and says nothing, or its queue is
    /// full. A QEMU that is too busy to greet looks the same.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        matches!(self, Self::NoGreeting { .. } | Self::Busy { .. })
    }
}
