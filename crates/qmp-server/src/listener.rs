//! Listeners: sockets to which clients connect.

use std::{
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd, RawFd},
        unix::{
            fs::{FileTypeExt, MetadataExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

use qmp_host::{InheritedError, InheritedListener};
use qmp_wire::{Address, SocketOptions};
use rustix::net::{AddressFamily, SocketAddrUnix, bind, listen};

use crate::{slow_reader::SlowReader, socket};

/// Maximum length of the backlog: as in the standard library.
const BACKLOG: i32 = 128;

/// A listening socket, created here or inherited, and the settings for its clients.
///
/// Other settings are those of the [`MonitorBuilder`](crate::MonitorBuilder).
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    /// The socket's file, if it was created here; removed with the listener.
    file: Option<SocketFile>,
    pub(crate) settings: Settings,
}

/// The settings for the clients of one listener.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) connections_max: Option<usize>,
    pub(crate) pretty: Option<bool>,
    pub(crate) out_of_band: Option<bool>,
    pub(crate) slow_reader: Option<SlowReader>,
}

impl Listener {
    /// Listens on a unix socket at `path`. Replaces a socket that a dead process left, and no other file.
    ///
    /// The mode of the file follows from the umask: see [`unix_with_mode`](Self::unix_with_mode).
    ///
    /// # Errors
    ///
    /// A system error; [`io::ErrorKind::AddrInUse`] if another process listens there, [`io::ErrorKind::AlreadyExists`] if the
    /// file there is not a socket.
    pub fn unix(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::bind_unix(path.as_ref(), None)
    }

    /// Listens on a unix socket like [`unix`](Self::unix), whose file has this mode independent of the umask:
    /// `0o600` for its owner alone. On Linux the file is never more permissive than that; on other systems it may be
    /// until the socket listens, so that no client can connect earlier.
    ///
    /// # Errors
    ///
    /// A system error; [`io::ErrorKind::AddrInUse`] if another process listens there.
    pub fn unix_with_mode(path: impl AsRef<Path>, mode: u32) -> io::Result<Self> {
        Self::bind_unix(path.as_ref(), Some(mode))
    }

    /// Listens on a TCP port; any client that can reach it controls the machine.
    ///
    /// # Errors
    ///
    /// A system error.
    pub fn tcp(address: impl ToSocketAddrs) -> io::Result<(Self, SocketAddr)> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        Ok((Self::from_fd(listener.into())?, address))
    }

    /// Wraps a listening socket, such as one received from another process.
    ///
    /// # Errors
    ///
    /// A system error if the socket cannot be made non-blocking; [`io::ErrorKind::InvalidInput`] if it does not listen.
    pub fn from_fd(socket: OwnedFd) -> io::Result<Self> {
        if !qmp_host::listens(&socket)? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket does not listen"));
        }
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self { socket, file: None, settings: Settings::default() })
    }

    /// Wraps the listening socket that this process inherited under this number: from systemd the first is 3.
    ///
    /// # Errors
    ///
    /// [`InheritedError`] unless the descriptor is a listening socket inherited from the parent process.
    pub fn inherited(number: RawFd) -> Result<Self, InheritedError> {
        Ok(match InheritedListener::take(number)? {
            InheritedListener::Unix(listener) => listener.into(),
            InheritedListener::Tcp(listener) => listener.into(),
        })
    }

    /// Listens at the address of QEMU's option: `unix:PATH,server=on`, `tcp:HOST:PORT,server=on`, `fd=N`.
    ///
    /// The caller handles `wait`: see [`Monitor::wait_for_client`](crate::Monitor::wait_for_client).
    ///
    /// # Errors
    ///
    /// A system error, or [`io::ErrorKind::InvalidInput`] for options of a connecting socket.
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

    /// Sets the maximum number of connections of this listener; further clients wait in its backlog. A QEMU has 1.
    #[must_use]
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.settings.connections_max = Some(connections);
        self
    }

    /// Sets whether messages to its clients are spread over many lines.
    #[must_use]
    pub fn pretty(mut self, pretty: bool) -> Self {
        self.settings.pretty = Some(pretty);
        self
    }

    /// Sets whether out-of-band execution is offered to its clients.
    #[must_use]
    pub fn out_of_band(mut self, offered: bool) -> Self {
        self.settings.out_of_band = Some(offered);
        self
    }

    /// Sets the policy for its clients that do not read.
    #[must_use]
    pub fn slow_reader(mut self, policy: SlowReader) -> Self {
        self.settings.slow_reader = Some(policy);
        self
    }

    pub(crate) fn new(socket: OwnedFd, file: Option<SocketFile>, settings: Settings) -> Self {
        Self { socket, file, settings }
    }

    pub(crate) fn into_parts(self) -> (OwnedFd, Option<SocketFile>, Settings) {
        (self.socket, self.file, self.settings)
    }

    fn bind_unix(path: &Path, mode: Option<u32>) -> io::Result<Self> {
        let socket = match bind_file(path, mode) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                refuse_other_file(path)?;
                if !is_left_over(path) {
                    return Err(error);
                }
                std::fs::remove_file(path)?;
                bind_file(path, mode)?
            }
            bound => bound?,
        };
        let file = SocketFile::at(path);
        if let Some(mode) = mode {
            // The umask may have removed requested bits.
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        }
        listen(&socket, BACKLOG)?;
        Ok(Self { socket, file, settings: Settings::default() })
    }
}

/// Binds a socket at a path, without listening yet.
fn bind_file(path: &Path, mode: Option<u32>) -> io::Result<OwnedFd> {
    let socket = socket::stream(AddressFamily::UNIX)?;
    // On Linux the file gets the mode of its socket, less the umask: it is never more permissive than requested.
    // Elsewhere, it has the requested mode before the socket listens.
    #[cfg(target_os = "linux")]
    if let Some(mode) = mode {
        rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(mode))?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = mode;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        // The loop accepts only when a client waits, so a blocking socket does no harm.
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

/// A socket file that is removed with its listener, unless another file has replaced it.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl SocketFile {
    pub(crate) fn at(path: &Path) -> Option<Self> {
        Some(Self { path: path.to_owned(), identity: identity(path)? })
    }

    /// Keeps the file.
    pub(crate) fn keep(mut self) -> PathBuf {
        // An empty path names no file.
        std::mem::take(&mut self.path)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path) == Some(self.identity) {
            // If this fails, the next listener replaces the file.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Refuses a path at which there is something else than a socket: only a socket may be replaced.
///
/// A connection to a regular file is refused as one to a socket without a process is.
fn refuse_other_file(path: &Path) -> io::Result<()> {
    let found = std::fs::symlink_metadata(path)?;
    if found.file_type().is_socket() {
        return Ok(());
    }
    let text = format!("{} is not a socket: move it away, or listen at another path", path.display());
    Err(io::Error::new(io::ErrorKind::AlreadyExists, text))
}

/// Returns whether no process listens at the socket.
fn is_left_over(path: &Path) -> bool {
    UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}
