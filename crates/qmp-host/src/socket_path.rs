//! Paths of unix sockets that are longer than the address of a socket.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use tokio::net::UnixStream;

/// Maximum length of a path in the address of a unix socket, in bytes; the NUL after it is the 108th.
///
/// Source: unix(7), `sun_path`.
pub const SOCKET_PATH_MAX_BYTES: usize = 107;

/// Connects to a unix socket with a path of any length.
///
/// # Errors
///
/// A system error.
pub async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let reachable = SocketPath::of_file(path)?;
    UnixStream::connect(reachable.path()).await
}

/// A path that fits the address of a socket: the path itself, or one through an open descriptor.
#[derive(Debug)]
pub struct SocketPath {
    path: PathBuf,
    directory_bytes: usize,
    /// Keeps the descriptor of the path open.
    _through: Option<OwnedFd>,
}

impl SocketPath {
    /// Returns a path to an existing socket file.
    ///
    /// # Errors
    ///
    /// The error of opening the file.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= SOCKET_PATH_MAX_BYTES {
            return Ok(Self::short(path));
        }
        let file = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Ok(Self { path, directory_bytes: 0, _through: Some(file) })
    }

    /// Returns a path to a socket file to be created.
    ///
    /// # Errors
    ///
    /// The error of opening the directory.
    pub fn in_directory(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= SOCKET_PATH_MAX_BYTES {
            return Ok(Self::short(path));
        }
        let parent = path.parent().unwrap_or(Path::new("/"));
        let directory = open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let short = format!("/proc/self/fd/{}/", directory.as_raw_fd());
        let name = path.file_name().unwrap_or(OsStr::from_bytes(b""));
        let directory_bytes = short.len();
        Ok(Self { path: PathBuf::from(short).join(name), directory_bytes, _through: Some(directory) })
    }

    /// Returns the path, or the one through the descriptor.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the maximum length of the file's name, in bytes.
    #[must_use]
    pub fn name_max_bytes(&self) -> usize {
        SOCKET_PATH_MAX_BYTES - self.directory_bytes
    }

    fn short(path: &Path) -> Self {
        Self { path: path.to_owned(), directory_bytes: 0, _through: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_paths_become_short_ones() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("d".repeat(100));
        std::fs::create_dir(&deep).unwrap();
        let cases = [(107, true), (108, false)];
        for (bytes, as_it_is) in cases {
            let path = deep.join("n".repeat(bytes)).display().to_string();
            let path = PathBuf::from(&path[path.len() - bytes..]);
            assert_eq!(SocketPath::of_file(&path).is_ok_and(|way| way.path() == path), as_it_is, "{bytes}");
        }
        let way = SocketPath::in_directory(&deep.join("qmp")).unwrap();
        assert!(way.path().starts_with("/proc/self/fd") && way.path().ends_with("qmp"), "{way:?}");
        assert!(SocketPath::in_directory(&deep.join("none/qmp")).is_err());
    }
}
