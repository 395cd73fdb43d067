//! Operations on sockets that differ between systems.
//!
//! No descriptor is inherited by a child process, no operation blocks, and none raises a signal.

use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType};

/// Creates a stream socket.
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn stream(family: AddressFamily) -> rustix::io::Result<OwnedFd> {
    use rustix::net::SocketFlags;

    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(family, SocketType::STREAM, flags, None)
}

/// Creates a stream socket.
#[cfg(target_vendor = "apple")]
pub(crate) fn stream(family: AddressFamily) -> rustix::io::Result<OwnedFd> {
    prepared(rustix::net::socket(family, SocketType::STREAM, None)?)
}

/// Accepts a client.
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn accept(listener: impl AsFd) -> rustix::io::Result<OwnedFd> {
    use rustix::net::SocketFlags;

    rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
}

/// Accepts a client.
#[cfg(target_vendor = "apple")]
pub(crate) fn accept(listener: impl AsFd) -> rustix::io::Result<OwnedFd> {
    prepared(rustix::net::accept(listener)?)
}

#[cfg(target_vendor = "apple")]
fn prepared(socket: OwnedFd) -> rustix::io::Result<OwnedFd> {
    close_on_exec(&socket)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// Prepares a connected socket for [`send`]: once for each socket.
pub(crate) fn prepare(socket: impl AsFd) {
    // Send each message at once. Other sockets than TCP refuse the option and do not need it.
    let _ = rustix::net::sockopt::set_tcp_nodelay(&socket, true);
    // If this fails, the first message to a disconnected client may end the process; it fails only for no socket.
    #[cfg(target_vendor = "apple")]
    let _ = rustix::net::sockopt::set_socket_nosigpipe(&socket, true);
}

/// Sends as many bytes as the socket accepts at once.
pub(crate) fn send(socket: impl AsFd, bytes: &[u8]) -> rustix::io::Result<usize> {
    #[cfg(not(target_vendor = "apple"))]
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    #[cfg(target_vendor = "apple")]
    let flags = SendFlags::DONTWAIT;
    rustix::net::send(socket, bytes, flags)
}

/// The flags to receive descriptors with.
#[cfg(not(target_vendor = "apple"))]
pub(crate) const RECEIVE: RecvFlags = RecvFlags::DONTWAIT.union(RecvFlags::CMSG_CLOEXEC);
#[cfg(target_vendor = "apple")]
pub(crate) const RECEIVE: RecvFlags = RecvFlags::DONTWAIT;

/// Prevents the inheritance of a received descriptor, where its receipt did not.
pub(crate) fn close_on_exec(descriptor: impl AsFd) -> rustix::io::Result<()> {
    #[cfg(target_vendor = "apple")]
    rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC)?;
    #[cfg(not(target_vendor = "apple"))]
    let _ = descriptor;
    Ok(())
}
