//! Converts the number of an inherited descriptor into an owned socket.
//!
//! A number does not show its owner. Descriptors opened in this process are close-on-exec (the standard library and
//! tokio set the flag), and inherited ones cannot be: they survived an exec. So the flag distinguishes them; it is
//! set when a descriptor is taken, which also prevents a second owner.

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Mutex;

use rustix::fs::{FileType, fstat};
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::net::sockopt::socket_type;
use rustix::net::{AddressFamily, SocketType};

use crate::lock::lock;

/// Errors of taking over an inherited descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InheritedError {
    /// No descriptor is open under this number, or an earlier connection used it up.
    #[error("no such descriptor is open (a connected one serves for one connection only)")]
    NotOpen,
    /// The descriptor belongs to this process itself.
    #[error("it was not inherited: this process opened it itself or has taken it already")]
    NotInherited,
    /// The descriptor is not a socket.
    #[error("it is not a socket")]
    NotASocket,
    /// The socket is of a kind that carries no monitor.
    #[error("it is neither a unix nor a TCP stream socket")]
    NotAStream,
    /// The socket is connected, and cannot accept.
    #[error("it is connected, and does not listen")]
    Connected,
    /// `,server=on` was given for a connected socket.
    #[error("it is not a listening socket: leave out ,server=on")]
    NotListening,
}

/// A socket inherited from the parent process.
#[derive(Debug)]
pub struct InheritedSocket {
    /// The socket; close-on-exec from then on.
    pub socket: OwnedFd,
    /// The address family.
    pub family: Family,
    /// Whether the socket listens.
    pub listening: bool,
}

/// The address family of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A unix stream socket.
    Unix,
    /// A TCP socket.
    Tcp,
}

/// Locked between the check and the takeover.
static TAKING: Mutex<()> = Mutex::new(());

/// Takes over the inherited socket with this number.
///
/// # Errors
///
/// Any [`InheritedError`] but `Connected` and `NotListening`.
pub fn take(number: RawFd) -> Result<InheritedSocket, InheritedError> {
    let _taking = lock(&TAKING);
    if number < 0 {
        return Err(InheritedError::NotOpen);
    }
    // SAFETY: `number` is not −1. The descriptor may not be open; then the first call returns EBADF and the borrow
    // ends. It is not closed meanwhile: only its owner could, and a descriptor that is not close-on-exec has no
    // owner in this process.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = fcntl_getfd(borrowed).map_err(|_| InheritedError::NotOpen)?;
    if flags.contains(FdFlags::CLOEXEC) {
        return Err(InheritedError::NotInherited);
    }
    let (family, listening) = kind(borrowed)?;
    fcntl_setfd(borrowed, flags | FdFlags::CLOEXEC).map_err(|_| InheritedError::NotOpen)?;
    // SAFETY: the descriptor is open, it is a socket, and it was inherited, so no code in this process owns it; from
    // here on it is close-on-exec, so it cannot be taken again.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    Ok(InheritedSocket { socket, family, listening })
}

/// An inherited listening socket.
#[derive(Debug)]
pub enum InheritedListener {
    /// At a path, or an abstract name.
    Unix(std::os::unix::net::UnixListener),
    /// At a port.
    Tcp(std::net::TcpListener),
}

impl InheritedListener {
    /// Takes over the inherited listening socket with this number.
    ///
    /// # Errors
    ///
    /// Any [`InheritedError`] but `NotListening`.
    pub fn take(number: RawFd) -> Result<Self, InheritedError> {
        let InheritedSocket { socket, family, listening } = take(number)?;
        match (listening, family) {
            (false, _) => Err(InheritedError::Connected),
            (true, Family::Unix) => Ok(Self::Unix(socket.into())),
            (true, Family::Tcp) => Ok(Self::Tcp(socket.into())),
        }
    }
}

fn kind(descriptor: BorrowedFd<'_>) -> Result<(Family, bool), InheritedError> {
    let stat = fstat(descriptor).map_err(|_| InheritedError::NotOpen)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(InheritedError::NotASocket);
    }
    let not_a_stream = |_| InheritedError::NotAStream;
    if socket_type(descriptor).map_err(not_a_stream)? != SocketType::STREAM {
        return Err(InheritedError::NotAStream);
    }
    let family = match address_family(descriptor).map_err(not_a_stream)? {
        AddressFamily::UNIX => Family::Unix,
        AddressFamily::INET | AddressFamily::INET6 => Family::Tcp,
        _ => return Err(InheritedError::NotAStream),
    };
    Ok((family, listens(descriptor).map_err(not_a_stream)?))
}

/// Returns the address family of a socket.
///
/// # Errors
///
/// A system error.
#[cfg(target_os = "linux")]
pub fn address_family(socket: impl AsFd) -> rustix::io::Result<AddressFamily> {
    rustix::net::sockopt::socket_domain(socket)
}

/// Returns the address family of a socket.
///
/// # Errors
///
/// A system error.
#[cfg(not(target_os = "linux"))]
pub fn address_family(socket: impl AsFd) -> rustix::io::Result<AddressFamily> {
    Ok(rustix::net::getsockname(socket)?.address_family())
}

/// Returns whether a socket listens.
///
/// # Errors
///
/// A system error.
#[cfg(not(target_vendor = "apple"))]
pub fn listens(socket: impl AsFd) -> rustix::io::Result<bool> {
    rustix::net::sockopt::socket_acceptconn(socket)
}

/// Returns whether a socket listens.
///
/// macOS does not implement the option: a socket without a peer has to be a listening one.
///
/// # Errors
///
/// A system error.
#[cfg(target_vendor = "apple")]
pub fn listens(socket: impl AsFd) -> rustix::io::Result<bool> {
    match rustix::net::getpeername(socket) {
        Ok(_) => Ok(false),
        Err(rustix::io::Errno::NOTCONN | rustix::io::Errno::INVAL) => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::IntoRawFd;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use super::*;

    #[test]
    fn takes_sockets_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("s")).unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (stream, _other) = UnixStream::pair().unwrap();
        let (datagram, _other) = UnixDatagram::pair().unwrap();
        type Case = (&'static str, OwnedFd, Result<(Family, bool), InheritedError>);
        let cases: [Case; 5] = [
            ("connected", stream.into(), Ok((Family::Unix, false))),
            ("listening", listener.into(), Ok((Family::Unix, true))),
            ("tcp", tcp.into(), Ok((Family::Tcp, true))),
            ("datagram", datagram.into(), Err(InheritedError::NotAStream)),
            ("file", File::open("/dev/null").unwrap().into(), Err(InheritedError::NotASocket)),
        ];
        for (name, descriptor, expected) in cases {
            let taken = take(inheritable(descriptor));
            assert_eq!(taken.map(|taken| (taken.family, taken.listening)), expected, "{name}");
        }
    }

    #[test]
    fn leaves_alone_what_was_not_inherited() {
        let (stream, _other) = UnixStream::pair().unwrap();
        let number = inheritable(stream.into());
        let taken = take(number).unwrap();
        assert_eq!(take(number).unwrap_err(), InheritedError::NotInherited, "taken twice");
        drop(taken);
        assert_eq!(take(-1).unwrap_err(), InheritedError::NotOpen, "negative");
        assert_eq!(take(1 << 20).unwrap_err(), InheritedError::NotOpen, "never opened");
    }

    /// Returns a descriptor as after an exec.
    fn inheritable(descriptor: OwnedFd) -> RawFd {
        fcntl_setfd(&descriptor, FdFlags::empty()).unwrap();
        descriptor.into_raw_fd()
    }
}
