//! The locks of the one hub that writes a journal, and the head that it published last.
//!
//! A hub holds two locks, which the kernel releases however the hub ends: on `FILE.lock`, and on the journal itself,
//! for a file that can be reached by two paths in different directories. The locks are `flock` locks, which are
//! independent of the byte ranges (`fcntl`) that SQLite locks. Closing a descriptor of the journal would drop SQLite's
//! locks, so the descriptor with the `flock` stays open until every connection of this process is closed. A hub that
//! was killed while it started a command leaves its locks to the child process for a moment; the next hub waits for
//! that.
//!
//! `FILE.lock` also holds the journal's identity and the head that was published last. The file is written before the
//! head is published, without waiting for the disk: it survives `kill -9`, and after a power cut it may be older than
//! the journal, never newer. A journal that ends before this head has lost records that were shown to readers.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rustix::fs::{FlockOperation, OFlags};

use super::beside::{FILE_MODE, beside};
use super::error::{JournalError, io_error};
use super::limits::{LEFT_LOCK_MAX, LEFT_LOCK_POLL, NUMBERS_MAX};

/// The descriptor of a journal, which holds the lock on it. Must be dropped after every connection.
pub(super) type LockedJournal = Arc<File>;

/// The locks that make this process the only writer of a journal. Dropping them releases the journal.
#[derive(Debug)]
pub(super) struct WriterLock {
    file: File,
    journal: Option<LockedJournal>,
}

/// The head that a hub published last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublishedHead {
    /// The identity of the journal.
    pub(super) identity: Box<str>,
    /// The last offset that readers could see.
    pub(super) head: u64,
    /// The highest number of an epoch, of all VMs.
    pub(super) epoch: u32,
}

impl PublishedHead {
    /// Reads the head that the hub that wrote the journal at `path` published last, for readers.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let named = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let file =
            OpenOptions::new().read(true).custom_flags(no_follow()).open(beside(&named, ".lock")).ok()?;
        Self::of(&text_of(&file)?)
    }

    fn of(text: &str) -> Option<Self> {
        let mut words = text.lines().nth(1)?.split_whitespace();
        let identity = words.next()?.into();
        let (head, epoch) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        // A head that no hub can have published is ignored.
        (head < NUMBERS_MAX).then_some(Self { identity, head, epoch })
    }
}

impl WriterLock {
    /// Acquires the lock on the file beside `path`.
    pub(super) fn acquire(path: &Path) -> Result<Self, JournalError> {
        // All paths of one file must lead to one lock.
        let named = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let lock_path = beside(&named, ".lock");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            // A link that another user created here must not make this hub write to its target.
            .custom_flags(no_follow())
            .open(&lock_path)
            .map_err(|error| no_link(&lock_path, error))?;
        let found = file.metadata().map_err(|error| io_error(&lock_path, "look at", error))?;
        if !found.is_file() || found.nlink() > 1 {
            return Err(JournalError::Linked { path: lock_path });
        }
        lock(&file, path, &lock_path, || holder(&file))?;
        Ok(Self { file, journal: None })
    }

    /// Acquires the lock on the journal itself, which exists and has no connection of this process yet.
    pub(super) fn acquire_journal(&mut self, path: &Path) -> Result<(), JournalError> {
        refuse_hard_links(path)?;
        let journal = File::open(path).map_err(|error| io_error(path, "open", error))?;
        lock(&journal, path, path, || None)?;
        self.journal = Some(Arc::new(journal));
        Ok(())
    }

    /// The descriptor of the journal, which every other connection of this process must keep.
    pub(super) fn journal(&self) -> Option<LockedJournal> {
        self.journal.clone()
    }

    /// The head that was published last; `None` if the file does not have it.
    pub(super) fn published(&self) -> Option<PublishedHead> {
        PublishedHead::of(&text_of(&self.file)?)
    }

    /// Writes the head that is about to be published, and the process that holds the lock, for the error of a second
    /// hub.
    pub(super) fn publish(&self, published: &PublishedHead) {
        let PublishedHead { identity, head, epoch } = published;
        let pid = std::process::id();
        // The length is constant, so that one write replaces the whole text.
        let text = format!("{pid:<10}\n{identity} {head:020} {epoch:010}\n");
        // Without it a loss of records would go unnoticed, which is no reason to lose records.
        let _ = self.file.write_all_at(text.as_bytes(), 0);
    }
}

impl Drop for WriterLock {
    fn drop(&mut self) {
        // Readers of this process keep the descriptor but not the lock.
        if let Some(journal) = &self.journal {
            let _ = rustix::fs::flock(journal, FlockOperation::Unlock);
        }
    }
}

/// Refuses a journal with several hard links: another hub could open it by another name.
pub(super) fn refuse_hard_links(path: &Path) -> Result<(), JournalError> {
    let links = fs::metadata(path).map_err(|error| io_error(path, "look at", error))?.nlink();
    if links > 1 {
        return Err(JournalError::HardLinked { path: path.into(), links });
    }
    Ok(())
}

/// Flags of `open` that refuse a symbolic link and do not wait for the other end of a FIFO.
pub fn no_follow() -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()
}

fn no_link(path: &Path, error: io::Error) -> JournalError {
    match error.raw_os_error() {
        Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => {
            JournalError::Linked { path: path.into() }
        }
        _ => io_error(path, "make", error),
    }
}

fn lock(
    file: &File,
    journal: &Path,
    path: &Path,
    holder: impl Fn() -> Option<u32>,
) -> Result<(), JournalError> {
    let begun = Instant::now();
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let pid = holder();
                if pid.is_some_and(is_running) || begun.elapsed() > LEFT_LOCK_MAX {
                    return Err(JournalError::Locked { path: journal.into(), pid });
                }
                std::thread::sleep(LEFT_LOCK_POLL);
            }
            Err(error) => return Err(io_error(path, "lock", error.into())),
        }
    }
}

/// The process that the lock file names as the holder.
fn holder(file: &File) -> Option<u32> {
    text_of(file)?.lines().next()?.trim().parse().ok()
}

fn text_of(mut file: &File) -> Option<String> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text)).ok()?;
    Some(text)
}

/// Whether such a process exists, of this user or another.
fn is_running(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}
