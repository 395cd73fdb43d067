//! Reading: history and live records as one sequence.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use qmp_wire::{Epoch, Offset, Record, UnixMicros};
use rusqlite::OptionalExtension as _;
use tokio::sync::watch;

use super::checkpoint::Checkpoint;
use super::checkpoints;
use super::columns::{minute, number, unsigned};
use super::cursor::Cursor;
use super::damage::DamagedSpan;
use super::error::JournalError;
use super::filter::Filter;
use super::globs::Globs;
use super::lock::LockedJournal;
use super::passing::{read_through, record_at};
use super::query::Query;
use super::read::{ReadConnection, ReadFile};
use super::row::LargeRecord;
use super::rows::{Direction, Stretch};
use super::scan::{self, Matches};

/// Reads a journal. Cheap to clone; any number of readers work beside the writer.
///
/// The methods read the file and may block on the disk: call them where blocking is allowed.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(super) file: Arc<ReadFile>,
    /// The head that the writer of this process publishes; `None` for a file that another process writes.
    head: Option<watch::Receiver<Offset>>,
}

/// The last records of a query, and the offset after which a cursor continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// In the order of the journal.
    pub records: Vec<Record<'static>>,
    /// The head when they were read: a cursor after it misses nothing and repeats nothing.
    pub head: Offset,
}

/// The number of records of an event within a minute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tally {
    /// The begin of the minute, on the receiving host's clock.
    pub minute: UnixMicros,
    /// The event's name.
    pub event: Box<str>,
    /// The number of records.
    pub records: u64,
}

/// A VM of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalVm {
    /// Its name.
    pub vm: Box<str>,
    /// Its latest epoch.
    pub epoch: Epoch,
    /// Whether the epoch is open.
    pub attached: bool,
    /// When the epoch opened or closed; `None` if that record was removed.
    pub since: Option<UnixMicros>,
}

impl Reader {
    /// Opens a file for reading. The reader writes nothing, and a hub may write the file meanwhile.
    ///
    /// # Errors
    ///
    /// Any [`JournalError`] but those of writing and of records.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        Ok(Self { file: Arc::new(ReadFile::open(path, None)?), head: None })
    }

    /// Creates a reader of the file that this process writes.
    pub(super) fn beside_writer(
        path: &Path,
        head: watch::Receiver<Offset>,
        locked: Option<LockedJournal>,
    ) -> Result<Self, JournalError> {
        Ok(Self { file: Arc::new(ReadFile::open(path, locked)?), head: Some(head) })
    }

    /// Closes the idle connections of this reader and its clones.
    pub(super) fn keep_none(&self) {
        self.file.keep_none();
    }

    /// Damage that this reader and its clones have found. Damaged records were skipped.
    #[must_use]
    pub fn damage(&self) -> Vec<DamagedSpan> {
        self.file.damage().spans()
    }

    /// The number of records after `after` and up to `upto` that cannot be read, as far as this reader and its clones
    /// have found them.
    #[must_use]
    pub fn lost_records(&self, after: Offset, upto: Offset) -> u64 {
        let lost = |span: &DamagedSpan| {
            let (first, last) = (span.first.0.max(after.0.saturating_add(1)), span.last.0.min(upto.0));
            last.saturating_add(1).saturating_sub(first)
        };
        self.damage().iter().filter(|span| span.loses_records()).map(lost).sum()
    }

    /// The path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The last committed offset.
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

    /// The first offset that is kept; one more than the head if the journal is empty.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] if the file cannot be read.
    pub fn first(&self) -> Result<Offset, JournalError> {
        self.file.with(|connection| connection.first().map(Offset))
    }

    /// The journal's own name: 32 hexadecimal digits, the same in every copy of the file. `None` for a file that no hub
    /// has opened since journals have a name.
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
        self.file.with(|connection| connection.sql(|connection| checkpoints::read(connection, vm)))
    }

    /// Reads the records that match `query` after offset `after`, then live ones. `Offset(0)` begins at the start.
    #[must_use]
    pub fn cursor(&self, query: Query, after: Offset) -> Cursor {
        Cursor::new(Arc::clone(&self.file), self.head.clone(), query, after)
    }

    /// The last `max` records that match `query`, as many as fit in the memory of one batch.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] and [`JournalError::Damaged`].
    pub fn last(&self, query: &Query, max: usize) -> Result<Tail, JournalError> {
        self.last_upto(query, max, self.head()?)
    }

    /// The last `max` records that match `query`, up to an offset.
    pub(super) fn last_upto(
        &self,
        query: &Query,
        max: usize,
        Offset(head): Offset,
    ) -> Result<Tail, JournalError> {
        let (mut filter, mut matches) = (Filter::new(query.clone()), Matches::default());
        let mut stretch = Stretch { after: 0, upto: head };
        while !stretch.is_empty() && !matches.is_full(max) {
            stretch = self.file.with(|connection| {
                let kept = Stretch { after: stretch.after.max(connection.first()? - 1), ..stretch };
                if kept.is_empty() {
                    return Ok(kept);
                }
                scan::read_on(connection, &mut filter, kept, Direction::Backwards, max, &mut matches)
            })?;
        }
        matches.records.reverse();
        Ok(Tail { records: matches.records, head: Offset(head) })
    }

    /// The offset before the last `max` records that match `query`: a cursor after it yields them, and then live
    /// records.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] and [`JournalError::Damaged`].
    pub fn last_begin(&self, query: &Query, max: usize) -> Result<Offset, JournalError> {
        let head = self.head()?.0;
        let (mut filter, mut matches) = (Filter::new(query.clone()), Matches::offsets());
        let mut stretch = Stretch { after: 0, upto: head };
        while !stretch.is_empty() && !matches.is_full(max) {
            let (left, large) = self.file.with(|connection| {
                let kept = Stretch { after: stretch.after.max(connection.first()? - 1), ..stretch };
                if kept.is_empty() {
                    return Ok((kept, None));
                }
                connection.end_at_large(true);
                let left =
                    scan::read_on(connection, &mut filter, kept, Direction::Backwards, max, &mut matches)?;
                Ok((left, connection.large()))
            })?;
            stretch = left;
            let Some(large) = large else { continue };
            if query.where_.is_empty() || self.large(query, large)?.is_some() {
                matches.offsets.push(large.offset);
            }
            stretch.upto = stretch.upto.min(large.offset.0 - 1);
        }
        Ok(Offset(matches.offsets.last().map_or(head, |first| first.0 - 1)))
    }

    /// Reads a record that a cursor of `query` named as large; `None` if it does not match the conditions on the data,
    /// or was removed.
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
            let unsealed = Stretch { after: sealed.max(first - 1), upto: head };
            read_through(connection, unsealed, "", Direction::Forwards, &mut |record| {
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

    /// The number of records of each event in each minute from that of `since` up to `until`, by minute and name.
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

    /// The first offset of the last `epochs` epochs of each VM: that of the oldest of these epochs.
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
    pub fn vms(&self) -> Result<Vec<JournalVm>, JournalError> {
        let sql = "SELECT name.name, latest.epoch, latest.closed IS NULL, coalesce(latest.closed, latest.opened) \
                   FROM (SELECT vm, max(epoch) AS epoch FROM epoch GROUP BY vm) AS newest \
                   JOIN epoch AS latest ON latest.vm = newest.vm AND latest.epoch = newest.epoch \
                   JOIN name ON name.id = latest.vm ORDER BY name.name";
        self.file.with(|connection| {
            let mut vms = connection.sql(|connection| {
                let mut statement = connection.prepare_cached(sql)?;
                let vms = statement.query_map([], |row| {
                    let vm = JournalVm {
                        vm: row.get(0)?,
                        epoch: Epoch(row.get(1)?),
                        attached: row.get(2)?,
                        since: None,
                    };
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

/// The last record of each VM with a name that is in a sealed segment.
fn last_sealed(connection: &ReadConnection) -> Result<Vec<(Box<str>, u64)>, JournalError> {
    connection.sql(|connection| {
        let sql = "SELECT name.name, vm.last FROM vm JOIN name ON name.id = vm.vm";
        let mut statement = connection.prepare_cached(sql)?;
        let last = statement.query_map([], |row| Ok((row.get(0)?, unsigned(row.get(1)?))))?;
        last.collect()
    })
}

/// Minute, event and count: from the table for the sealed segments, by counting for the records after them.
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
