//! The process at the other end of a unix socket.

use std::os::fd::{AsFd, BorrowedFd};

/// The process at the other end of a unix socket, as reported by the kernel; it may have ended since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerCredentials {
    /// Process id at the time of connecting; `None` where the system does not report it: everywhere but on Linux.
    pub pid: Option<i32>,
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
}

/// Returns the peer of a connected unix socket; `None` for any other socket.
#[must_use]
pub fn peer_credentials(socket: impl AsFd) -> Option<PeerCredentials> {
    credentials(socket.as_fd())
}

#[cfg(target_os = "linux")]
fn credentials(socket: BorrowedFd<'_>) -> Option<PeerCredentials> {
    let peer = rustix::net::sockopt::socket_peercred(socket).ok()?;
    let pid = Some(peer.pid.as_raw_nonzero().get());
    Some(PeerCredentials { pid, uid: peer.uid.as_raw(), gid: peer.gid.as_raw() })
}

#[cfg(not(target_os = "linux"))]
fn credentials(socket: BorrowedFd<'_>) -> Option<PeerCredentials> {
    use std::os::fd::AsRawFd;

    let (mut uid, mut gid) = (0, 0);
    // SAFETY: the descriptor is open while it is borrowed, and the function writes one number to each of the two
    // pointers, which are valid.
    let result = unsafe { libc::getpeereid(socket.as_raw_fd(), &raw mut uid, &raw mut gid) };
    (result == 0).then_some(PeerCredentials { pid: None, uid, gid })
}
