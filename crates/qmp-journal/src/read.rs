//! Connections for reading, shared by the readers of one file.
//!
//! A connection is taken for the time of one read transaction, so that a reader who waits holds nothing.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use qmp_host::journal_connections_max;
use qmp_wire::{Epoch, Offset, Record, Seq, UnixMicros};
use rusqlite::{Connection, InterruptHandle, Row};
use tokio::sync::watch;

use super::body::{self, Kind};
use super::bounds;
use super::columns::{EventTime, SEALED, unsigned};
use super::damage::{DamageLog, is_damage};
use super::error::JournalError;
use super::file;
use super::limits::{LARGE_RECORD_BYTES, NAMES_CACHED_MAX_BYTES, READ_CONNECTIONS_IDLE_MAX};
use super::lock::{LockedJournal, Published};
use super::names::cached_bytes;
use super::sent_names;

/// The columns that [`RowReader::read`] reads, in its order: a record if `condition` holds, ` AND …` or nothing.
///
/// Other rows are rows, too: a reader sees that none is missing. Their data stays where it is.
/// Nor does SQLite read the data of a large record, if readers `end_at_large` ones.
pub(super) fn columns_if(condition: &str, end_at_large: bool) -> String {
    let data = match (condition, end_at_large) {
        ("", false) => "data".into(),
        (_, false) => format!("CASE WHEN 1{condition} THEN data END"),
        (_, true) => {
            format!("CASE WHEN 1{condition} AND octet_length(data) <= {LARGE_RECORD_BYTES} THEN data END")
        }
    };
    format!(
        "offset, vm, epoch, seq, kind, received, event, event_time, {data}, 1{condition}, octet_length(data)"
    )
}

/// A record that takes much memory, and was not read for that reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LargeRecord {
    /// Where it stands.
    pub offset: Offset,
    /// How long its data is, in bytes.
    pub data_bytes: usize,
}

/// One file and the connections to it that nobody uses right now.
#[derive(Debug)]
pub(super) struct ReadFile {
    path: PathBuf,
    connections: Mutex<Connections>,
    /// Notified when a connection is given back.
    returned: Condvar,
    damage: Arc<DamageLog>,
    checked_indexes: Arc<CheckedIndexes>,
    /// Large records are read one at a time.
    large: Mutex<()>,
    /// After the connections: closing it earlier would drop the locks that SQLite holds for them.
    _locked: Option<LockedJournal>,
}

#[derive(Debug)]
struct Connections {
    idle: Vec<ReadConnection>,
    /// Number of idle connections kept.
    idle_max: usize,
    in_use: usize,
    /// Largest number in use. A reader that finds all of them in use waits.
    in_use_max: usize,
}

/// The right to use one connection.
struct Turn<'f>(&'f ReadFile);

/// A connection for reading, with the names that it has met.
#[derive(Debug)]
pub(super) struct ReadConnection {
    path: PathBuf,
    connection: Connection,
    names: NamesMet,
    damage: Arc<DamageLog>,
    checked_indexes: Arc<CheckedIndexes>,
    /// The file was taken as unchangeable: nothing may be written in its directory.
    immutable: bool,
    /// Whether reading ends at a large record.
    ends_at_large: bool,
    /// The large record at which reading ended.
    large: Option<LargeRecord>,
}

/// Segments whose index was checked and is whole, by their last offset.
type CheckedIndexes = Mutex<HashSet<u64>>;

/// Makes records of rows.
pub(super) struct RowReader<'r> {
    connection: &'r Connection,
    names: &'r mut NamesMet,
    pub(super) damage: &'r DamageLog,
    ends_at_large: bool,
    large: &'r mut Option<LargeRecord>,
}

/// Names by their ids, as many as fit in the memory for them.
#[derive(Debug, Default)]
struct NamesMet {
    by_id: HashMap<u32, Box<str>>,
    bytes: usize,
}

impl ReadFile {
    /// Makes sure that `path` is a journal that can be read.
    pub(super) fn open(path: &Path, locked: Option<LockedJournal>) -> Result<Self, JournalError> {
        let first = ReadConnection::open(path)?;
        let (damage, checked_indexes) = (Arc::clone(&first.damage), Arc::clone(&first.checked_indexes));
        let connections = Connections {
            idle: vec![first],
            idle_max: READ_CONNECTIONS_IDLE_MAX,
            in_use: 0,
            in_use_max: journal_connections_max(),
        };
        Ok(Self {
            path: path.to_owned(),
            connections: Mutex::new(connections),
            returned: Condvar::new(),
            damage,
            checked_indexes,
            large: Mutex::default(),
            _locked: locked,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What cannot be read, as far as a reader met it.
    pub(super) fn damage(&self) -> &DamageLog {
        &self.damage
    }

    /// Does `read` in one transaction: everything that it sees is of one moment. Waits while all connections are in use, so
    /// `read` must not read the file in another way.
    pub(super) fn with<T>(
        &self,
        read: impl FnOnce(&mut ReadConnection) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let (_turn, idle) = self.turn();
        let mut connection =
            idle.map_or_else(|| ReadConnection::open(&self.path).map(|connection| connection.of(self)), Ok)?;
        connection.execute("BEGIN")?;
        let result = read(&mut connection);
        // After a damaged page it fails, and what was read is read: only the connection is of no more use.
        let is_usable = connection.execute("COMMIT").is_ok();
        (connection.ends_at_large, connection.large) = (false, None);
        let mut connections = self.connections();
        // A connection that takes the file as unchangeable must not live to see a hub change it.
        if is_usable && !connection.immutable && connections.idle.len() < connections.idle_max {
            connections.idle.push(connection);
        }
        drop(connections);
        result
    }

    /// Does `read` in one transaction, with the last offset that there has to be in it: as `head` says, or for a file that
    /// another process writes, as the file says and what its hub published.
    pub(super) fn with_head<T>(
        &self,
        head: Option<&watch::Receiver<Offset>>,
        read: impl FnOnce(&mut ReadConnection, u64) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        // Before the transaction begins: what is published later may not be in it.
        let published = match head {
            Some(head) => Ok(head.borrow().0),
            None => Err(Published::read(&self.path)),
        };
        self.with(|connection| {
            let head = match published {
                Ok(head) => head,
                Err(published) => connection.head_with(published.as_ref())?,
            };
            read(connection, head)
        })
    }

    /// Waits until no other reader of the file reads a large record, and for as long as what is returned lives none does.
    pub(super) fn one_large(&self) -> MutexGuard<'_, ()> {
        // It guards no data.
        self.large.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes what nobody uses right now, and from here on whatever a reader gives back: with the last connection
    /// SQLite clears up beside the file, and a connection that only reads cannot do it.
    pub(super) fn keep_none(&self) {
        let mut connections = self.connections();
        connections.idle_max = 0;
        connections.idle.clear();
    }

    /// Waits for the right to use one connection. Returns it with an idle connection, if there is one.
    fn turn(&self) -> (Turn<'_>, Option<ReadConnection>) {
        let connections = self.connections();
        let mut connections = self
            .returned
            .wait_while(connections, |connections| connections.in_use >= connections.in_use_max)
            .unwrap_or_else(PoisonError::into_inner);
        connections.in_use += 1;
        (Turn(self), connections.idle.pop())
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.connections().in_use -= 1;
        self.0.returned.notify_one();
    }
}

impl ReadConnection {
    pub(super) fn open(path: &Path) -> Result<Self, JournalError> {
        let (connection, immutable) = file::open_reader(path)?;
        Ok(Self {
            path: path.to_owned(),
            connection,
            names: NamesMet::default(),
            damage: Arc::default(),
            checked_indexes: Arc::default(),
            immutable,
            ends_at_large: false,
            large: None,
        })
    }

    /// The same, which shares what the connections of `file` met.
    fn of(self, file: &ReadFile) -> Self {
        let (damage, checked_indexes) = (Arc::clone(&file.damage), Arc::clone(&file.checked_indexes));
        Self { damage, checked_indexes, ..self }
    }

    /// Segments whose index is whole.
    pub(super) fn checked_indexes(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.checked_indexes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What cannot be read.
    pub(super) fn damage(&self) -> &DamageLog {
        &self.damage
    }

    /// Ends reading at each large record, or not, until the transaction ends. Returns how it was.
    pub(super) fn end_at_large(&mut self, ends: bool) -> bool {
        std::mem::replace(&mut self.ends_at_large, ends)
    }

    /// Whether reading ends at a large record.
    pub(super) const fn ends_at_large(&self) -> bool {
        self.ends_at_large
    }

    /// The large record at which reading ended.
    pub(super) const fn large(&self) -> Option<LargeRecord> {
        self.large
    }

    /// Goes on behind the large record.
    pub(super) fn pass_large(&mut self) {
        self.large = None;
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Ends what this connection does with an error, from another thread.
    pub(super) fn interrupter(&self) -> InterruptHandle {
        self.connection.get_interrupt_handle()
    }

    fn execute(&self, sql: &str) -> Result<(), JournalError> {
        self.sql(|connection| connection.prepare_cached(sql)?.execute([]).map(drop))
    }

    /// Runs SQL; an error names the file.
    pub(super) fn sql<T>(
        &self,
        run: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, JournalError> {
        run(&self.connection).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: rusqlite::Error) -> JournalError {
        JournalError::Storage { doing: "read", path: self.path.clone(), source }
    }

    /// One number.
    pub(super) fn number(&self, sql: &str) -> Result<u64, JournalError> {
        self.sql(|connection| connection.prepare_cached(sql)?.query_row([], |row| row.get(0).map(unsigned)))
    }

    /// The last offset.
    pub(super) fn head(&self) -> Result<u64, JournalError> {
        self.sql(bounds::head)
    }

    /// The last offset, also if the file ends before what was published of it.
    pub(super) fn head_with(&self, published: Option<&Published>) -> Result<u64, JournalError> {
        let head = self.head()?;
        let is_of_this = |published: &&Published| {
            let name =
                self.connection.query_row("SELECT id FROM identity", [], |row| row.get::<_, Box<str>>(0));
            published.head > head && name.is_ok_and(|name| name == published.identity)
        };
        Ok(published.filter(is_of_this).map_or(head, |published| published.head))
    }

    /// The first offset that is kept; one more than the head if there is no record.
    pub(super) fn first(&self) -> Result<u64, JournalError> {
        self.sql(bounds::first)
    }

    /// The last offset of the sealed segments.
    pub(super) fn sealed(&self) -> Result<u64, JournalError> {
        self.number(SEALED)
    }

    /// Reads rows of [`columns_if`].
    pub(super) fn reading<T>(
        &mut self,
        read: impl FnOnce(&Connection, &mut RowReader<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, JournalError> {
        let Self { path, connection, names, damage, ends_at_large, large, .. } = self;
        let mut reader = RowReader { connection, names, damage, ends_at_large: *ends_at_large, large };
        read(connection, &mut reader).map_err(|source| JournalError::Storage {
            doing: "read",
            path: path.clone(),
            source,
        })
    }

    /// The name that stands for an id.
    pub(super) fn name(&mut self, id: u32) -> Result<Box<str>, JournalError> {
        let Self { path, connection, names, .. } = self;
        name(connection, names, id).map(Box::from).map_err(|source| JournalError::Storage {
            doing: "read",
            path: path.clone(),
            source,
        })
    }
}

impl RowReader<'_> {
    /// Hands the record of a row to `take`, if there is one. Returns whether to read on: as `take` says, and not behind a large
    /// record.
    pub(super) fn hand(
        &mut self,
        row: &Row<'_>,
        take: &mut dyn FnMut(Record<'static>) -> bool,
    ) -> rusqlite::Result<bool> {
        if self.leaves(row)? {
            return Ok(false);
        }
        Ok(self.read(row)?.is_none_or(take))
    }

    /// Whether the record of a row is wanted, and left out because it is large.
    pub(super) fn leaves(&mut self, row: &Row<'_>) -> rusqlite::Result<bool> {
        if !self.ends_at_large || row.get::<_, Option<bool>>(9)? != Some(true) {
            return Ok(false);
        }
        let data_bytes = row.get::<_, Option<i64>>(10)?.map_or(0, unsigned);
        let Some(data_bytes) = usize::try_from(data_bytes).ok().filter(|bytes| *bytes > LARGE_RECORD_BYTES)
        else {
            return Ok(false);
        };
        *self.large = Some(LargeRecord { offset: Offset(unsigned(row.get(0)?)), data_bytes });
        Ok(true)
    }

    /// The record of a row; `None` for one that is not wanted, or that makes no record, which is noted.
    pub(super) fn read(&mut self, row: &Row<'_>) -> rusqlite::Result<Option<Record<'static>>> {
        let offset = unsigned(row.get(0)?);
        let is_wanted = |row: &Row<'_>| row.get::<_, Option<bool>>(9).map(|wanted| wanted == Some(true));
        let read = columns(row).and_then(|found| match is_wanted(row)? {
            true => record(self.connection, self.names, row, &found).map(|read| read.map(Some)),
            false => Ok(Ok(None)),
        });
        match read {
            Ok(Ok(record)) => Ok(record),
            Ok(Err(what)) => {
                self.damage.unreadable(offset, offset, &what);
                Ok(None)
            }
            Err(error) if is_damage(&error) => {
                self.damage.unreadable(offset, offset, &column_error(&error));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// The columns that are numbers.
struct Numbers {
    offset: u64,
    vm: u32,
    kind: i64,
    event: Option<u32>,
}

fn columns(row: &Row<'_>) -> rusqlite::Result<Numbers> {
    Ok(Numbers { offset: unsigned(row.get(0)?), vm: row.get(1)?, kind: row.get(4)?, event: row.get(6)? })
}

fn record(
    connection: &Connection,
    names: &mut NamesMet,
    row: &Row<'_>,
    found: &Numbers,
) -> rusqlite::Result<Result<Record<'static>, String>> {
    let Some(kind) = Kind::from_id(found.kind) else {
        return Ok(Err(format!("there is no kind {}", found.kind)));
    };
    let Some(timestamp) = EventTime::read(row.get_ref(7)?) else {
        return Ok(Err("event_time is neither a number nor SECONDS.MICROSECONDS".into()));
    };
    let vm = name(connection, names, found.vm)?.to_owned();
    let event = found.event.map(|event| event_name(connection, names, event, found.offset)).transpose()?;
    let body = match body::read(kind, event, timestamp, row.get_ref(8)?.as_str_or_null()?) {
        Ok(body) => body,
        Err(what) => return Ok(Err(what)),
    };
    Ok(Ok(Record {
        offset: Some(Offset(found.offset)),
        vm: vm.into(),
        epoch: Epoch(row.get(2)?),
        seq: Seq(unsigned(row.get(3)?)),
        received: UnixMicros(row.get(5)?),
        body,
    }))
}

/// What is wrong with a column, for people.
fn column_error(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::QueryReturnedNoRows => "the name of its VM or event is missing".into(),
        error => error.to_string(),
    }
}

/// The name of an event, and the whole of it if it was shortened.
fn event_name<'n>(
    connection: &Connection,
    names: &'n mut NamesMet,
    id: u32,
    offset: u64,
) -> rusqlite::Result<(&'n str, Option<Box<str>>)> {
    let name = name(connection, names, id)?;
    Ok((name, sent_names::read(connection, offset, name)?))
}

fn name<'n>(connection: &Connection, names: &'n mut NamesMet, id: u32) -> rusqlite::Result<&'n str> {
    if !names.by_id.contains_key(&id) {
        let found = connection
            .prepare_cached("SELECT name FROM name WHERE id = ?1")?
            .query_row([id], |row| row.get::<_, Box<str>>(0))?;
        if names.bytes > 0 && names.bytes + cached_bytes(&found) > NAMES_CACHED_MAX_BYTES {
            *names = NamesMet::default();
        }
        names.bytes += cached_bytes(&found);
        names.by_id.insert(id, found);
    }
    Ok(&names.by_id[&id])
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::{Journal, JournalOptions};

    #[test]
    fn connections_are_kept_until_none_is_to_be_kept() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("journal.db");
        let _journal = Journal::open(&path, JournalOptions::default()).expect("opens");
        let file = ReadFile::open(&path, None).expect("opens");
        let kept = || {
            assert_eq!(file.with(|connection| connection.head()).expect("reads"), 0);
            file.connections().idle.len()
        };
        assert_eq!(kept(), 1);
        file.keep_none();
        assert_eq!(file.connections().idle.len(), 0);
        assert_eq!(kept(), 0, "one that was in use meanwhile");
    }

    #[test]
    fn reader_waits_while_all_connections_are_in_use() {
        const READERS: usize = 8;
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("journal.db");
        let _journal = Journal::open(&path, JournalOptions::default()).expect("opens");
        let file = ReadFile::open(&path, None).expect("opens");
        file.connections().in_use_max = 2;
        let (reading, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..READERS {
                scope.spawn(|| {
                    file.with(|connection| {
                        most.fetch_max(reading.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        let head = connection.head();
                        reading.fetch_sub(1, Ordering::SeqCst);
                        head
                    })
                });
            }
        });
        assert!((1..=2).contains(&most.into_inner()));
        // One that fails gives its connection back, too.
        for _ in 0..3 {
            file.with(|_| Err::<(), _>(JournalError::Directory { path: home.path().to_owned() }))
                .expect_err("fails");
        }
        assert_eq!(file.connections().in_use, 0);
    }
}
