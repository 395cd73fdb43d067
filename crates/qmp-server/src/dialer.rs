//! Dialers: a monitor connects to a client that listens.
//!
//! Source: behaviour of QEMU 7.2 with `-chardev socket,server=off,reconnect=1`.

use std::{
    io,
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use qmp_wire::{Address, SocketOptions};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, connect},
};

use crate::{listener::Settings, slow_reader::SlowReader, socket};

/// A client that listens, to which the monitor connects: QEMU's `server=off`.
///
/// With [`reconnect`](Self::reconnect), the first attempt is made at once, and another one the delay after each
/// failure and after each loss of the connection. Each connection begins with the greeting and a new negotiation.
/// Without it, there is one connection: an attempt that fails is an error, and a loss is final.
#[derive(Clone, Debug)]
pub struct Dialer {
    pub(crate) target: Target,
    pub(crate) delay: Option<Duration>,
    pub(crate) settings: Settings,
}

/// The address of a client that listens.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Unix(PathBuf),
    /// Addresses of one host, tried in turn.
    Tcp(Vec<SocketAddr>),
}

/// The start of a connection.
#[derive(Debug)]
pub(crate) enum Attempt {
    Connected(OwnedFd),
    /// The socket becomes writable at the end of the attempt.
    InProgress(OwnedFd),
}

impl Dialer {
    /// Connects to a unix socket.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if the path does not fit the address of a socket.
    pub fn unix(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        SocketAddrUnix::new(path).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, "the path is too long for a socket's address")
        })?;
        Ok(Self::to(Target::Unix(path.to_owned())))
    }

    /// Connects to a TCP port. A host's name is resolved here, and may block.
    ///
    /// # Errors
    ///
    /// The error of the resolution.
    pub fn tcp(address: impl ToSocketAddrs) -> io::Result<Self> {
        Ok(Self::to(Target::Tcp(address.to_socket_addrs()?.collect())))
    }

    /// Connects to the address of QEMU's option: `unix:PATH,reconnect-ms=N`, `tcp:HOST:PORT,reconnect=N`.
    ///
    /// # Errors
    ///
    /// Those of [`unix`](Self::unix) and [`tcp`](Self::tcp); [`io::ErrorKind::InvalidInput`] for options of a
    /// listening socket or of a descriptor.
    pub fn open(options: &SocketOptions) -> io::Result<Self> {
        let dialer = match &options.address {
            Address::Unix { path, listen: false } => Self::unix(path)?,
            Address::Tcp { host, port, listen: false } => Self::tcp((host.as_str(), *port))?,
            address => {
                let text = format!("{address} does not connect: it listens, or is a descriptor");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        };
        Ok(Self { delay: options.reconnect, ..dialer })
    }

    /// Sets the delay before another attempt; a delay of zero is for never, as in QEMU.
    #[must_use]
    pub fn reconnect(mut self, delay: Duration) -> Self {
        self.delay = (!delay.is_zero()).then_some(delay);
        self
    }

    /// Sets whether messages to the client are spread over many lines.
    #[must_use]
    pub fn pretty(mut self, pretty: bool) -> Self {
        self.settings.pretty = Some(pretty);
        self
    }

    /// Sets whether out-of-band execution is offered to the client.
    #[must_use]
    pub fn out_of_band(mut self, offered: bool) -> Self {
        self.settings.out_of_band = Some(offered);
        self
    }

    /// Sets the policy if the client does not read.
    #[must_use]
    pub fn slow_reader(mut self, policy: SlowReader) -> Self {
        self.settings.slow_reader = Some(policy);
        self
    }

    /// Waits for the only connection; returns `None` if the loop connects, again and again.
    pub(crate) fn connect_once(&self) -> io::Result<Option<OwnedFd>> {
        if self.delay.is_some() {
            return Ok(None);
        }
        Ok(Some(match &self.target {
            Target::Unix(path) => UnixStream::connect(path)?.into(),
            Target::Tcp(addresses) => TcpStream::connect(&addresses[..])?.into(),
        }))
    }

    fn to(target: Target) -> Self {
        Self { target, delay: None, settings: Settings::default() }
    }
}

impl Target {
    /// Starts an attempt to connect to address number `index`; `None` if there are fewer addresses.
    pub(crate) fn attempt(&self, index: usize) -> Option<rustix::io::Result<Attempt>> {
        match self {
            Self::Unix(path) if index == 0 => Some(attempt_unix(path)),
            Self::Unix(_) => None,
            Self::Tcp(addresses) => addresses.get(index).map(attempt_tcp),
        }
    }
}

fn attempt_unix(path: &Path) -> rustix::io::Result<Attempt> {
    let socket = socket::stream(AddressFamily::UNIX)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(Attempt::Connected(socket))
}

fn attempt_tcp(address: &SocketAddr) -> rustix::io::Result<Attempt> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket::stream(family)?;
    match connect(&socket, address) {
        Ok(()) => Ok(Attempt::Connected(socket)),
        Err(Errno::INPROGRESS | Errno::INTR) => Ok(Attempt::InProgress(socket)),
        Err(error) => Err(error),
    }
}
