//! Where clients connect.

use std::{
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

/// A socket that listens: made here, or inherited.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    /// The socket's place in the file system, if it was made here; it goes when the listener goes.
    path: Option<PathBuf>,
}

impl Listener {
    /// Listens on a unix socket at `path`. A socket that is left there by a process that died is replaced.
    ///
    /// # Errors
    ///
    /// That of the system; [`io::ErrorKind::AddrInUse`] if somebody listens there.
    pub fn unix(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_over(path) => {
                std::fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            bound => bound?,
        };
        let mut listener = Self::from_fd(listener.into())?;
        listener.path = Some(path.to_owned());
        Ok(listener)
    }

    /// Listens on a TCP port; anyone who can reach it controls the machine.
    ///
    /// # Errors
    ///
    /// That of the system.
    pub fn tcp(address: impl ToSocketAddrs) -> io::Result<(Self, SocketAddr)> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        Ok((Self::from_fd(listener.into())?, address))
    }

    /// Takes a socket that listens already, such as one that was inherited.
    ///
    /// # Errors
    ///
    /// That of the system when the socket is told not to block.
    pub fn from_fd(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self { socket, path: None })
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        // The loop never accepts but when a client waits, so a socket that blocks does no harm either.
        let _ = listener.set_nonblocking(true);
        Self { socket: listener.into(), path: None }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        let _ = listener.set_nonblocking(true);
        Self { socket: listener.into(), path: None }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Whoever listens next replaces it if it stays.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Whether nobody listens at the socket in this place.
fn is_left_over(path: &Path) -> bool {
    UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}
