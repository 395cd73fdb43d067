//! Reading: history and then what comes, as one sequence.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use qmp_wire::{Epoch, Offset, Record, UnixMicros};
use rusqlite::OptionalExtension as _;
use tokio::sync::watch;

use super::checkpoints::{self, Checkpoint};
use super::columns::{number, unsigned};
use super::cursor::Cursor;
use super::damage::DamagedSpan;
use super::error::JournalError;
use super::filter::Filter;
use super::lock::LockedJournal;
use super::passing::{read_through, record_at};
use super::query::{Globs, Query};
use super::read::{ReadConnection, ReadFile};
use super::row::LargeRecord;
use super::rows::{Direction, Stretch};
use super::scan::{self, Found};
use super::segment::minute;

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

    /// Returns the number of records after `after` and up to `upto` that cannot be read, as far as this reader and its clones
    /// met them.
    #[must_use]
    pub fn lost_records(&self, after: Offset, upto: Offset) -> u64 {
        let lost = |span: &DamagedSpan| {
            let (first, last) = (span.first.0.max(after.0.saturating_add(1)), span.last.0.min(upto.0));
            last.saturating_add(1).saturating_sub(first)
        };
        self.damage().iter().filter(|span| span.loses_records()).map(lost).sum()
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
            None => self.file.with_head(None, |_, head| Ok(Offset(head))),
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
        let head = self.head()?.0;
        let (mut filter, mut found) = (Filter::new(query.clone()), Found::default());
        let mut stretch = Stretch { after: 0, upto: head };
        while !stretch.is_empty() && !found.is_full(max) {
            stretch = self.file.with(|connection| {
                let kept = Stretch { after: stretch.after.max(connection.first()? - 1), ..stretch };
                if kept.is_empty() {
                    return Ok(kept);
                }
                scan::read_on(connection, &mut filter, kept, Direction::Backwards, max, &mut found)
            })?;
        }
        found.records.reverse();
        Ok(Tail { records: found.records, head: Offset(head) })
    }

    /// Where the last `max` records begin that `query` wants: a cursor after that place finds them, and then what comes.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] and [`JournalError::Damaged`].
    pub fn last_begin(&self, query: &Query, max: usize) -> Result<Offset, JournalError> {
        let head = self.head()?.0;
        let (mut filter, mut found) = (Filter::new(query.clone()), Found::offsets());
        let mut stretch = Stretch { after: 0, upto: head };
        while !stretch.is_empty() && !found.is_full(max) {
            let (left, large) = self.file.with(|connection| {
                let kept = Stretch { after: stretch.after.max(connection.first()? - 1), ..stretch };
                if kept.is_empty() {
                    return Ok((kept, None));
                }
                connection.end_at_large(true);
                let left =
                    scan::read_on(connection, &mut filter, kept, Direction::Backwards, max, &mut found)?;
                Ok((left, connection.large()))
            })?;
            stretch = left;
            let Some(large) = large else { continue };
            if query.where_.is_empty() || self.large(query, large)?.is_some() {
                found.offsets.push(large.offset);
            }
            stretch.upto = stretch.upto.min(large.offset.0 - 1);
        }
        Ok(Offset(found.offsets.last().map_or(head, |first| first.0 - 1)))
    }

    /// Reads a record that a cursor of `query` named as large; `None` if it does not match the conditions on the data, or is
    /// gone.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] and [`JournalError::Damaged`].
    pub fn large(&self, query: &Query, large: LargeRecord) -> Result<Option<Record<'static>>, JournalError> {
        let _one_at_a_time = self.file.one_large();
        let record = self.file.with(|connection| record_at(connection, large.offset.0))?;
        Ok(record.filter(|record| query.matches_data(&record.body)))
    }

    /// The last record of each VM, in the order of the journal.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] and [`JournalError::Damaged`].
    pub fn last_of_each_vm(&self) -> Result<Vec<Record<'static>>, JournalError> {
        self.file.with_head(self.head.as_ref(), |connection, head| {
            let (first, sealed) = (connection.first()?, connection.sealed()?);
            let mut last: HashMap<Box<str>, Record<'static>> = HashMap::new();
            let behind = Stretch { after: sealed.max(first - 1), upto: head };
            read_through(connection, behind, "", Direction::Forwards, &mut |record| {
                last.insert(record.vm.as_ref().into(), record);
                true
            })?;
            for (vm, offset) in last_sealed(connection)? {
                if offset >= first
                    && !last.contains_key(&vm)
                    && let Some(record) = record_at(connection, offset)?
                {
                    last.insert(vm, record);
                }
            }
            let mut records: Vec<Record<'static>> = last.into_values().collect();
            records.sort_unstable_by_key(|record| record.offset);
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
        let sql = "SELECT name.name, latest.epoch, latest.closed IS NULL, coalesce(latest.closed, latest.opened) \
                   FROM (SELECT vm, max(epoch) AS epoch FROM epoch GROUP BY vm) AS newest \
                   JOIN epoch AS latest ON latest.vm = newest.vm AND latest.epoch = newest.epoch \
                   JOIN name ON name.id = latest.vm ORDER BY name.name";
        self.file.with(|connection| {
            let mut vms = connection.sql(|connection| {
                let mut statement = connection.prepare_cached(sql)?;
                let vms = statement.query_map([], |row| {
                    let vm =
                        Vm { vm: row.get(0)?, epoch: Epoch(row.get(1)?), attached: row.get(2)?, since: None };
                    Ok((vm, unsigned(row.get(3)?)))
                })?;
                vms.collect::<Result<Vec<_>, _>>()
            })?;
            // One by one: where a record cannot be read, the time of that VM alone is not known.
            for (vm, offset) in &mut vms {
                vm.since = receipt_of(connection, *offset)?;
            }
            Ok(vms.into_iter().map(|(vm, _)| vm).collect())
        })
    }
}

/// Returns the receipt of the record at `offset`, if it is there and can be read.
fn receipt_of(connection: &ReadConnection, offset: u64) -> Result<Option<UnixMicros>, JournalError> {
    let read = connection.sql(|connection| {
        let mut statement = connection.prepare_cached("SELECT received FROM record WHERE offset = ?1")?;
        statement.query_row([number(offset)], |row| row.get(0).map(UnixMicros)).optional()
    });
    match read {
        Err(error) if error.is_damage() => {
            connection.damage().unreadable(offset, offset, &error.to_string());
            Ok(None)
        }
        read => read,
    }
}

/// The last record in a sealed segment of each VM that has a name.
fn last_sealed(connection: &ReadConnection) -> Result<Vec<(Box<str>, u64)>, JournalError> {
    connection.sql(|connection| {
        let sql = "SELECT name.name, vm.last FROM vm JOIN name ON name.id = vm.vm";
        let mut statement = connection.prepare_cached(sql)?;
        let last = statement.query_map([], |row| Ok((row.get(0)?, unsigned(row.get(1)?))))?;
        last.collect()
    })
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
                   SELECT received / 60000000 - (received % 60000000 < 0) AS minute, event \
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
