//! The writer's interface to the place where records are stored.
//!
//! The writer knows this trait only: in a hub it is a file of SQLite ([`SqliteStorage`](super::sqlite::SqliteStorage)), in
//! a test also one that fails, is slow or ends at any commit. ADR 12 says why readers are not behind it.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use qmp_wire::{Epoch, Seq, UnixMicros};

use super::checkpoint::Checkpoint;
use super::error::{JournalError, storage_text};
use super::lock::PublishedHead;
use super::names::{Names, NewName, Role};
use super::numbering::{Numbering, Plan};
use super::open_summary::OpenSummary;
use super::options::JournalOptions;
use super::retention::{Measurement, PrunedRange};

/// The storage of one journal. Only one writer uses it.
///
/// Each method is one transaction: after an error nothing has changed, or all of it has.
pub(super) trait Storage {
    /// The path of the journal, for messages and the sizes of its files.
    fn path(&self) -> &Path;

    /// Restores the state of the writer. Called once, before every other method.
    ///
    /// # Errors
    ///
    /// [`JournalError`] if the storage cannot be read, or has no number left to assign.
    fn restore(&mut self, options: &JournalOptions) -> Result<RestoredJournal, JournalError>;

    /// The id of a name that was committed.
    fn find_name(&self, role: Role, name: &str) -> Result<Option<u32>, StorageError>;

    /// Commits new names, records, positions and seals. Everything is durable when the future ends.
    ///
    /// The writer repeats the call with the same arguments until it succeeds, also if an earlier one has committed them.
    async fn commit(&mut self, names: &[NewName], plan: &Plan<'_>) -> Result<(), StorageError>;

    /// Publishes the committed head to the next writer, before readers can see it: a journal that ends before it has
    /// lost records.
    fn publish(&mut self, head: &PublishedHead);

    /// Replaces the checkpoints of some VMs, not necessarily durably.
    fn write_checkpoints(&mut self, checkpoints: &[Checkpoint]) -> Result<(), StorageError>;

    /// Measures what retention compares with its limits; records received before `oldest` are too old.
    fn measure(&self, oldest: Option<UnixMicros>) -> Result<Measurement, StorageError>;

    /// Removes the records of `first..=upto`, not necessarily durably; returns the ids of names that no record has any
    /// more. `is_needed` is true for names of records in no sealed segment.
    fn prune(
        &mut self,
        first: u64,
        upto: u64,
        is_needed: impl Fn(u32) -> bool,
    ) -> Result<HashSet<u32>, StorageError>;

    /// Makes the next piece of a summary that is missing, not necessarily durably. Returns whether something is left.
    fn fill(&mut self) -> Result<bool, StorageError>;

    /// Closes the storage after the last commit.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] if it cannot be closed.
    fn close(self) -> Result<(), JournalError>;
}

/// The state of a journal at the start of its writer.
#[derive(Debug)]
pub(super) struct RestoredJournal {
    /// The journal's own name.
    pub(super) identity: Box<str>,
    pub(super) names: Names,
    pub(super) numbering: Numbering,
    /// The summary of the records after the last seal.
    pub(super) summary: OpenSummary,
    /// The first offset that is kept.
    pub(super) first: u64,
    /// When that record was received.
    pub(super) first_received: Option<UnixMicros>,
    /// Epochs that the last writer did not close.
    pub(super) left_open: Vec<LeftOpenEpoch>,
    /// Records that were published and are missing.
    pub(super) lost: Option<PrunedRange>,
    /// The last numbers of each VM of other hosts.
    pub(super) foreign: HashMap<Box<str>, (Epoch, Seq)>,
}

/// An epoch that the last writer did not close.
#[derive(Debug)]
pub(super) struct LeftOpenEpoch {
    pub(super) vm: u32,
    pub(super) name: Box<str>,
    /// The offset of the VM's last record.
    pub(super) last: u64,
    /// When that record was received; `None` if it is removed or unreadable.
    pub(super) received: Option<UnixMicros>,
}

/// Errors of the storage; the text has a remedy.
#[derive(Debug, thiserror::Error)]
pub(super) enum StorageError {
    /// SQLite failed.
    #[error("{}", storage_text(.0))]
    Sqlite(#[from] rusqlite::Error),
    /// The file was moved away: it would accept every write, and no reader would find them.
    #[error("{0}")]
    Moved(Box<str>),
}

impl StorageError {
    /// The error of opening the journal at `path`.
    pub(super) fn into_journal_error(self, doing: &'static str, path: PathBuf) -> JournalError {
        match self {
            Self::Sqlite(source) => JournalError::Storage { doing, path, source },
            Self::Moved(text) => {
                JournalError::Io { doing, path, source: std::io::Error::other(String::from(text)) }
            }
        }
    }
}
