//! Reaching a monitor: dialling it, waiting for it to dial in, or taking an inherited socket.

use std::io;
use std::path::Path;
use std::sync::Arc;

use qmp_host::Share;
use qmp_host::{Family, Inherited, InheritedError, connect_unix, take};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;

use crate::caller::Caller;
use crate::connection::share_of_sockets;
use crate::listen::Listener;
use crate::socket::Socket;
use crate::{Address, ConnectConfig, ConnectError};

/// Makes connections to one address, one after another. Holds the listening socket if this side listens.
#[derive(Debug)]
pub(crate) struct Dialer {
    address: Arc<Address>,
    /// Boxed, because most dial.
    waits: Option<Box<Waits>>,
}

/// Where connections come from that the QEMU makes.
#[derive(Debug)]
enum Waits {
    /// They are accepted here.
    Listener(Listener),
    /// Somebody else accepts them.
    Callers(mpsc::Receiver<Box<Caller>>),
}

/// What a dialler comes back with.
#[derive(Debug)]
pub(crate) enum Reached {
    /// A socket on which nothing was said.
    /// The socket, and the descriptor that it is counted with.
    Socket(Socket, Option<Share>),
    /// A monitor in command mode.
    Caller(Box<Caller>),
}

impl Dialer {
    pub(crate) fn new(address: Arc<Address>) -> Self {
        Self { address, waits: None }
    }

    /// Takes connections that somebody else accepts at the address.
    pub(crate) fn of_callers(address: Arc<Address>, callers: mpsc::Receiver<Box<Caller>>) -> Self {
        Self { address, waits: Some(Box::new(Waits::Callers(callers))) }
    }

    /// Makes the next connection, or waits for the next caller.
    pub(crate) async fn reach(&mut self, config: &ConnectConfig) -> Result<Reached, ConnectError> {
        if let Some(Waits::Callers(callers)) = self.waits.as_deref_mut() {
            return match callers.recv().await {
                Some(caller) => Ok(Reached::Caller(caller)),
                // Nobody accepts any more.
                None => std::future::pending().await,
            };
        }
        let share = share_of_sockets(config)?;
        Ok(Reached::Socket(self.dial(config).await?, share))
    }

    pub(crate) fn address(&self) -> Arc<Address> {
        Arc::clone(&self.address)
    }

    /// Makes the next connection.
    pub(crate) async fn dial(&mut self, config: &ConnectConfig) -> Result<Socket, ConnectError> {
        if let Some(dial) = &config.dial {
            return Ok(Socket::other(dial.dial(&self.address).await?));
        }
        if self.waits.is_none() {
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
        match self.waits.as_deref() {
            Some(Waits::Listener(listener)) => {
                listener.accept().await.map_err(|error| self.unreachable(error))
            }
            _ => unreachable!("whoever dials has returned, whoever listens has a listener"),
        }
    }

    /// Whether another connection can be made after this one ended or failed.
    pub(crate) fn can_repeat(&self) -> bool {
        self.waits.is_some() || !matches!(*self.address, Address::Fd { .. })
    }

    fn listen(&mut self, listener: Listener) {
        self.waits = Some(Box::new(Waits::Listener(listener)));
    }

    async fn dial_unix(&self, path: &Path) -> Result<Socket, ConnectError> {
        match connect_unix(path).await {
            Ok(stream) => Ok(Socket::Unix(stream)),
            Err(error) => Err(match error.kind() {
                io::ErrorKind::NotFound => ConnectError::NoSuchSocket { path: path.to_owned() },
                // connect(2) says ECONNREFUSED for a file of any other kind, too.
                io::ErrorKind::ConnectionRefused if !is_socket(path) => {
                    ConnectError::NotASocket { path: path.to_owned() }
                }
                // The backlog is full; only unix sockets say so.
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

fn adopt(inherited: Inherited) -> io::Result<Socket> {
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
    // A path that cannot be looked at is not claimed to be something else.
    std::fs::metadata(path).map_or(true, |found| found.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Root, who runs tests at times, is denied nothing; so what the operating system would say is made up.
    #[test]
    fn errors_of_the_operating_system_say_what_to_do() {
        let dialer = Dialer::new(Arc::new(Address::Unix { path: "/run/vm".into(), listen: false }));
        let cases = [
            (
                io::ErrorKind::PermissionDenied,
                "permission denied for unix:/run/vm: run as the user that owns the socket, or allow this user to read and write it",
            ),
            (
                io::ErrorKind::ConnectionRefused,
                "nobody listens on unix:/run/vm: the QEMU behind it has ended or has not started yet",
            ),
            (io::ErrorKind::HostUnreachable, "cannot reach unix:/run/vm: host unreachable"),
        ];
        for (kind, message) in cases {
            assert_eq!(dialer.unreachable(kind.into()).to_string(), message);
        }
    }
}
