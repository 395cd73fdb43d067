//! Listening for a QEMU that dials in (`-chardev socket,…,reconnect=1`).
//!
//! A stale socket file, left over from a process that ended, is replaced; a socket at which a process listens is not.
//! Only the owner can use the file (mode 0600). It is removed with the listener.

use std::io;
use std::path::Path;
use std::sync::Arc;

use qmp_host::{Family, InheritedSocket, SocketError, SocketFile, listen_unix_unlocked};
use qmp_wire::Address;
use tokio::net::{TcpListener, UnixListener};

use crate::connect_error::ConnectError;
use crate::socket::Socket;

/// How many QEMUs may wait to be accepted. One VM dials one address; a second one waits, so that it shows.
const BACKLOG: i32 = 4;

/// A socket that accepts connections, one after another.
#[derive(Debug)]
pub(crate) enum Listener {
    Unix { socket: UnixListener, _file: Option<SocketFile> },
    Tcp(TcpListener),
}

impl Listener {
    /// Listens at a path; a stale socket file is replaced.
    pub(crate) async fn bind_unix(path: &Path, address: &Address) -> Result<Self, ConnectError> {
        let (socket, file) = listen_unix_unlocked(path, BACKLOG).await.map_err(|error| match error {
            SocketError::InUse { .. } => ConnectError::InUse { address: address.clone() },
            SocketError::NotASocket { path } => ConnectError::NotASocket { path },
            SocketError::NameTooLong { path, limit_bytes } => ConnectError::NameTooLong { path, limit_bytes },
            SocketError::Bind { error, .. } => {
                ConnectError::CannotListen { address: address.clone(), error: Arc::new(error) }
            }
            other => ConnectError::CannotListen {
                address: address.clone(),
                error: Arc::new(io::Error::other(other)),
            },
        })?;
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

    /// Adopts an inherited listening socket.
    pub(crate) fn from_inherited(inherited: InheritedSocket) -> io::Result<Self> {
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

    /// Waits for the next QEMU to dial in.
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
