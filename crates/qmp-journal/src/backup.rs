//! A copy of a journal, made while a hub writes it.
//!
//! SQLite's `VACUUM INTO` writes what one moment shows, in one read transaction: the writer goes on, and its
//! write-ahead log is not emptied meanwhile. (SQLite's backup API begins anew whenever another process writes.)
//! The copy is made under another name, checked, and put in place whole. It is compact, and one file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use qmp_wire::Offset;
use rusqlite::InterruptHandle;
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::error::{JournalError, storage_text};
use super::file::{FILE_MODE, beside};
use super::lock::Published;
use super::read::ReadConnection;
use super::verify::verify;

/// How many faults of a copy are told one by one: more would hide the first.
const FAULTS_SHOWN_MAX: usize = 20;

/// A journal that is to be copied.
#[derive(Debug)]
pub struct Backup {
    journal: PathBuf,
    connection: ReadConnection,
}

/// What was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The first offset in the copy; one more than `head` if it has no record.
    pub first: Offset,
    /// The last offset.
    pub head: Offset,
    /// Size of the copy.
    pub bytes: u64,
}

/// Errors of making a copy. Nothing was put in place, and what stood there is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Something stands where the copy is to stand.
    #[error("{} exists: name another file, or replace it with --force", path.display())]
    Exists {
        /// The copy.
        path: PathBuf,
    },
    /// The copy would replace the journal itself, or one that is in use.
    #[error("{} is a journal in use ({why}): name another file", path.display())]
    InUse {
        /// The copy.
        path: PathBuf,
        /// What shows it.
        why: Box<str>,
    },
    /// The copy cannot be written.
    #[error("cannot write {}: {why}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What happened.
        why: Box<str>,
    },
    /// The copy is not what was to be copied: the journal is damaged, or the disk of the copy fails.
    #[error("the copy is damaged, and was thrown away: {what}")]
    Damaged {
        /// What is wrong with it.
        what: Box<str>,
    },
}

impl Backup {
    /// Opens the journal to be copied, whether a hub writes it or not.
    ///
    /// # Errors
    ///
    /// Any [`JournalError`] but those of writing and of records.
    pub fn open(journal: &Path) -> Result<Self, JournalError> {
        Ok(Self { journal: journal.into(), connection: ReadConnection::open(journal)? })
    }

    /// Ends [`write`](Self::write) with an error from another thread.
    #[must_use]
    pub fn interrupter(&self) -> InterruptHandle {
        self.connection.interrupter()
    }

    /// Makes the copy at `to`, and checks it. Waits for the disk, for as long as copying takes.
    ///
    /// # Errors
    ///
    /// Any [`BackupError`].
    pub fn write(self, to: &Path, replace: bool) -> Result<Copied, BackupError> {
        self.refuse(to, replace)?;
        let draft = beside(to, &format!(".{}.part", std::process::id()));
        let made = self.make(&draft).and_then(|copied| put_in_place(&draft, to, replace).map(|()| copied));
        if made.is_err() {
            // Its own failure is less to say than what was said already.
            let _ = fs::remove_file(&draft);
        }
        made
    }

    /// Refuses what could harm, before anything is written.
    fn refuse(&self, to: &Path, replace: bool) -> Result<(), BackupError> {
        let in_use = |why: &str| Err(BackupError::InUse { path: to.into(), why: why.into() });
        let log = beside(to, "-wal");
        if log.exists() {
            return in_use(&format!("{} belongs to it", log.display()));
        }
        let (Ok(there), Ok(journal)) = (fs::metadata(to), fs::metadata(&self.journal)) else { return Ok(()) };
        if (there.dev(), there.ino()) == (journal.dev(), journal.ino()) {
            return in_use("it is the one to be copied");
        }
        if replace && there.is_file() { Ok(()) } else { Err(BackupError::Exists { path: to.into() }) }
    }

    fn make(&self, draft: &Path) -> Result<Copied, BackupError> {
        let failed = |why: String| BackupError::Write { path: draft.into(), why: why.into() };
        let text = draft.to_str().ok_or_else(|| failed("its name is no UTF-8".into()))?;
        let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(draft);
        let file = file.map_err(|error| failed(error.to_string()))?;
        let published = Published::read(&self.journal);
        let (first, head) = (self.connection.first()?, self.connection.head_with(published.as_ref())?);
        self.connection
            .connection()
            .execute("VACUUM INTO ?1", [text])
            .map_err(|error| failed(storage_text(&error)))?;
        file.sync_all().map_err(|error| failed(error.to_string()))?;
        let copied = examine(draft)?;
        // The journal may have grown, or lost old records, before the copy's transaction began.
        if copied.head.0 < head || copied.first.0 < first {
            let what = format!("it ends at offset {}, and the journal at {head}", copied.head.0);
            return Err(BackupError::Damaged { what: what.into() });
        }
        Ok(copied)
    }
}

/// Reads every record of a copy, and compares everything that is in it twice.
fn examine(draft: &Path) -> Result<Copied, BackupError> {
    let damaged = |what: String| BackupError::Damaged { what: what.into() };
    let found = verify(draft)?;
    if !found.faults.is_empty() {
        let shown = found.faults.iter().take(FAULTS_SHOWN_MAX).map(|fault| &**fault).collect::<Vec<_>>();
        let more = found.faults.len() as u64 - shown.len() as u64 + found.more_faults;
        let more =
            if more > 0 { format!("; and {more} more, see qmp journal verify") } else { String::new() };
        return Err(damaged(shown.join("; ") + &more));
    }
    let bytes = fs::metadata(draft).map_or(0, |found| found.len());
    Ok(Copied { first: found.first, head: found.head, bytes })
}

fn put_in_place(draft: &Path, to: &Path, replace: bool) -> Result<(), BackupError> {
    let failed = |error: io::Error| BackupError::Write { path: to.into(), why: error.to_string().into() };
    if replace {
        fs::rename(draft, to).map_err(failed)?;
    } else {
        match rustix::fs::renameat_with(CWD, draft, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(BackupError::Exists { path: to.into() }),
            // A file system that cannot promise it, such as NFS: it was looked at a moment ago.
            Err(Errno::INVAL | Errno::NOSYS) => fs::rename(draft, to).map_err(failed)?,
            Err(error) => return Err(failed(error.into())),
        }
    }
    let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
}
