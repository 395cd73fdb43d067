//! Which client sent a command, or is connected.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex},
};

use rustix::net::{AddressFamily, getpeername, sockopt};

use crate::queue::lock;

/// Descriptors that one message may carry.
///
/// Source: QEMU `chardev/char-socket.c`, `TCP_MAX_FDS`.
pub const DESCRIPTORS_MAX: usize = 16;

/// Names a listener of a monitor, also after it was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub(crate) u64);

/// Names a connection of a monitor, also after it was closed; later ones have higher numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(crate) u64);

/// The process at the other end of a unix socket, as the kernel names it; it may have ended since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerCredentials {
    /// Process id at the time of connecting.
    pub pid: i32,
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
}

/// A client: where it connected, what the kernel says about it, and the descriptors that it sent.
#[derive(Clone, Debug)]
pub struct Caller {
    listener: Option<ListenerId>,
    connection: ConnectionId,
    credentials: Option<PeerCredentials>,
    address: Option<SocketAddr>,
    descriptors: Arc<Mutex<VecDeque<OwnedFd>>>,
}

impl Caller {
    pub(crate) fn new(socket: &impl AsFd, listener: Option<ListenerId>, connection: ConnectionId) -> Self {
        let is_unix = is_unix(socket);
        let credentials = is_unix.then(|| sockopt::socket_peercred(socket).ok()).flatten();
        let address = (!is_unix).then(|| getpeername(socket).ok().flatten()).flatten();
        Self {
            listener,
            connection,
            credentials: credentials.map(|peer| PeerCredentials {
                pid: peer.pid.as_raw_nonzero().get(),
                uid: peer.uid.as_raw(),
                gid: peer.gid.as_raw(),
            }),
            address: address.and_then(|address| address.try_into().ok()),
            descriptors: Arc::default(),
        }
    }

    /// The listener that it connected to; `None` for a socket that was attached.
    #[must_use]
    pub fn listener(&self) -> Option<ListenerId> {
        self.listener
    }

    /// Its connection.
    #[must_use]
    pub fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// The process at the other end; `None` unless the socket is a unix socket.
    #[must_use]
    pub fn credentials(&self) -> Option<PeerCredentials> {
        self.credentials
    }

    /// Its address; `None` unless the socket is a TCP socket.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Takes the first descriptor that the client sent and that no command took, as `getfd` does.
    ///
    /// Descriptors come with the bytes of a command, at most [`DESCRIPTORS_MAX`] at a time. Those that are not taken by the
    /// time that others come are closed, as in QEMU.
    #[must_use]
    pub fn take_descriptor(&self) -> Option<OwnedFd> {
        lock(&self.descriptors).pop_front()
    }

    /// Keeps descriptors that came, in place of those that are left.
    pub(crate) fn keep_descriptors(&self, received: VecDeque<OwnedFd>) {
        let left = std::mem::replace(&mut *lock(&self.descriptors), received);
        // Closed without the lock.
        drop(left);
    }
}

/// Whether a socket is a unix socket.
pub(crate) fn is_unix(socket: &impl AsFd) -> bool {
    sockopt::socket_domain(socket).is_ok_and(|domain| domain == AddressFamily::UNIX)
}
