//! Reading: history and then what comes, as one sequence.

use std::path::Path;
use std::sync::Arc;

use qmp_wire::{Epoch, Offset, Record, UnixMicros};
use rusqlite::OptionalExtension as _;
use tokio::sync::watch;

use super::checkpoints::{self, Checkpoint};
use super::cursor::Cursor;
use super::damage::DamagedSpan;
use super::error::JournalError;
use super::filter::Filter;
use super::lock::LockedJournal;
use super::query::{Globs, Query};
use super::read::{COLUMNS, ReadConnection, ReadFile};
use super::scan::{self, Direction, Found, Stretch};
use super::segment::minute;
use super::store::{number, unsigned};

/// Reads a journal. Cheap to clone; any number of them beside the writer.
///
/// Its methods read the file, so they may wait for the disk: call them where blocking is allowed.
#[derive(Clone, Debug)]
pub struct Reader {
    file: Arc<ReadFile>,
    /// Where the writer of this process tells how far it is; `None` for a file that others write.
    head: Option<watch::Receiver<Offset>>,
}

/// The last records of a query, and where to read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// In the order of the journal.
    pub records: Vec<Record<'static>>,
    /// The head up to which they are the last ones: a cursor after it misses nothing and repeats nothing.
    pub head: Offset,
}

/// How often an event came within a minute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tally {
    /// The minute's begin, on the receiving host's clock.
    pub minute: UnixMicros,
    /// The event's name.
    pub event: Box<str>,
    /// How many records.
    pub records: u64,
}

/// A VM that the journal knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vm {
    /// Its name.
    pub vm: Box<str>,
    /// Its latest epoch.
    pub epoch: Epoch,
    /// Whether that is open.
    pub attached: bool,
    /// When it opened, or closed; `None` if the record that says so was removed.
    pub since: Option<UnixMicros>,
}

impl Reader {
    /// Opens a file for reading. Nothing is written to it, and a hub may write it meanwhile.
    ///
    /// # Errors
    ///
    /// Any [`JournalError`] but those of writing and of records.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        Ok(Self { file: Arc::new(ReadFile::open(path, None)?), head: None })
    }

    /// A reader of the file that this process writes.
    pub(super) fn beside_writer(
        path: &Path,
        head: watch::Receiver<Offset>,
        locked: Option<LockedJournal>,
    ) -> Result<Self, JournalError> {
        Ok(Self { file: Arc::new(ReadFile::open(path, locked)?), head: Some(head) })
    }

    /// Closes what this reader and its clones do not use right now.
    pub(super) fn keep_none(&self) {
        self.file.keep_none();
    }

    /// Records that cannot be read, as far as this reader and its clones met them. They were passed over.
    #[must_use]
    pub fn damage(&self) -> Vec<DamagedSpan> {
        self.file.damage().spans()
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The last offset that is committed.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] if the file cannot be read.
    pub fn head(&self) -> Result<Offset, JournalError> {
        match &self.head {
            Some(head) => Ok(*head.borrow()),
            None => self.file.with(|connection| connection.head().map(Offset)),
        }
    }

    /// The first offset that is kept; one more than the head if there is no record.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] if the file cannot be read.
    pub fn first(&self) -> Result<Offset, JournalError> {
        self.file.with(|connection| connection.first().map(Offset))
    }

    /// The journal's own name: 32 hexadecimal digits, the same in every copy of the file. `None` for a file that no
    /// hub has opened since journals have one.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] if the file cannot be read.
    pub fn identity(&self) -> Result<Option<Box<str>>, JournalError> {
        let exists = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'identity'";
        self.file.with(|connection| {
            if connection.number(exists)? == 0 {
                return Ok(None);
            }
            connection.sql(|connection| {
                connection.query_row("SELECT id FROM identity", [], |row| row.get(0)).optional()
            })
        })
    }

    /// The checkpoint of a VM.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] if the file cannot be read.
    pub fn checkpoint(&self, vm: &str) -> Result<Option<Checkpoint>, JournalError> {
        self.file.with(|connection| checkpoints::read(connection, vm))
    }

    /// Reads what `query` wants after offset `after`, and then what comes. `Offset(0)` begins at the start.
    #[must_use]
    pub fn cursor(&self, query: Query, after: Offset) -> Cursor {
        Cursor::new(Arc::clone(&self.file), self.head.clone(), query, after)
    }

    /// The last `max` records that `query` wants, as long as they fit in the memory of one batch.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] and [`JournalError::Damaged`].
    pub fn last(&self, query: &Query, max: usize) -> Result<Tail, JournalError> {
        let head = self.file.with(|connection| connection.head())?;
        let (mut filter, mut found) = (Filter::new(query.clone()), Found::default());
        let mut stretch = Stretch { after: 0, upto: head };
        while !stretch.is_empty() && !found.is_full(max) {
            stretch = self.file.with(|connection| {
                scan::read_on(connection, &mut filter, stretch, Direction::Backwards, max, &mut found)
            })?;
        }
        found.records.reverse();
        Ok(Tail { records: found.records, head: Offset(head) })
    }

    /// The last record of each VM, in the order of the journal.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] and [`JournalError::Damaged`].
    pub fn last_of_each_vm(&self) -> Result<Vec<Record<'static>>, JournalError> {
        let sql = format!(
            "WITH behind AS (SELECT vm, max(offset) AS last FROM record WHERE offset > ?1 GROUP BY vm), \
             latest AS (SELECT last FROM behind \
                        UNION ALL SELECT last FROM vm WHERE vm NOT IN (SELECT vm FROM behind)) \
             SELECT {COLUMNS} FROM record WHERE offset IN (SELECT last FROM latest) ORDER BY offset"
        );
        self.file.with(|connection| {
            let sealed = connection.sealed()?;
            let mut records = Vec::new();
            connection.records(&sql, [number(sealed)], &mut |record| {
                records.push(record);
                true
            })?;
            Ok(records)
        })
    }

    /// How often each event came in each minute from the one of `since` up to `until`, by minute and name.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] if the file cannot be read.
    pub fn tally(
        &self,
        event: &Globs,
        since: UnixMicros,
        until: UnixMicros,
    ) -> Result<Vec<Tally>, JournalError> {
        // The last minute is the one that begins before `until`.
        let minutes = (minute(since.0), minute(until.0.saturating_sub(1)));
        self.file.with(|connection| {
            let counts = tally_counts(connection, minutes)?;
            let mut tally = Vec::with_capacity(counts.len());
            for (minute, id, records) in counts {
                let name = connection.name(id)?;
                if event.matches(&name) {
                    let minute = UnixMicros(minute.saturating_mul(60_000_000));
                    tally.push(Tally { minute, event: name, records });
                }
            }
            tally.sort_unstable();
            Ok(tally)
        })
    }

    /// Where the last `epochs` epochs of each VM begin: the offset of the first record of the oldest of them.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] if the file cannot be read.
    pub fn last_epochs(&self, epochs: u32) -> Result<Vec<(Box<str>, Offset)>, JournalError> {
        let sql = "SELECT name.name, min(epoch.opened) \
                   FROM (SELECT vm, max(epoch) AS newest FROM epoch GROUP BY vm) AS latest \
                   JOIN epoch ON epoch.vm = latest.vm AND epoch.epoch > latest.newest - ?1 \
                   JOIN name ON name.id = latest.vm GROUP BY latest.vm";
        self.file.with(|connection| {
            connection.sql(|connection| {
                let mut statement = connection.prepare_cached(sql)?;
                let begins =
                    statement.query_map([epochs], |row| Ok((row.get(0)?, Offset(unsigned(row.get(1)?)))))?;
                begins.collect()
            })
        })
    }

    /// The VMs that were ever attached, by name.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] if the file cannot be read.
    pub fn vms(&self) -> Result<Vec<Vm>, JournalError> {
        let sql = "SELECT name.name, latest.epoch, latest.closed IS NULL, record.received \
                   FROM (SELECT vm, max(epoch) AS epoch FROM epoch GROUP BY vm) AS newest \
                   JOIN epoch AS latest ON latest.vm = newest.vm AND latest.epoch = newest.epoch \
                   JOIN name ON name.id = latest.vm \
                   LEFT JOIN record ON record.offset = coalesce(latest.closed, latest.opened) \
                   ORDER BY name.name";
        self.file.with(|connection| {
            connection.sql(|connection| {
                let mut statement = connection.prepare_cached(sql)?;
                let vms = statement.query_map([], |row| {
                    let (vm, epoch) = (row.get(0)?, Epoch(row.get(1)?));
                    Ok(Vm {
                        vm,
                        epoch,
                        attached: row.get(2)?,
                        since: row.get::<_, Option<i64>>(3)?.map(UnixMicros),
                    })
                })?;
                vms.collect()
            })
        })
    }
}

/// Minute, event and count: of the sealed segments from the table, of the records behind them by counting.
fn tally_counts(
    connection: &ReadConnection,
    (first, last): (i64, i64),
) -> Result<Vec<(i64, u32, u64)>, JournalError> {
    let sealed = number(connection.sealed()?);
    let sql = "SELECT minute, event, sum(records) FROM ( \
                 SELECT minute, event, records FROM tally WHERE minute BETWEEN ?1 AND ?2 \
                 UNION ALL \
                 SELECT minute, event, count(*) AS records FROM ( \
                   SELECT (received - ((received % 60000000) + 60000000) % 60000000) / 60000000 AS minute, event \
                   FROM record WHERE offset > ?3 AND event IS NOT NULL) \
                 WHERE minute BETWEEN ?1 AND ?2 GROUP BY minute, event) \
               GROUP BY minute, event";
    connection.sql(|connection| {
        let mut statement = connection.prepare_cached(sql)?;
        let counts = statement
            .query_map((first, last, sealed), |row| Ok((row.get(0)?, row.get(1)?, unsigned(row.get(2)?))))?;
        counts.collect()
    })
}
