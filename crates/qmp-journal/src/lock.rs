//! One hub at a time writes a journal, and what the last one published.
//!
//! A hub holds two locks, which the kernel takes back however the hub ends: on `FILE.lock`, and on the journal itself,
//! for a file that can be reached by two paths in different directories. Both are taken with `flock`, which does not
//! meet the byte ranges (`fcntl`) by which SQLite locks. Closing a descriptor of the journal would drop those, so the
//! one that has the lock stays open until every connection of this process is closed. A hub that was killed while it
//! started a command leaves its locks to that for a moment, which is waited for.
//!
//! `FILE.lock` also holds the journal's identity and the head that was published last. It is written before the head is
//! published, without waiting for the disk: it survives `kill -9`, and after a power cut it may be older than the
//! journal, never newer. A journal that ends before this head has lost records that were shown to readers.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rustix::fs::{FlockOperation, OFlags};

use super::error::JournalError;
use super::file::{FILE_MODE, beside, io_error};
use super::limits::{LEFT_LOCK_MAX, LEFT_LOCK_POLL, NUMBERS_MAX};

/// A journal by its descriptor, which holds the lock on it. To be dropped after every connection.
pub(super) type LockedJournal = Arc<File>;

/// Shows that this process is the one that writes a journal; others may from the moment it is dropped.
#[derive(Debug)]
pub(super) struct WriterLock {
    file: File,
    journal: Option<LockedJournal>,
}

/// What a hub published last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Published {
    /// The journal that it is about.
    pub(super) identity: Box<str>,
    /// The last offset that readers could see.
    pub(super) head: u64,
    /// The highest number of an epoch, of all VMs.
    pub(super) epoch: u32,
}

impl Published {
    /// What the last hub published that wrote the journal at `path`, for its readers.
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
        // What no hub can have published is not believed.
        (head < NUMBERS_MAX).then_some(Self { identity, head, epoch })
    }
}

impl WriterLock {
    /// Takes the lock on the file beside `path`.
    pub(super) fn acquire(path: &Path) -> Result<Self, JournalError> {
        // Two names of one file are one journal.
        let named = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let lock_path = beside(&named, ".lock");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            // A link that another user laid here must not make this hub write to its target.
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

    /// Takes the lock on the journal itself, which exists by now and has no connection of this process yet.
    pub(super) fn acquire_journal(&mut self, path: &Path) -> Result<(), JournalError> {
        refuse_hard_links(path)?;
        let journal = File::open(path).map_err(|error| io_error(path, "open", error))?;
        lock(&journal, path, path, || None)?;
        self.journal = Some(Arc::new(journal));
        Ok(())
    }

    /// The descriptor of the journal, for every other connection of this process to keep.
    pub(super) fn journal(&self) -> Option<LockedJournal> {
        self.journal.clone()
    }

    /// What was published last, if the file tells.
    pub(super) fn published(&self) -> Option<Published> {
        Published::of(&text_of(&self.file)?)
    }

    /// Notes what is about to be published. Also says who holds the lock, for the message to whoever comes second.
    pub(super) fn publish(&self, published: &Published) {
        let Published { identity, head, epoch } = published;
        let pid = std::process::id();
        // Always as long: it is replaced in one write.
        let text = format!("{pid:<10}\n{identity} {head:020} {epoch:010}\n");
        // Without it a loss of records would not be noticed, which is no reason to lose some.
        let _ = self.file.write_all_at(text.as_bytes(), 0);
    }
}

impl Drop for WriterLock {
    fn drop(&mut self) {
        // Readers of this process keep the descriptor, and not the lock.
        if let Some(journal) = &self.journal {
            let _ = rustix::fs::flock(journal, FlockOperation::Unlock);
        }
    }
}

/// Refuses a journal that another hub could reach by another name in its directory or another one.
pub(super) fn refuse_hard_links(path: &Path) -> Result<(), JournalError> {
    let links = fs::metadata(path).map_err(|error| io_error(path, "look at", error))?.nlink();
    if links > 1 {
        return Err(JournalError::HardLinked { path: path.into(), links });
    }
    Ok(())
}

/// Opens no symbolic link, and waits for no other end of a FIFO.
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
                if pid.is_some_and(is_there) || begun.elapsed() > LEFT_LOCK_MAX {
                    return Err(JournalError::Locked { path: journal.into(), pid });
                }
                std::thread::sleep(LEFT_LOCK_POLL);
            }
            Err(error) => return Err(io_error(path, "lock", error.into())),
        }
    }
}

/// The process that says that it holds the lock.
fn holder(file: &File) -> Option<u32> {
    text_of(file)?.lines().next()?.trim().parse().ok()
}

fn text_of(mut file: &File) -> Option<String> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text)).ok()?;
    Some(text)
}

/// Whether there is such a process; it may be another user's.
fn is_there(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}
