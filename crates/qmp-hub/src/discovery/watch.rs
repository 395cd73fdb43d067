//! Directories that are watched with inotify.
//!
//! An event is a hint only: the owner scans again after any event. So its content does not matter, and an overflow of the queue
//! is a hint like any other.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use tokio::net::unix::pipe::Receiver;

/// Directories that one rule watches. The kernel allows a user 8,192 and more, in all programs.
const WATCHED_DIRECTORIES_MAX: usize = 4_096;

/// Room for events that are read at once, in bytes; they are discarded.
const EVENT_BYTES: usize = 4_096;

/// A set of directories.
#[derive(Debug)]
pub(super) struct DirectoryWatch {
    /// The inotify descriptor, read like a pipe: tokio has no type for it that owns the descriptor safely.
    inotify: Receiver,
    directories: HashMap<PathBuf, i32>,
}

impl DirectoryWatch {
    /// An empty set. Must be called in a tokio runtime.
    pub(super) fn new() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self { inotify: Receiver::from_owned_fd_unchecked(inotify)?, directories: HashMap::new() })
    }

    /// Watches exactly these. Returns whether some were added, whose entries may have changed before; with an error, some are
    /// not watched.
    pub(super) fn set(&mut self, wanted: &[PathBuf]) -> (bool, io::Result<()>) {
        let gone: Vec<PathBuf> =
            self.directories.keys().filter(|path| !wanted.contains(path)).cloned().collect();
        for path in gone {
            if let Some(watch) = self.directories.remove(&path) {
                // The kernel removes the watch of a deleted directory. Two paths to one directory have one watch.
                if !self.directories.values().any(|other| *other == watch) {
                    let _ = inotify::remove_watch(&self.inotify, watch);
                }
            }
        }
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ATTRIB
            | WatchFlags::ONLYDIR;
        let mut added = false;
        for path in wanted {
            if self.directories.len() >= WATCHED_DIRECTORIES_MAX {
                return (
                    added,
                    Err(io::Error::other(format!("more than {WATCHED_DIRECTORIES_MAX} directories"))),
                );
            }
            // Adding again shows whether the path leads to another directory than before.
            match inotify::add_watch(&self.inotify, path, flags) {
                Ok(watch) => added |= self.directories.insert(path.clone(), watch) != Some(watch),
                // The directory was removed after the walk: its parent directory has an event for that.
                Err(Errno::NOENT | Errno::NOTDIR) => drop(self.directories.remove(path)),
                Err(error) => return (added, Err(error.into())),
            }
        }
        (added, Ok(()))
    }

    /// Waits for a hint.
    pub(super) async fn hint(&mut self) -> io::Result<()> {
        self.inotify.readable().await?;
        let mut events = [0; EVENT_BYTES];
        while self.inotify.try_read(&mut events).is_ok_and(|bytes| bytes > 0) {}
        Ok(())
    }
}
