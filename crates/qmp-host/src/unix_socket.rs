//! Listening: the socket file has its mode before any client can connect; and only one hub serves at it.
//!
//! A unix socket is bound in a fresh directory that only this user may enter, gets its mode there, and is renamed
//! into place. A lock file beside it (`hub.sock.lock`) is held as long as the hub serves, and removed with the socket, so that the
//! socket of a dead hub is distinguished from that of a live one without a race. Sockets are named through `/proc/self/fd`,
//! since the system accepts no socket path of more than 107 bytes.

use std::fs::{DirBuilder, Metadata, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{FlockOperation, Mode, OFlags, fchmod};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, socket_with};
use tokio::net::{UnixListener, UnixStream};

use crate::permissions;
use crate::socket_access::SocketAccess;
use crate::socket_path::{SocketPath, connect_unix};

/// A socket in the file system, and the lock of its owner.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode; `None` for an inherited socket: its file is kept, for the next hub.
    identity: Option<(u64, u64)>,
    lock: Option<OwnedFd>,
}

/// Errors of listening at a unix socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// Another process already serves there.
    #[error("another hub is serving at unix:{}; stop it, or serve at another address", path.display())]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// The path is a file other than a socket, which must not be replaced.
    #[error("{} is not a socket; move it away, or serve at another address", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The path names no file, such as `/`.
    #[error("{} cannot name a socket", path.display())]
    NoFileName {
        /// The path.
        path: PathBuf,
    },
    /// The name of the socket is too long for its address.
    #[error("the name of {} is longer than {limit_bytes} bytes", path.display())]
    NameTooLong {
        /// The path.
        path: PathBuf,
        /// Maximum length of the name, in bytes.
        limit_bytes: usize,
    },
    /// The directory of the socket does not exist and cannot be created, or is not writable.
    #[error("cannot make a socket: {}", why_not(path, error))]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system error.
        error: io::Error,
    },
    /// The open files for such sockets are in use.
    #[error(
        "cannot serve at unix:{}: all {max} open files for relays are in use; raise the limit with `ulimit -n` or \
         LimitNOFILE=",
        path.display()
    )]
    NoDescriptors {
        /// The path.
        path: PathBuf,
        /// How many there are.
        max: usize,
    },
    /// A system call failed.
    #[error("cannot serve at unix:{}: {error}", path.display())]
    Bind {
        /// The path.
        path: PathBuf,
        /// The system error.
        error: io::Error,
    },
}

/// Listens at a socket with that access; an inherited one keeps its own.
///
/// # Errors
///
/// Any [`SocketError`] but `NameTooLong`.
pub async fn listen_unix(
    path: &Path,
    access: SocketAccess,
) -> Result<(UnixListener, SocketFile), SocketError> {
    if let Some(listener) = crate::handed::unix(path) {
        let bind_failed = |error| SocketError::Bind { path: path.into(), error };
        return Ok((
            listener.map_err(bind_failed)?,
            SocketFile { path: path.into(), identity: None, lock: None },
        ));
    }
    let name = path.file_name().ok_or_else(|| SocketError::NoFileName { path: path.into() })?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let in_directory = |error: io::Error| SocketError::Directory { path: parent.into(), error };
    DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(in_directory)?;
    // Use the directory by descriptor: later steps refer to the same one, even if a relative path changes its
    // meaning.
    let directory = open_path(parent, OFlags::DIRECTORY).map_err(in_directory)?;
    let through = |name: &std::ffi::OsStr| by_descriptor(&directory).join(name);

    let found = std::fs::symlink_metadata(through(name));
    if found.is_ok_and(|found| !found.file_type().is_socket()) {
        return Err(SocketError::NotASocket { path: path.into() });
    }
    let lock = lock_beside(&through(name)).map_err(in_directory)?.ok_or_else(|| taken(path))?;
    if is_served(&through(name)).await {
        return Err(taken(path));
    }

    let bind_failed = |error| SocketError::Bind { path: path.into(), error };
    let fresh = FreshDirectory::new(&by_descriptor(&directory)).map_err(in_directory)?;
    let (listener, identity) = bind_and_rename(&fresh, &through(name), access).map_err(bind_failed)?;
    Ok((listener, SocketFile { path: path.into(), identity: Some(identity), lock: Some(lock) }))
}

fn bind_and_rename(
    fresh: &FreshDirectory,
    target: &Path,
    access: SocketAccess,
) -> io::Result<(UnixListener, (u64, u64))> {
    let directory = open_path(&fresh.0, OFlags::DIRECTORY)?;
    let bound = by_descriptor(&directory).join("s");
    let listener = UnixListener::bind(&bound)?;
    if access.group.is_some() {
        std::os::unix::fs::chown(&bound, None, access.group)?;
    }
    std::fs::set_permissions(&bound, Permissions::from_mode(access.mode))?;
    let identity = identity(&std::fs::symlink_metadata(&bound)?);
    std::fs::rename(&bound, target).inspect_err(|_| _ = std::fs::remove_file(&bound))?;
    Ok((listener, identity))
}

/// Acquires the lock of the socket at `path`; returns `None` if a hub holds it.
fn lock_beside(path: &Path) -> io::Result<Option<OwnedFd>> {
    let lock_path = lock_path(path);
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    loop {
        let lock = rustix::fs::open(&lock_path, flags, Mode::RUSR | Mode::WUSR)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // Its last owner may have removed the file after it was opened here.
        let locked = rustix::fs::fstat(&lock)?;
        let present = std::fs::symlink_metadata(&lock_path).ok();
        if present.is_some_and(|present| identity(&present) == (locked.st_dev, locked.st_ino)) {
            return Ok(Some(lock));
        }
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    lock_path.into()
}

/// Listens at a socket that only this user may connect to, in an existing directory, without a lock. Replaces a
/// socket file left behind by a dead process.
///
/// # Errors
///
/// Any [`SocketError`] but `NoFileName` and `Directory`.
pub async fn listen_unix_unlocked(
    path: &Path,
    backlog: i32,
) -> Result<(UnixListener, SocketFile), SocketError> {
    let socket = match bind_file(path) {
        Err(SocketError::Bind { error, .. }) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path).await?;
            bind_file(path)?
        }
        bound => bound?,
    };
    let bind_failed = |error| SocketError::Bind { path: path.into(), error };
    let identity = std::fs::symlink_metadata(path).ok().as_ref().map(identity);
    let file = SocketFile { path: path.into(), identity, lock: None };
    rustix::net::listen(&socket, backlog).map_err(|error| bind_failed(error.into()))?;
    Ok((UnixListener::from_std(socket.into()).map_err(bind_failed)?, file))
}

fn bind_file(path: &Path) -> Result<OwnedFd, SocketError> {
    let bind_failed = |error: io::Error| SocketError::Bind { path: path.into(), error };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(|error| bind_failed(error.into()))?;
    // Linux gives the file the mode of the socket: it is never accessible to others.
    fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(|error| bind_failed(error.into()))?;
    let reachable = SocketPath::in_directory(path).map_err(bind_failed)?;
    let limit_bytes = reachable.name_max_bytes();
    let too_long = |_| SocketError::NameTooLong { path: path.into(), limit_bytes };
    let name = SocketAddrUnix::new(reachable.path()).map_err(too_long)?;
    bind(&socket, &name).map_err(|error| bind_failed(error.into()))?;
    Ok(socket)
}

/// Removes a socket file at which no process listens.
async fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let failed = |error| SocketError::Bind { path: path.into(), error };
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::NotASocket { path: path.into() });
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    }
    match connect_unix(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(failed)
        }
        // A process accepts, or its queue is full, or the check is not permitted.
        _ => Err(taken(path)),
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Returns whether a process listens at the socket `path`. The socket of a dead hub exists, too, and refuses
/// connections.
async fn is_served(path: &Path) -> bool {
    let Ok(socket) = open_path(path, OFlags::NOFOLLOW) else { return false };
    match UnixStream::connect(by_descriptor(&socket)).await {
        Ok(_) => true,
        // A full queue or a lack of permission: a process listens.
        Err(error) => error.kind() != io::ErrorKind::ConnectionRefused,
    }
}

fn taken(path: &Path) -> SocketError {
    SocketError::InUse { path: path.into() }
}

fn open_path(path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, flags | OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

fn by_descriptor(descriptor: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))
}

/// A directory that only this user may enter, used between bind and rename.
struct FreshDirectory(PathBuf);

impl FreshDirectory {
    fn new(parent: &Path) -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!(".qmp-hub-{}-{count}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&path) {
            // Left behind by a hub that died with this process id between bind and rename.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                std::fs::remove_dir_all(&path)?;
                DirBuilder::new().mode(0o700).create(&path)?;
            }
            created => created?,
        }
        Ok(Self(path))
    }
}

impl Drop for FreshDirectory {
    fn drop(&mut self) {
        // A directory that cannot be removed does no harm, and there is no caller to report to.
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Returns the refused directory, the user of the hub, and a correction.
fn why_not(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => permissions::not_writable(there(path)),
        _ => format!("{}: {error}; serve at a path that this user may write", path.display()),
    }
}

/// Returns the directory, or its nearest existing ancestor.
fn there(path: &Path) -> &Path {
    let is_there = |path: &&Path| path.as_os_str().is_empty() || std::fs::symlink_metadata(path).is_ok();
    match path.ancestors().find(is_there) {
        Some(found) if !found.as_os_str().is_empty() => found,
        _ => Path::new("."),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another program may have replaced the file with its own socket; that one is kept. A failure is harmless:
        // the next listener replaces a dead socket.
        let present = || std::fs::symlink_metadata(&self.path).ok().as_ref().map(identity);
        if self.identity.is_some() && self.identity == present() {
            let _ = std::fs::remove_file(&self.path);
        }
        if self.lock.is_some() {
            let _ = std::fs::remove_file(lock_path(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net as blocking;

    use super::*;

    #[tokio::test]
    async fn the_socket_is_private_and_goes_away() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("made/on/the/way/hub.sock");
        let listening = listen_at(&path).await.expect("listens");
        let mode = |path: &Path| std::fs::symlink_metadata(path).expect("is there").mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().expect("a parent")), 0o700);
        blocking::UnixStream::connect(&path).expect("somebody listens");
        let names = || {
            let entries = std::fs::read_dir(path.parent().expect("a parent")).expect("readable");
            let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(), ["hub.sock", "hub.sock.lock"], "no trace of the way");
        drop(listening);
        assert_eq!(names(), [""; 0], "neither the socket nor its lock");
    }

    #[tokio::test]
    async fn dead_sockets_are_replaced_and_live_ones_are_not() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("hub.sock");
        let place = format!("unix:{}", path.display());

        drop(blocking::UnixListener::bind(&path).expect("binds"));
        let hub = listen_at(&path).await.expect("replaces a dead socket");
        let taken = format!("another hub is serving at {place}; stop it, or serve at another address");
        assert_eq!(refused(&path).await, taken, "the lock is held");
        drop(hub);

        let other = blocking::UnixListener::bind(&path).expect("binds");
        assert_eq!(refused(&path).await, taken, "no lock, but somebody listens");
        blocking::UnixStream::connect(&path).expect("the socket in use is left alone");
        drop(other);
        listen_at(&path).await.expect("replaces the dead socket");
    }

    #[tokio::test]
    async fn nothing_else_is_replaced() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("notes.txt");
        std::fs::write(&path, "mine").expect("writes");
        let message =
            format!("{} is not a socket; move it away, or serve at another address", path.display());
        assert_eq!(refused(&path).await, message);
        assert_eq!(std::fs::read_to_string(&path).expect("reads"), "mine");

        assert!(refused(&path.join("hub.sock")).await.starts_with("cannot make a socket: "));
        assert_eq!(refused(Path::new("/")).await, "/ cannot name a socket");
    }

    #[tokio::test]
    async fn a_path_may_be_longer_than_a_socket_address() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("d".repeat(120)).join(format!("{}.sock", "s".repeat(120)));
        let listening = listen_at(&path).await.expect("listens");
        let socket = open_path(&path, OFlags::NOFOLLOW).expect("is there");
        blocking::UnixStream::connect(by_descriptor(&socket)).expect("somebody listens");
        assert!(refused(&path).await.starts_with("another hub"));
        drop(listening);
        assert!(!path.exists());
    }

    async fn listen_at(path: &Path) -> Result<(UnixListener, SocketFile), SocketError> {
        listen_unix(path, SocketAccess::OWNER).await
    }

    async fn refused(path: &Path) -> String {
        listen_at(path).await.expect_err("refuses").to_string()
    }
}
