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

/// Returns the supplementary groups of the peer of a connected unix socket, as they were when it connected; none where the system
/// does not report them: everywhere but on Linux.
#[must_use]
pub fn peer_groups(socket: impl AsFd) -> Vec<u32> {
    groups(socket.as_fd())
}

#[cfg(target_os = "linux")]
fn groups(socket: BorrowedFd<'_>) -> Vec<u32> {
    use std::os::fd::AsRawFd as _;

    // A process has 65,536 groups at most (`NGROUPS_MAX`), and the call reports the size that it needs.
    let mut groups: Vec<libc::gid_t> = vec![0; 32];
    for _ in 0..2 {
        let Ok(mut bytes) = libc::socklen_t::try_from(size_of_val(&groups[..])) else { return Vec::new() };
        // SAFETY: the descriptor is open while it is borrowed; the kernel writes at most `bytes` bytes to the vector, which has as
        // many, and the size to `bytes`.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        let count = bytes as usize / size_of::<libc::gid_t>();
        if result == 0 {
            groups.truncate(count);
            return groups;
        }
        if std::io::Error::last_os_error().raw_os_error() != Some(libc::ERANGE) {
            return Vec::new();
        }
        groups.resize(count, 0);
    }
    Vec::new()
}

#[cfg(not(target_os = "linux"))]
fn groups(_socket: BorrowedFd<'_>) -> Vec<u32> {
    Vec::new()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn groups_of_the_peer_are_those_of_its_process() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let mut own: Vec<u32> = rustix::process::getgroups()
            .expect("groups")
            .into_iter()
            .map(rustix::process::Gid::as_raw)
            .collect();
        let mut reported = peer_groups(&one);
        own.sort_unstable();
        reported.sort_unstable();
        assert_eq!(reported, own);
    }
}
