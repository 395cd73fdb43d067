//! A copy of a journal, made while a hub writes it.
//!
//! SQLite's `VACUUM INTO` writes one snapshot in one read transaction: the writer continues, and its write-ahead log is
//! not emptied meanwhile. (SQLite's backup API restarts whenever another process writes.) The copy is made under
//! another name, checked, and renamed into place when complete. The copy is compact, and one file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use qmp_wire::Offset;
use rusqlite::InterruptHandle;
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::beside::{FILE_MODE, beside};
use super::damage::is_damage;
use super::error::{JournalError, storage_text};
use super::lock::PublishedHead;
use super::read::ReadConnection;
use super::verify::verify;

/// How many faults of a copy an error lists one by one: more would hide the first.
const FAULTS_SHOWN_MAX: usize = 20;

/// An open journal of which a copy can be made.
#[derive(Debug)]
pub struct Backup {
    journal: PathBuf,
    connection: ReadConnection,
}

/// The extent and size of a finished copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupSummary {
    /// The first offset in the copy; one more than `head` if it has no record.
    pub first: Offset,
    /// The last offset.
    pub head: Offset,
    /// Size of the copy.
    pub bytes: u64,
}

/// Errors of making a copy. After an error, nothing was put in place, and an existing file at the destination is
/// unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The destination exists.
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
        /// The evidence that it is in use.
        why: Box<str>,
    },
    /// The copy cannot be written.
    #[error("cannot write {}: {why}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        why: Box<str>,
    },
    /// The copy differs from the journal: the journal is damaged, or the disk of the copy fails.
    #[error("the copy is damaged, and was discarded: {what}")]
    Damaged {
        /// The faults of the copy.
        what: Box<str>,
    },
}

impl Backup {
    /// Opens a journal for copying; a hub may be writing it.
    ///
    /// # Errors
    ///
    /// Any [`JournalError`] but those of writing and of records.
    pub fn open(journal: &Path) -> Result<Self, JournalError> {
        Ok(Self { journal: journal.into(), connection: ReadConnection::open(journal)? })
    }

    /// Returns a handle that makes [`write`](Self::write) fail from another thread.
    #[must_use]
    pub fn interrupter(&self) -> InterruptHandle {
        self.connection.interrupter()
    }

    /// Makes the copy at `to` and checks it. Blocks on the disk for as long as copying takes.
    ///
    /// # Errors
    ///
    /// Any [`BackupError`].
    pub fn write(self, to: &Path, replace: bool) -> Result<BackupSummary, BackupError> {
        self.refuse(to, replace)?;
        let draft = beside(to, &format!(".{}.part", std::process::id()));
        let made = self.make(&draft).and_then(|copied| put_in_place(&draft, to, replace).map(|()| copied));
        if made.is_err() {
            // An error of the removal would only hide the first error.
            let _ = fs::remove_file(&draft);
        }
        made
    }

    /// Refuses a destination that must not be replaced, before anything is written.
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

    fn make(&self, draft: &Path) -> Result<BackupSummary, BackupError> {
        let failed = |why: String| BackupError::Write { path: draft.into(), why: why.into() };
        let text = draft.to_str().ok_or_else(|| failed("its name is no UTF-8".into()))?;
        let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(draft);
        let file = file.map_err(|error| failed(error.to_string()))?;
        let published = PublishedHead::read(&self.journal);
        let (first, head) = (self.connection.first()?, self.connection.head_with(published.as_ref())?);
        self.connection.connection().execute("VACUUM INTO ?1", [text]).map_err(|error| {
            match is_damage(&error) {
                // The copy is new: the damage is in the journal.
                true => {
                    JournalError::Storage { doing: "copy", path: self.journal.clone(), source: error }.into()
                }
                false => failed(storage_text(&error)),
            }
        })?;
        file.sync_all().map_err(|error| failed(error.to_string()))?;
        let copied = examine(draft)?;
        // The journal may have grown, or lost old records to retention, before the copy's transaction began.
        if copied.head.0 < head || copied.first.0 < first {
            let what = format!("it ends at offset {}, and the journal at {head}", copied.head.0);
            return Err(BackupError::Damaged { what: what.into() });
        }
        Ok(copied)
    }
}

/// Reads every record of a copy, and compares all redundant data in it.
fn examine(draft: &Path) -> Result<BackupSummary, BackupError> {
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
    Ok(BackupSummary { first: found.first, head: found.head, bytes })
}

fn put_in_place(draft: &Path, to: &Path, replace: bool) -> Result<(), BackupError> {
    let failed = |error: io::Error| BackupError::Write { path: to.into(), why: error.to_string().into() };
    if replace {
        fs::rename(draft, to).map_err(failed)?;
    } else {
        match rustix::fs::renameat_with(CWD, draft, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(BackupError::Exists { path: to.into() }),
            // A file system without `RENAME_NOREPLACE`, such as NFS: `refuse` checked the destination just before.
            Err(Errno::INVAL | Errno::NOSYS) => fs::rename(draft, to).map_err(failed)?,
            Err(error) => return Err(failed(error.into())),
        }
    }
    let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
}
