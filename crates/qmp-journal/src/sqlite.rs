//! The storage in a file of SQLite.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use qmp_wire::{Epoch, Offset, Seq, UnixMicros};
use rusqlite::Connection;

use super::bounds;
use super::checkpoint::Checkpoint;
use super::checkpoints;
use super::error::{JournalError, io_error};
use super::file;
use super::fill::Fill;
use super::lock::{LockedJournal, PublishedHead, WriterLock};
use super::names::{Names, NewName, Role};
use super::numbering::{Numbering, Plan};
use super::open_summary::OpenSummary;
use super::options::JournalOptions;
use super::prune;
use super::restore;
use super::retention::{Measurement, PrunedRange};
use super::schema;
use super::storage::{LeftOpenEpoch, RestoredJournal, Storage, StorageError};
use super::store;

/// The connection that writes the file, and the locks on it.
#[derive(Debug)]
pub(super) struct SqliteStorage {
    path: PathBuf,
    /// Device and inode of the file that is open.
    file_id: (u64, u64),
    connection: Connection,
    /// The summaries that are missing; `None` before the state is restored.
    fill: Option<Fill>,
    /// After the connection: closing it earlier would drop the locks that SQLite holds.
    lock: WriterLock,
}

impl SqliteStorage {
    /// Opens the file at `path`, or creates it, and locks it.
    ///
    /// # Errors
    ///
    /// Any [`JournalError`] but those of records; a file that is no journal is left unchanged.
    pub(super) fn open(path: &Path) -> Result<Self, JournalError> {
        let (connection, lock) = file::open_writer(path)?;
        let file_id = file_id(path).map_err(|error| io_error(path, "look at", error))?;
        Ok(Self { path: path.to_owned(), file_id, connection, fill: None, lock })
    }

    /// The descriptor of the journal, which every other connection of this process must keep.
    pub(super) fn locked(&self) -> Option<LockedJournal> {
        self.lock.journal()
    }

    /// Fails if the file was moved away: it would accept every write, and no reader would find them.
    fn check_place(&self) -> Result<(), StorageError> {
        let text = match file_id(&self.path) {
            Ok(found) if found == self.file_id => return Ok(()),
            Ok(_) => "another file was put in its place: move it back, or restart the hub".into(),
            Err(error) => format!("the file is missing: move it back, or restart the hub ({error})"),
        };
        Err(StorageError::Moved(text.into()))
    }

    fn restore_sql(&self, options: &JournalOptions) -> rusqlite::Result<RestoredJournal> {
        let Self { path, connection, .. } = self;
        let names = Names::load(connection)?;
        let foreign = Names::foreign(connection)?;
        let mut numbering =
            restore::restore(connection, foreign.keys().copied().collect(), options.segment_records)?;
        if names.unreadable() > 0 {
            tracing::error!(journal = %path.display(), names = names.unreadable(), "names cannot be read");
            numbering.pass_over_unnamed();
        }
        let summary = OpenSummary::restore(connection, options.digest)?;
        let identity = schema::name(connection)?;
        let lost = lost(&self.lock, &identity, &mut numbering);
        let first = bounds::first(connection)?;
        let first_received = store::received(connection, first)?.map(UnixMicros);
        let left_open = left_open(connection, &numbering)?;
        let numbers = |(id, name)| {
            let (epoch, seq) = numbering.foreign_numbers(id)?;
            Some((name, (Epoch(epoch), Seq(seq))))
        };
        let foreign = foreign.into_iter().filter_map(numbers).collect();
        Ok(RestoredJournal {
            identity,
            names,
            numbering,
            summary,
            first,
            first_received,
            left_open,
            lost,
            foreign,
        })
    }
}

impl Storage for SqliteStorage {
    fn path(&self) -> &Path {
        &self.path
    }

    fn restore(&mut self, options: &JournalOptions) -> Result<RestoredJournal, JournalError> {
        let Self { path, connection, .. } = &*self;
        let failed = |doing| move |source| JournalError::Storage { doing, path: path.clone(), source };
        let restored = self.restore_sql(options).map_err(failed("read"))?;
        let fill = Fill::new(connection, options.digest).map_err(failed("read"))?;
        if let Some(lost) = &restored.lost {
            tracing::error!(journal = %path.display(), after = lost.after.0, upto = lost.upto.0, "{}", lost.text());
            store::note_lost(connection, *lost, restored.numbering.max_epoch()).map_err(failed("write"))?;
        }
        match restored.numbering.beyond_limit() {
            Some((number, found)) => Err(JournalError::NumbersEnd { path: path.clone(), number, found }),
            None => {
                self.fill = Some(fill);
                Ok(restored)
            }
        }
    }

    fn find_name(&self, role: Role, name: &str) -> Result<Option<u32>, StorageError> {
        Ok(Names::find(&self.connection, role, name)?)
    }

    async fn commit(&mut self, names: &[NewName], plan: &Plan<'_>) -> Result<(), StorageError> {
        self.check_place()?;
        match store::commit(&mut self.connection, names, plan) {
            // Of a commit that failed after it took effect.
            Err(error) if store::is_conflict(&error) && store::is_committed(&self.connection, plan)? => {
                Ok(())
            }
            committed => Ok(committed?),
        }
    }

    fn publish(&mut self, head: &PublishedHead) {
        self.lock.publish(head);
    }

    fn write_checkpoints(&mut self, checkpoints: &[Checkpoint]) -> Result<(), StorageError> {
        Ok(checkpoints::write(&mut self.connection, checkpoints)?)
    }

    fn measure(&self, oldest: Option<UnixMicros>) -> Result<Measurement, StorageError> {
        Ok(prune::measure(&self.connection, oldest)?)
    }

    fn prune(
        &mut self,
        first: u64,
        upto: u64,
        is_needed: impl Fn(u32) -> bool,
    ) -> Result<HashSet<u32>, StorageError> {
        Ok(prune::remove(&mut self.connection, first, upto, is_needed)?)
    }

    fn fill(&mut self) -> Result<bool, StorageError> {
        let Self { connection, fill, .. } = self;
        Ok(fill.as_mut().map_or(Ok(false), |fill| fill.step(connection))?)
    }

    fn close(self) -> Result<(), JournalError> {
        let Self { connection, path, .. } = self;
        // A journal without a writer is one file. A busy reader may prevent that: nothing is lost then.
        if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
            tracing::warn!(journal = %path.display(), "the write-ahead log stays: {error}");
        }
        connection.close().map_err(|(_, source)| JournalError::Storage { doing: "close", path, source })
    }
}

/// The published records that are missing in the file: its write-ahead log was cut or removed, or the file was replaced
/// with an older copy. New records get other offsets, epochs and numbers.
fn lost(lock: &WriterLock, identity: &str, numbering: &mut Numbering) -> Option<PrunedRange> {
    let published = lock.published().filter(|published| *published.identity == *identity)?;
    let after = Offset(numbering.head());
    (published.head > after.0).then(|| {
        numbering.pass_over(published.head, published.epoch);
        PrunedRange { after, upto: Offset(published.head) }
    })
}

/// The epochs that are open in the file.
fn left_open(connection: &Connection, numbering: &Numbering) -> rusqlite::Result<Vec<LeftOpenEpoch>> {
    let open = numbering.open_epochs().into_iter().map(|(vm, state)| {
        let received = match state.received {
            Some(received) => Some(received),
            None => store::received(connection, state.last)?,
        };
        let (name, received) = (store::name(connection, vm)?, received.map(UnixMicros));
        Ok(LeftOpenEpoch { vm, name, last: state.last, received })
    });
    open.collect()
}

fn file_id(path: &Path) -> std::io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|found| (found.dev(), found.ino()))
}
