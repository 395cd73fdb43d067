//! Makes connections to a monitor: dials it, waits for it to dial in, or adopts an inherited socket.

use std::io;
use std::path::Path;
use std::sync::Arc;

use qmp_host::{Family, InheritedError, InheritedSocket, Share, connect_unix, take};
use qmp_wire::Address;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;

use crate::connect_config::ConnectConfig;
use crate::connect_error::ConnectError;
use crate::connection::Connection;
use crate::incoming::IncomingMonitor;
use crate::listen::Listener;
use crate::socket::Socket;

/// Makes connections to one address, one after another. Holds the listening socket if this side listens.
#[derive(Debug)]
pub(crate) struct Dialer {
    address: Arc<Address>,
    /// Where connections come from if the VM dials in. Boxed, because most addresses are dialled.
    source: Option<Box<ConnectionSource>>,
}

/// Where the connections of a VM that dials in come from.
#[derive(Debug)]
enum ConnectionSource {
    /// A listener of this side.
    Listener(Listener),
    /// Another component, which accepts connections and sends them here.
    Incoming(mpsc::Receiver<Box<IncomingMonitor>>),
}

/// The result of [`Dialer::next_connection`].
#[derive(Debug)]
pub(crate) enum NewConnection {
    /// A socket on which nothing was sent yet, and its share of the budget of sockets.
    Socket(Socket, Option<Share>),
    /// A monitor that dialled in, in command mode.
    Incoming(Box<IncomingMonitor>),
}

impl Dialer {
    pub(crate) fn new(address: Arc<Address>) -> Self {
        Self { address, source: None }
    }

    /// Receives connections that another component accepts at the address.
    pub(crate) fn of_incoming(address: Arc<Address>, receiver: mpsc::Receiver<Box<IncomingMonitor>>) -> Self {
        Self { address, source: Some(Box::new(ConnectionSource::Incoming(receiver))) }
    }

    /// Makes the next connection, or waits for the next one that is sent here.
    pub(crate) async fn next_connection(
        &mut self,
        config: &ConnectConfig,
    ) -> Result<NewConnection, ConnectError> {
        if let Some(ConnectionSource::Incoming(receiver)) = self.source.as_deref_mut() {
            return match receiver.recv().await {
                Some(monitor) => Ok(NewConnection::Incoming(monitor)),
                // The sender was dropped: no connection will be accepted any more.
                None => std::future::pending().await,
            };
        }
        let share = share_of_sockets(config)?;
        Ok(NewConnection::Socket(self.dial(config).await?, share))
    }

    pub(crate) fn address(&self) -> Arc<Address> {
        Arc::clone(&self.address)
    }

    /// Makes the next connection.
    pub(crate) async fn dial(&mut self, config: &ConnectConfig) -> Result<Socket, ConnectError> {
        if let Some(dial) = &config.dial {
            return Ok(Socket::other(dial.dial(&self.address).await?));
        }
        if self.source.is_none() {
            match &*self.address {
                Address::Unix { path, listen: false } => return self.dial_unix(path).await,
                Address::Tcp { host, port, listen: false } => {
                    return self.dial_tcp(host, *port, config).await;
                }
                Address::Unix { path, listen: true } => {
                    self.listen(Listener::bind_unix(path, &self.address).await?);
                }
                Address::Tcp { host, port, listen: true } => {
                    self.listen(Listener::bind_tcp(host, *port, &self.address).await?);
                }
                Address::Fd { number, listen } => {
                    let refused = |error| ConnectError::Inherited { number: *number, error };
                    let inherited = take(*number).map_err(refused)?;
                    if !inherited.listening && *listen {
                        return Err(refused(InheritedError::NotListening));
                    }
                    if !inherited.listening {
                        return adopt(inherited).map_err(|error| self.unreachable(error));
                    }
                    let listener =
                        Listener::from_inherited(inherited).map_err(|error| self.unreachable(error))?;
                    self.listen(listener);
                }
            }
        }
        match self.source.as_deref() {
            Some(ConnectionSource::Listener(listener)) => {
                listener.accept().await.map_err(|error| self.unreachable(error))
            }
            _ => unreachable!("an address that is dialled has returned, any other has a listener"),
        }
    }

    /// Whether another connection can be made after this one ended or failed.
    pub(crate) fn can_repeat(&self) -> bool {
        self.source.is_some() || !matches!(*self.address, Address::Fd { .. })
    }

    fn listen(&mut self, listener: Listener) {
        self.source = Some(Box::new(ConnectionSource::Listener(listener)));
    }

    async fn dial_unix(&self, path: &Path) -> Result<Socket, ConnectError> {
        match connect_unix(path).await {
            Ok(stream) => Ok(Socket::Unix(stream)),
            Err(error) => Err(match error.kind() {
                io::ErrorKind::NotFound => ConnectError::NoSuchSocket { path: path.to_owned() },
                // connect(2) returns ECONNREFUSED for a file of any other kind, too.
                io::ErrorKind::ConnectionRefused if !is_socket(path) => {
                    ConnectError::NotASocket { path: path.to_owned() }
                }
                // The backlog is full; only unix sockets report this.
                io::ErrorKind::WouldBlock => ConnectError::Busy { address: self.address_owned() },
                _ => self.unreachable(error),
            }),
        }
    }

    async fn dial_tcp(&self, host: &str, port: u16, config: &ConnectConfig) -> Result<Socket, ConnectError> {
        let waited = config.dial_timeout;
        match tokio::time::timeout(waited, TcpStream::connect((host, port))).await {
            Err(_) => Err(ConnectError::DialTimeout { address: self.address_owned(), waited }),
            Ok(Err(error)) => Err(self.unreachable(error)),
            Ok(Ok(stream)) => Socket::tcp(stream).map_err(|error| self.unreachable(error)),
        }
    }

    fn unreachable(&self, error: io::Error) -> ConnectError {
        let address = self.address_owned();
        match error.kind() {
            io::ErrorKind::ConnectionRefused => ConnectError::Refused { address },
            io::ErrorKind::PermissionDenied => ConnectError::PermissionDenied { address },
            _ => ConnectError::Unreachable { address, error: Arc::new(error) },
        }
    }

    fn address_owned(&self) -> Address {
        Address::clone(&self.address)
    }
}

fn adopt(inherited: InheritedSocket) -> io::Result<Socket> {
    match inherited.family {
        Family::Unix => {
            let stream = std::os::unix::net::UnixStream::from(inherited.socket);
            stream.set_nonblocking(true)?;
            Ok(Socket::Unix(UnixStream::from_std(stream)?))
        }
        Family::Tcp => {
            let stream = std::net::TcpStream::from(inherited.socket);
            stream.set_nonblocking(true)?;
            Socket::tcp(TcpStream::from_std(stream)?)
        }
    }
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    // A path without readable metadata is assumed to be a socket.
    std::fs::metadata(path).map_or(true, |found| found.file_type().is_socket())
}

impl Connection {
    /// Connects to a monitor: dials it, or waits until it dials in. [`negotiate`](Self::negotiate) comes next.
    ///
    /// # Errors
    ///
    /// Those of [`ConnectError`] up to `Inherited`.
    pub async fn open(address: &Address, config: &ConnectConfig) -> Result<Self, ConnectError> {
        let mut dialer = Dialer::new(Arc::new(address.clone()));
        let share = share_of_sockets(config)?;
        let socket = dialer.dial(config).await?;
        Ok(Self::new(socket, share, dialer.address(), config))
    }
}

/// Reserves the descriptor of a connection that is about to be made.
///
/// # Errors
///
/// [`ConnectError::NoDescriptors`].
fn share_of_sockets(config: &ConnectConfig) -> Result<Option<Share>, ConnectError> {
    let Some(sockets) = &config.sockets else { return Ok(None) };
    let none = || ConnectError::NoDescriptors { limit: sockets.max() };
    sockets.take(1).map(Some).ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use rustix::net::sockopt::{socket_keepalive, tcp_keepcnt, tcp_keepidle, tcp_keepintvl, tcp_nodelay};
    use tokio::net::TcpListener;

    use super::*;

    /// The errors are made by hand: a test that runs as root is never denied access.
    #[test]
    fn operating_system_error_becomes_message_with_remedy() {
        let dialer = Dialer::new(Arc::new(Address::Unix { path: "/run/vm".into(), listen: false }));
        let cases = [
            (
                io::ErrorKind::PermissionDenied,
                "permission denied for unix:/run/vm: run as the user that owns the socket, or allow this user to read and write it",
            ),
            (
                io::ErrorKind::ConnectionRefused,
                "no process listens on unix:/run/vm: the QEMU has ended or has not started yet",
            ),
            (io::ErrorKind::HostUnreachable, "cannot reach unix:/run/vm: host unreachable"),
        ];
        for (kind, message) in cases {
            assert_eq!(dialer.unreachable(kind.into()).to_string(), message);
        }
    }

    #[tokio::test]
    async fn tcp_connection_dialled_or_accepted_has_keep_alive() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let port = listener.local_addr().expect("bound").port();
        let address = Address::Tcp { host: "127.0.0.1".into(), port, listen: false };
        let mut dialer = Dialer::new(address.into());
        let dialled = dialer.dial(&ConnectConfig::default()).await.expect("connects");
        let accepted = Listener::Tcp(listener).accept().await.expect("accepts");
        for (way, socket) in [("dialled", dialled), ("accepted", accepted)] {
            let Socket::Tcp(stream) = &socket else { panic!("{way}: {socket:?}") };
            assert_eq!(options(stream), (true, 30, 10, 6, true), "{way}");
        }
    }

    /// Keep-alive, idle time and interval in seconds, count; without delay.
    fn options(stream: &TcpStream) -> (bool, u64, u64, u32, bool) {
        (
            socket_keepalive(stream).expect("an option"),
            tcp_keepidle(stream).expect("an option").as_secs(),
            tcp_keepintvl(stream).expect("an option").as_secs(),
            tcp_keepcnt(stream).expect("an option"),
            tcp_nodelay(stream).expect("an option"),
        )
    }
}
