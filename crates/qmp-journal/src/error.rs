//! Errors of a journal file, each with a remedy.

use std::io;
use std::path::{Path, PathBuf};

use qmp_wire::Offset;

use super::retention::PrunedRange;

/// Errors of opening, reading and closing a journal. Each message names a remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The path names a directory.
    #[error("{} is a directory: name a file in it, such as {}", path.display(), path.join("journal.db").display())]
    Directory {
        /// The path that was to be opened.
        path: PathBuf,
    },
    /// There is no file to read.
    #[error("there is no journal at {}: start a hub that writes it, or name another file", path.display())]
    Missing {
        /// The path that was to be opened.
        path: PathBuf,
    },
    /// The file has no bytes. No journal is ever empty, since it is put in place complete.
    #[error("{} is empty and no journal: remove it, or name another file", path.display())]
    Empty {
        /// The path that was to be opened.
        path: PathBuf,
    },
    /// The file is of another kind.
    #[error("{} is no journal, not even an SQLite file: it was left as it is; name another file", path.display())]
    NotSqlite {
        /// The path that was to be opened.
        path: PathBuf,
    },
    /// An SQLite file of another application.
    #[error(
        "{} is an SQLite file of another application (application_id {application_id}): it was left as it \
         is; name another file",
        path.display()
    )]
    OtherApplication {
        /// The path that was to be opened.
        path: PathBuf,
        /// The file's `PRAGMA application_id`.
        application_id: i64,
    },
    /// A later version of this program wrote the file.
    #[error(
        "{} was made by a newer qmp-events (journal format {found}; this one knows up to {known}): use that one, \
         or name another file",
        path.display()
    )]
    NewerFormat {
        /// The path that was to be opened.
        path: PathBuf,
        /// The file's format version.
        found: i64,
        /// The latest version that can be read.
        known: u32,
    },
    /// The file has an earlier format, and a reader does not change files.
    #[error(
        "{} has the earlier journal format {found}: start a hub on it once, which brings it to format {known}",
        path.display()
    )]
    OlderFormat {
        /// The path that was to be opened.
        path: PathBuf,
        /// The file's format version.
        found: i64,
        /// The version that can be read.
        known: u32,
    },
    /// A write-ahead log lies at the place of a journal that is to be created.
    #[error(
        "{} is the write-ahead log of a journal that is missing at {}: put the journal back beside it, or remove \
         it (its records are lost then)",
        wal.display(),
        path.display()
    )]
    StrayWal {
        /// The journal that was to be created.
        path: PathBuf,
        /// The log.
        wal: PathBuf,
    },
    /// The operating system refused access.
    #[error(
        "no permission for {} as {} ({source}): run as a user who has it, or name another file",
        path.display(),
        qmp_host::permissions::this_user()
    )]
    NoPermission {
        /// The file or directory.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file can be read but not written.
    #[error(
        "{} cannot be written: give this user write permission for the file and its directory, or name \
         another file",
        path.display()
    )]
    ReadOnly {
        /// The file that was to be written.
        path: PathBuf,
    },
    /// Another hub writes the file.
    #[error(
        "{} is being written by another hub{}: stop that one, or name another file",
        path.display(),
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    Locked {
        /// The file that was to be written.
        path: PathBuf,
        /// The process of the other hub, if known.
        pid: Option<u32>,
    },
    /// The file has several hard links: a hub that opened another one would not notice this one.
    #[error(
        "{} has {links} names (hard links), and a hub at another one would write it, too: remove the other names, or \
         copy it with qmp backup",
        path.display()
    )]
    HardLinked {
        /// The file that was to be written.
        path: PathBuf,
        /// The number of links.
        links: u64,
    },
    /// The place of a file that the hub creates has a link, or a file that is not regular.
    #[error("{} is a link or no ordinary file, and is not written to: remove it", path.display())]
    Linked {
        /// The file that was to be written.
        path: PathBuf,
    },
    /// The file has a format that no version writes.
    #[error(
        "{} is damaged: it has journal format {found}, which does not exist: keep a copy, and put a backup in its place, \
         or name another file",
        path.display()
    )]
    NoFormat {
        /// The path that was to be opened.
        path: PathBuf,
        /// The file's format version.
        found: i64,
    },
    /// The file system failed.
    #[error("cannot {doing} {} ({source})", path.display())]
    Io {
        /// The operation.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// SQLite failed.
    #[error("cannot {doing} {}: {}", path.display(), storage_text(source))]
    Storage {
        /// The operation.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: rusqlite::Error,
    },
    /// A record is invalid: another program changed the file.
    #[error("record {} is damaged: {what}", offset.0)]
    Damaged {
        /// The offset of the record.
        offset: Offset,
        /// The fault.
        what: Box<str>,
    },
    /// The file has a number that no hub can have assigned, and no higher number is left to assign.
    #[error(
        "{} is damaged: its last {number} is {found}, after which nothing can be written: keep a copy, and put a \
         backup in its place, or name another file",
        path.display()
    )]
    NumbersEnd {
        /// The file that was to be written.
        path: PathBuf,
        /// The kind of the number.
        number: &'static str,
        /// The number.
        found: u64,
    },
    /// Retention removed records before they were read.
    #[error(
        "{} records ({} to {}) were removed from the journal before they were read",
        removed.records(), removed.after.0 + 1, removed.upto.0
    )]
    Removed {
        /// The removed records.
        removed: PrunedRange,
    },
    /// The journal was closed while the disk refused writes.
    #[error("{records} records could not be written before the journal was closed: {detail}")]
    Unwritten {
        /// How many records are lost with the process.
        records: u64,
        /// The error of the last try.
        detail: Box<str>,
    },
    /// The journal was closed: no record will be appended any more.
    #[error(transparent)]
    Ended(#[from] JournalEnded),
}

/// The queue is full, because the disk does not keep up. The batch was not accepted.
///
/// Drafts that the caller cannot keep are lost to the journal; close the span that may have lost some with the reason
/// `overrun`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal's queue is full: the disk does not keep up")]
pub struct Overrun;

/// The journal was closed, or its writer ended: no record will be appended any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal is closed")]
pub struct JournalEnded;

/// The text of an SQLite error, with what the operator can do.
pub(crate) fn storage_text(error: &rusqlite::Error) -> String {
    use rusqlite::ErrorCode as Code;
    let advice = match error.sqlite_error_code() {
        Some(Code::DiskFull) => "the disk is full: free some space",
        Some(Code::SystemIoFailure) => "the disk fails: see the system's log",
        Some(Code::DatabaseBusy | Code::DatabaseLocked) => {
            "another program holds a lock: end its transaction (an open `sqlite3`, a backup)"
        }
        Some(Code::DatabaseCorrupt) => {
            "the file is damaged: `qmp log --journal FILE --json` prints the records that can be read; keep a copy, and \
             put a backup in its place"
        }
        Some(Code::ReadOnly) => "the file system is read-only, or the file lost its write permission",
        Some(Code::CannotOpen) => "a file of the journal cannot be opened: it, or its directory, is missing",
        _ => return error.to_string(),
    };
    format!("{advice} ({error})")
}

/// The error of an operation of the file system on `path`.
pub(super) fn io_error(path: &Path, doing: &'static str, source: io::Error) -> JournalError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::PermissionDenied => JournalError::NoPermission { path, source },
        io::ErrorKind::ReadOnlyFilesystem => JournalError::ReadOnly { path },
        _ => JournalError::Io { doing, path, source },
    }
}
