//! Listening for a QEMU that dials in (`-chardev socket,…,reconnect=1`).
//!
//! A socket file that is left over from a process that ended is replaced; one that somebody answers is not. The file
//! is only for its owner (mode 0600), and is removed with the listener.

use std::fs::{self, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, fchmod};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use tokio::net::{TcpListener, UnixListener};

use crate::dial::{SocketPath, connect_unix};
use crate::socket::Socket;
use crate::{Address, ConnectError};
use qmp_host::{Family, Inherited};

/// How many QEMUs may wait to be accepted. One VM dials one address; a second is a mistake that must not be lost.
const BACKLOG: i32 = 4;

/// A socket that accepts connections, one after another.
#[derive(Debug)]
pub(crate) enum Listener {
    Unix { socket: UnixListener, _file: Option<SocketFile> },
    Tcp(TcpListener),
}

/// A socket file that goes away with its listener, unless somebody has put another one in its place.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl Listener {
    /// Listens at a path; a stale socket file is replaced.
    pub(crate) async fn bind_unix(path: &Path, address: &Address) -> Result<Self, ConnectError> {
        let cannot = |error: io::Error| ConnectError::CannotListen {
            address: address.clone(),
            error: Arc::new(error),
        };
        let socket = match bind_file(path) {
            Err(BindError::Io(error)) if error.kind() == io::ErrorKind::AddrInUse => {
                remove_stale(path, address).await?;
                bind_file(path)
            }
            bound => bound,
        };
        let socket = socket.map_err(|error| match error {
            BindError::Io(error) => cannot(error),
            BindError::NameTooLong { limit_bytes } => {
                ConnectError::NameTooLong { path: path.to_owned(), limit_bytes }
            }
        })?;
        let file =
            SocketFile { path: path.to_owned(), identity: fs::symlink_metadata(path).ok().map(identity) };
        listen(&socket, BACKLOG).map_err(|error| cannot(error.into()))?;
        let socket = UnixListener::from_std(socket.into()).map_err(cannot)?;
        Ok(Self::Unix { socket, _file: Some(file) })
    }

    /// Listens on a TCP port.
    pub(crate) async fn bind_tcp(host: &str, port: u16, address: &Address) -> Result<Self, ConnectError> {
        match TcpListener::bind((host, port)).await {
            Ok(listener) => Ok(Self::Tcp(listener)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                Err(ConnectError::InUse { address: address.clone() })
            }
            Err(error) => {
                Err(ConnectError::CannotListen { address: address.clone(), error: Arc::new(error) })
            }
        }
    }

    /// Takes over an inherited listening socket.
    pub(crate) fn from_inherited(inherited: Inherited) -> io::Result<Self> {
        match inherited.family {
            Family::Unix => {
                let listener = std::os::unix::net::UnixListener::from(inherited.socket);
                listener.set_nonblocking(true)?;
                Ok(Self::Unix { socket: UnixListener::from_std(listener)?, _file: None })
            }
            Family::Tcp => {
                let listener = std::net::TcpListener::from(inherited.socket);
                listener.set_nonblocking(true)?;
                Ok(Self::Tcp(TcpListener::from_std(listener)?))
            }
        }
    }

    /// Waits for the next QEMU.
    pub(crate) async fn accept(&self) -> io::Result<Socket> {
        match self {
            Self::Unix { socket, .. } => Ok(Socket::Unix(socket.accept().await?.0)),
            Self::Tcp(listener) => {
                let (stream, _peer) = listener.accept().await?;
                Socket::tcp(stream)
            }
        }
    }
}

enum BindError {
    Io(io::Error),
    NameTooLong { limit_bytes: usize },
}

impl From<rustix::io::Errno> for BindError {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Io(errno.into())
    }
}

fn bind_file(path: &Path) -> Result<OwnedFd, BindError> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Linux gives the file the mode of the socket: it is never open to others, not even for a moment.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    let reachable = SocketPath::in_directory(path).map_err(BindError::Io)?;
    let limit_bytes = reachable.name_max_bytes();
    let name = SocketAddrUnix::new(reachable.path()).map_err(|_| BindError::NameTooLong { limit_bytes })?;
    bind(&socket, &name)?;
    Ok(socket)
}

/// Removes a socket file that nobody answers.
async fn remove_stale(path: &Path, address: &Address) -> Result<(), ConnectError> {
    let cannot =
        |error: io::Error| ConnectError::CannotListen { address: address.clone(), error: Arc::new(error) };
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ConnectError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(cannot(error)),
    }
    match connect_unix(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(cannot)
        }
        // It answers, or its queue is full, or it cannot be asked.
        _ => Err(ConnectError::InUse { address: address.clone() }),
    }
}

fn identity(file: Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let present = fs::symlink_metadata(&self.path).ok().map(identity);
        if present.is_some() && present == self.identity {
            // If it cannot be removed, the next start finds it stale.
            let _ = fs::remove_file(&self.path);
        }
    }
}
