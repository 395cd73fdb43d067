//! Where clients connect.

use std::{
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd, RawFd},
        unix::{
            fs::{MetadataExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

use qmp_host::{InheritedError, InheritedListener};
use qmp_wire::{Address, SocketOptions};
use rustix::{
    fs::{Mode, fchmod},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with},
};

use crate::slow_reader::SlowReader;

/// Clients that may wait to be accepted: as many as the standard library allows.
const BACKLOG: i32 = 128;

/// A socket that listens, made here or inherited, and how its clients are served.
///
/// What is not set here is as the [`MonitorBuilder`](crate::MonitorBuilder) says.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    /// The socket's place in the file system, if it was made here; it goes when the listener goes.
    file: Option<SocketFile>,
    pub(crate) settings: Settings,
}

/// How the clients of one listener are served.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) connections_max: Option<usize>,
    pub(crate) pretty: Option<bool>,
    pub(crate) out_of_band: Option<bool>,
    pub(crate) slow_reader: Option<SlowReader>,
}

impl Listener {
    /// Listens on a unix socket at `path`. A socket that is left there by a process that died is replaced.
    ///
    /// The mode of the file follows from the umask: see [`unix_with_mode`](Self::unix_with_mode).
    ///
    /// # Errors
    ///
    /// That of the system; [`io::ErrorKind::AddrInUse`] if another process listens there.
    pub fn unix(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::bind_unix(path.as_ref(), None)
    }

    /// Listens on a unix socket as [`unix`](Self::unix) does, whose file has this mode whatever the umask is: `0o600` for
    /// its owner alone. At no moment is it more open than that.
    ///
    /// # Errors
    ///
    /// That of the system; [`io::ErrorKind::AddrInUse`] if another process listens there.
    pub fn unix_with_mode(path: impl AsRef<Path>, mode: u32) -> io::Result<Self> {
        Self::bind_unix(path.as_ref(), Some(mode))
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

    /// Takes a socket that listens already, such as one that was received from another process.
    ///
    /// # Errors
    ///
    /// That of the system when the socket is told not to block.
    pub fn from_fd(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self { socket, file: None, settings: Settings::default() })
    }

    /// Takes the listening socket that this process inherited under this number: from systemd the first is 3.
    ///
    /// # Errors
    ///
    /// [`InheritedError`] unless the descriptor is a listening socket that came from the process that started this one.
    pub fn inherited(number: RawFd) -> Result<Self, InheritedError> {
        Ok(match InheritedListener::take(number)? {
            InheritedListener::Unix(listener) => listener.into(),
            InheritedListener::Tcp(listener) => listener.into(),
        })
    }

    /// Listens where QEMU's option says: `unix:PATH,server=on`, `tcp:HOST:PORT,server=on`, `fd=N`.
    ///
    /// `wait` is the caller's: see [`Monitor::wait_for_client`](crate::Monitor::wait_for_client).
    ///
    /// # Errors
    ///
    /// That of the system, and [`io::ErrorKind::InvalidInput`] for a socket that is to connect.
    pub fn open(options: &SocketOptions) -> io::Result<Self> {
        match &options.address {
            Address::Unix { path, listen: true } => Self::unix(path),
            Address::Tcp { host, port, listen: true } => {
                Self::tcp((host.as_str(), *port)).map(|(listener, _)| listener)
            }
            Address::Fd { number, .. } => {
                Self::inherited(*number).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
            }
            address => {
                let text = format!("{address} does not listen: server=on is missing");
                Err(io::Error::new(io::ErrorKind::InvalidInput, text))
            }
        }
    }

    /// Connections of this listener at a time; further clients wait in its backlog. 1 is what a QEMU has.
    #[must_use]
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.settings.connections_max = Some(connections);
        self
    }

    /// Whether messages to its clients are spread over many lines.
    #[must_use]
    pub fn pretty(mut self, pretty: bool) -> Self {
        self.settings.pretty = Some(pretty);
        self
    }

    /// Whether out-of-band execution is on offer to its clients.
    #[must_use]
    pub fn out_of_band(mut self, offered: bool) -> Self {
        self.settings.out_of_band = Some(offered);
        self
    }

    /// What to do with a client of it that does not read.
    #[must_use]
    pub fn slow_reader(mut self, policy: SlowReader) -> Self {
        self.settings.slow_reader = Some(policy);
        self
    }

    /// The socket, and the path of the file that goes with it, which stays.
    pub(crate) fn into_parts(self) -> (OwnedFd, Option<PathBuf>) {
        (self.socket, self.file.map(SocketFile::keep))
    }

    pub(crate) fn from_parts(socket: OwnedFd, path: Option<PathBuf>, settings: Settings) -> Self {
        let file = path.and_then(|path| SocketFile::at(&path));
        Self { socket, file, settings }
    }

    fn bind_unix(path: &Path, mode: Option<u32>) -> io::Result<Self> {
        let socket = match bind_file(path, mode) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_over(path) => {
                std::fs::remove_file(path)?;
                bind_file(path, mode)?
            }
            bound => bound?,
        };
        let file = SocketFile::at(path);
        if let Some(mode) = mode {
            // The umask may have taken away what is asked for.
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        }
        listen(&socket, BACKLOG)?;
        Ok(Self { socket, file, settings: Settings::default() })
    }
}

/// A socket bound at a path, at which nothing listens yet.
fn bind_file(path: &Path, mode: Option<u32>) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    if let Some(mode) = mode {
        // The file takes over the mode of its socket, less the umask: it is never more open than asked for.
        fchmod(&socket, Mode::from_raw_mode(mode))?;
    }
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        // The loop accepts only when a client waits, so a socket that blocks does no harm either.
        let _ = listener.set_nonblocking(true);
        Self { socket: listener.into(), file: None, settings: Settings::default() }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        let _ = listener.set_nonblocking(true);
        Self { socket: listener.into(), file: None, settings: Settings::default() }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A socket file that is removed with its listener, unless another file has taken its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> Option<Self> {
        Some(Self { path: path.to_owned(), identity: identity(path)? })
    }

    /// Leaves the file where it is.
    fn keep(mut self) -> PathBuf {
        // A path that is empty names no file.
        std::mem::take(&mut self.path)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path) == Some(self.identity) {
            // The next listener replaces it if it stays.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Whether nothing listens at the socket in this place.
fn is_left_over(path: &Path) -> bool {
    UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}
