//! The client that sent a command, or is connected.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex},
};

use qmp_host::{PeerCredentials, lock};
use rustix::net::{AddressFamily, getpeername};

/// Maximum number of descriptors in one message.
///
/// Source: QEMU `chardev/char-socket.c`, `TCP_MAX_FDS`.
pub const DESCRIPTORS_MAX: usize = 16;

/// Identifies a listener of a monitor, also after its removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub(crate) u64);

/// Identifies a dialer of a monitor, also after its removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialerId(pub(crate) u64);

/// The origin of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Listener(ListenerId),
    Dialer(DialerId),
    /// The embedder attached a connected socket.
    Attached,
}

/// Identifies a connection of a monitor, also after it was closed; later ones have higher numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(crate) u64);

/// A client: its listener, its credentials from the kernel, and the descriptors that it sent.
#[derive(Clone, Debug)]
pub struct Caller {
    origin: Origin,
    connection: ConnectionId,
    credentials: Option<PeerCredentials>,
    address: Option<SocketAddr>,
    descriptors: Arc<Mutex<VecDeque<OwnedFd>>>,
}

impl Caller {
    pub(crate) fn new(socket: &impl AsFd, origin: Origin, connection: ConnectionId) -> Self {
        let is_unix = is_unix(socket);
        let credentials = is_unix.then(|| qmp_host::peer_credentials(socket)).flatten();
        let address = (!is_unix).then(|| getpeername(socket).ok().flatten()).flatten();
        Self {
            origin,
            connection,
            credentials,
            address: address.and_then(|address| address.try_into().ok()),
            descriptors: Arc::default(),
        }
    }

    /// Returns the listener that accepted the connection.
    #[must_use]
    pub fn listener(&self) -> Option<ListenerId> {
        match self.origin {
            Origin::Listener(id) => Some(id),
            Origin::Dialer(_) | Origin::Attached => None,
        }
    }

    /// Returns the dialer that made the connection.
    #[must_use]
    pub fn dialer(&self) -> Option<DialerId> {
        match self.origin {
            Origin::Dialer(id) => Some(id),
            Origin::Listener(_) | Origin::Attached => None,
        }
    }

    /// Returns the id of its connection.
    #[must_use]
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// Returns the process at the other end; `None` unless the socket is a unix socket.
    #[must_use]
    pub fn credentials(&self) -> Option<PeerCredentials> {
        self.credentials
    }

    /// Returns its address; `None` unless the socket is a TCP socket.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Removes the first descriptor from the client that no command has used, as `getfd` does.
    ///
    /// Descriptors arrive with the bytes of a command, at most [`DESCRIPTORS_MAX`] at a time. When others arrive,
    /// unused ones are closed, as in QEMU.
    #[must_use]
    pub fn take_descriptor(&self) -> Option<OwnedFd> {
        lock(&self.descriptors).pop_front()
    }

    /// Stores received descriptors in place of the unused ones.
    pub(crate) fn keep_descriptors(&self, received: VecDeque<OwnedFd>) {
        let unused = std::mem::replace(&mut *lock(&self.descriptors), received);
        // Closed without the lock.
        drop(unused);
    }
}

/// Returns whether a socket is a unix socket.
pub(crate) fn is_unix(socket: &impl AsFd) -> bool {
    qmp_host::address_family(socket).is_ok_and(|domain| domain == AddressFamily::UNIX)
}
