//! What can go wrong with a journal file, and what to do about it.

use std::io;
use std::path::PathBuf;

use qmp_wire::Offset;

use super::retention::Removed;

/// Errors of opening, reading and closing a journal. Each says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The path names a directory.
    #[error("{} is a directory: name a file in it, such as {}", path.display(), path.join("journal.db").display())]
    Directory {
        /// What was to be opened.
        path: PathBuf,
    },
    /// There is no file to read.
    #[error("there is no journal at {}: start a hub that writes it, or name another file", path.display())]
    Missing {
        /// What was to be opened.
        path: PathBuf,
    },
    /// The file has no bytes. A journal never has none: it is put in place whole.
    #[error("{} is empty and no journal: remove it, or name another file", path.display())]
    Empty {
        /// What was to be opened.
        path: PathBuf,
    },
    /// The file is of another kind.
    #[error("{} is no journal, not even an SQLite file: it was left as it is; name another file", path.display())]
    NotSqlite {
        /// What was to be opened.
        path: PathBuf,
    },
    /// An SQLite file of another application.
    #[error(
        "{} is an SQLite file of another application (application_id {application_id}): it was left as it \
         is; name another file",
        path.display()
    )]
    OtherApplication {
        /// What was to be opened.
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
        /// What was to be opened.
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
        /// What was to be opened.
        path: PathBuf,
        /// The file's format version.
        found: i64,
        /// The version that can be read.
        known: u32,
    },
    /// A write-ahead log lies where a journal is to be created.
    #[error(
        "{} is what a journal left behind that is gone from {}: bring the journal back beside it, or remove \
         it (its records are lost then)",
        wal.display(),
        path.display()
    )]
    StrayWal {
        /// What was to be created.
        path: PathBuf,
        /// The log that lies there.
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
        /// The refusal.
        source: io::Error,
    },
    /// The file can be read, not written.
    #[error(
        "{} cannot be written: give this user write permission for the file and its directory, or name \
         another file",
        path.display()
    )]
    ReadOnly {
        /// What was to be written.
        path: PathBuf,
    },
    /// Another hub writes the file.
    #[error(
        "{} is being written by another hub{}: stop that one, or name another file",
        path.display(),
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    Locked {
        /// What was to be written.
        path: PathBuf,
        /// The other hub's process, if it says.
        pid: Option<u32>,
    },
    /// The file has other names: a hub at one of them would not know of the other.
    #[error(
        "{} has {links} names (hard links), and a hub at another one would write it, too: remove the other names, or \
         copy it with qmp backup",
        path.display()
    )]
    HardLinked {
        /// What was to be written.
        path: PathBuf,
        /// How many names it has.
        links: u64,
    },
    /// Where the hub makes a file of its own stands a link, or no file.
    #[error("{} is a link or no ordinary file, and is not written to: remove it", path.display())]
    Linked {
        /// What was to be written.
        path: PathBuf,
    },
    /// The file has a format that no version writes.
    #[error(
        "{} is damaged: it has journal format {found}, which there is not: keep a copy, and put a backup in its place, \
         or name another file",
        path.display()
    )]
    NoFormat {
        /// What was to be opened.
        path: PathBuf,
        /// The file's format version.
        found: i64,
    },
    /// The file system failed.
    #[error("cannot {doing} {} ({source})", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// SQLite failed.
    #[error("cannot {doing} {}: {}", path.display(), storage_text(source))]
    Storage {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What happened.
        source: rusqlite::Error,
    },
    /// A record cannot be understood: the file was changed by something else.
    #[error("record {} is damaged: {what}", offset.0)]
    Damaged {
        /// Which record.
        offset: Offset,
        /// What is wrong with it.
        what: Box<str>,
    },
    /// The file has a number that no hub can have given, and none higher is left for what comes.
    #[error(
        "{} is damaged: its last {number} is {found}, after which nothing can be written: keep a copy, and put a \
         backup in its place, or name another file",
        path.display()
    )]
    NumbersEnd {
        /// What was to be written.
        path: PathBuf,
        /// Of what the number is.
        number: &'static str,
        /// The number.
        found: u64,
    },
    /// Retention took records before they were read.
    #[error(
        "{} records ({} to {}) were removed from the journal before they were read",
        removed.records(), removed.after.0 + 1, removed.upto.0
    )]
    Removed {
        /// Which records.
        removed: Removed,
    },
    /// The journal was closed while the disk took nothing.
    #[error("{records} records could not be written before the journal was closed: {detail}")]
    Unwritten {
        /// How many records are lost with the process.
        records: u64,
        /// Why they could not be written.
        detail: Box<str>,
    },
    /// The journal was closed: nothing will be appended any more.
    #[error(transparent)]
    Ended(#[from] JournalEnded),
}

/// The journal was closed, or its writer died: nothing will be appended any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal is closed")]
pub struct JournalEnded;

/// What an SQLite error means for the one who has to act.
pub(crate) fn storage_text(error: &rusqlite::Error) -> String {
    use rusqlite::ErrorCode as Code;
    let advice = match error.sqlite_error_code() {
        Some(Code::DiskFull) => "the disk is full: free some space",
        Some(Code::SystemIoFailure) => "the disk fails: see the system's log",
        Some(Code::DatabaseBusy | Code::DatabaseLocked) => {
            "another program holds a lock: end its transaction (an open `sqlite3`, a backup)"
        }
        Some(Code::DatabaseCorrupt) => {
            "the file is damaged: keep a copy, and recover it with `sqlite3 FILE .recover`"
        }
        Some(Code::ReadOnly) => "the file system is read-only, or the file lost its write permission",
        Some(Code::CannotOpen) => "a file of the journal cannot be opened: it, or its directory, is gone",
        _ => return error.to_string(),
    };
    format!("{advice} ({error})")
}
