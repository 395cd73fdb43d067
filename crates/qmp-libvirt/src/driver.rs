//! The follower on a unix socket.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::net::UnixStream;

use crate::connection::CallId;
use crate::domain::Domain;
use crate::follow::{Follow, FollowItem};
use crate::session::{DaemonInfo, SessionError, Step};
use crate::source::Source;
use crate::uuid::Uuid;

/// Bytes that are read at once.
const READ_MAX_BYTES: usize = 64 << 10;

/// How long the end of a connection may take. The daemon replies at once, or does not run any more.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The code of libvirt's error for the URI of another daemon.
const INTERNAL_ERROR: i32 = 1;

/// Errors of connecting to a daemon.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No daemon listens.
    #[error("no libvirt daemon at {}: {error}; start libvirtd or virtqemud", list(.paths))]
    Absent {
        /// The sockets that were tried.
        paths: Vec<PathBuf>,
        /// The error of the last one.
        error: io::Error,
    },
    /// The socket cannot be used.
    #[error("cannot connect to {}: {error}{}", path.display(), permission_advice(.error))]
    Socket {
        /// The path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The daemon ended the session, or refused it.
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// Follows every domain of a daemon over its socket.
///
/// Its owner drives it: [`next`](Self::next) has to be called all the time, because libvirtd keeps the messages of a client
/// that does not read, without a limit, and serves its other clients more slowly.
#[derive(Debug)]
pub struct FollowSocket {
    stream: UnixStream,
    socket: PathBuf,
    info: DaemonInfo,
    follow: Follow,
    buffer: Vec<u8>,
}

/// What the socket is ready for.
enum Ready {
    ToRead,
    ToWrite,
}

impl FollowSocket {
    /// Connects to the daemon, and opens its hypervisor; `user_directory` is as in [`Source::sockets`].
    ///
    /// # Errors
    ///
    /// Any [`ConnectError`].
    pub async fn connect(source: &Source, user_directory: &Path) -> Result<Self, ConnectError> {
        Self::connect_as(Follow::new, source, user_directory).await
    }

    /// As [`connect`](Self::connect), for commands only: the daemon sends no events.
    ///
    /// # Errors
    ///
    /// Any [`ConnectError`].
    pub async fn connect_for_commands(source: &Source, user_directory: &Path) -> Result<Self, ConnectError> {
        Self::connect_as(Follow::for_commands, source, user_directory).await
    }

    async fn connect_as(
        make: fn(&str, Instant) -> Follow,
        source: &Source,
        user_directory: &Path,
    ) -> Result<Self, ConnectError> {
        let sockets = source.sockets(user_directory);
        let mut uris = source.uris().to_vec();
        loop {
            let (socket, stream) = dial(&sockets).await?;
            // The daemon of a user logs an error about the other URI.
            uris.sort_by_key(|uri| is_of_user(&socket) != uri.ends_with("/session"));
            let uri = uris.remove(0);
            match Self::open(stream, socket, make(uri, Instant::now())).await {
                Err(SessionError::Refused { step: Step::Open, error })
                    if error.code == INTERNAL_ERROR && !uris.is_empty() => {}
                opened => return Ok(opened?),
            }
        }
    }

    /// Returns the socket of the daemon.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns what the daemon says of itself.
    #[must_use]
    pub fn info(&self) -> &DaemonInfo {
        &self.info
    }

    /// Returns when the daemon last sent anything.
    #[must_use]
    pub fn heard_at(&self) -> Instant {
        self.follow.heard_at()
    }

    /// Waits for the next item. A call that is dropped loses nothing.
    ///
    /// # Errors
    ///
    /// Any [`SessionError`]: the epochs of all domains end.
    pub async fn next(&mut self) -> Result<FollowItem, SessionError> {
        loop {
            if let Some(item) = self.follow.poll_item(Instant::now())? {
                return Ok(item);
            }
            self.exchange().await?;
        }
    }

    /// Sends a QMP command to the domain's QEMU; `None` if the domain does not run. libvirt marks the domain as tainted. The
    /// reply is an item.
    pub fn execute(&mut self, uuid: Uuid, command: &str) -> Option<CallId> {
        self.follow.execute(uuid, command, Instant::now())
    }

    /// As [`Follow::execute_on`].
    pub fn execute_on(&mut self, domain: Domain, command: &str) -> CallId {
        self.follow.execute_on(domain, command, Instant::now())
    }

    /// As [`Follow::query_state`].
    pub fn query_state(&mut self, uuid: Uuid) -> Option<CallId> {
        self.follow.query_state(uuid, Instant::now())
    }

    /// Ends an epoch whose owner lost events, and opens the next with the domain's state.
    pub fn reopen(&mut self, uuid: Uuid) {
        self.follow.reopen(uuid, Instant::now());
    }

    /// Asks whether a domain of an earlier session exists still; if not, [`FollowItem::Gone`] follows.
    pub fn look_up(&mut self, domain: Domain) {
        self.follow.look_up(domain, Instant::now());
    }

    /// Ends the connection. libvirtd logs an error if a client just closes its socket.
    pub async fn close(mut self) {
        self.follow.close(Instant::now());
        let end = async { while self.next().await.is_ok() {} };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, end).await;
    }

    async fn open(stream: UnixStream, socket: PathBuf, follow: Follow) -> Result<Self, SessionError> {
        let buffer = vec![0; READ_MAX_BYTES];
        let mut this = Self { stream, socket, info: DaemonInfo::default(), follow, buffer };
        loop {
            if let FollowItem::Connected(info) = this.next().await? {
                this.info = info;
                return Ok(this);
            }
        }
    }

    /// Waits until bytes can be read or written, or time has passed, and handles that.
    async fn exchange(&mut self) -> Result<(), SessionError> {
        let wants_write = !self.follow.transmit().is_empty();
        let deadline = tokio::time::Instant::from_std(self.follow.poll_timeout());
        let ready = tokio::select! {
            ready = self.stream.readable() => ready.map(|()| Ready::ToRead),
            ready = self.stream.writable(), if wants_write => ready.map(|()| Ready::ToWrite),
            () = tokio::time::sleep_until(deadline) => return self.follow.handle_timeout(Instant::now()),
        };
        match ready {
            Ok(Ready::ToRead) => self.read(),
            Ok(Ready::ToWrite) => self.write(),
            Err(_) => Err(self.follow.handle_end()),
        }
    }

    fn read(&mut self) -> Result<(), SessionError> {
        match self.stream.try_read(&mut self.buffer) {
            Ok(0) => Err(self.follow.handle_end()),
            Ok(length) => {
                self.follow.handle_input(&self.buffer[..length], Instant::now());
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(_) => Err(self.follow.handle_end()),
        }
    }

    fn write(&mut self) -> Result<(), SessionError> {
        match self.stream.try_write(self.follow.transmit()) {
            Ok(length) => {
                self.follow.consume_transmit(length);
                Ok(())
            }
            // The end of the connection shows when it is read, behind everything that the daemon sent.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.follow.consume_transmit(self.follow.transmit().len());
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(_) => Err(self.follow.handle_end()),
        }
    }
}

/// Connects to the first socket at which a daemon listens.
async fn dial(sockets: &[PathBuf]) -> Result<(PathBuf, UnixStream), ConnectError> {
    let mut absent = None;
    for path in sockets {
        match UnixStream::connect(path).await {
            Ok(stream) => return Ok((path.clone(), stream)),
            Err(error) if is_absent(&error) => absent = Some(error),
            Err(error) => return Err(ConnectError::Socket { path: path.clone(), error }),
        }
    }
    let error = absent.unwrap_or_else(|| io::ErrorKind::NotFound.into());
    Err(ConnectError::Absent { paths: sockets.to_vec(), error })
}

/// Whether the socket belongs to another user than root.
fn is_of_user(socket: &Path) -> bool {
    std::fs::metadata(socket).is_ok_and(|file| file.uid() != 0)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
}

fn permission_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; make this user a member of the group of the socket, or see auth_unix_rw in libvirtd.conf"
        }
        _ => "",
    }
}
