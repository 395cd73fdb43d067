//! Connections for reading, shared by the readers of one file.
//!
//! A connection is taken for the time of one read transaction, so that a reader who waits holds nothing.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use qmp_host::{journal_connections_max, lock};
use qmp_wire::Offset;
use rusqlite::{Connection, InterruptHandle};
use tokio::sync::watch;

use super::bounds;
use super::columns::{SEALED, unsigned};
use super::damage::DamageLog;
use super::error::JournalError;
use super::file;
use super::limits::{READ_CONNECTIONS_IDLE_MAX, SUMMARY_CACHE_MAX_BYTES};
use super::lock::{LockedJournal, PublishedHead};
use super::open_part::OpenPart;
use super::row::{LargeRecord, NameCache, RowReader, name};
use super::summary_cache::SummaryCache;

/// One file and the idle connections to it.
#[derive(Debug)]
pub(super) struct ReadFile {
    path: PathBuf,
    connections: Mutex<Connections>,
    /// Notified when a connection is given back.
    returned: Condvar,
    damage: Arc<DamageLog>,
    checked_indexes: Arc<CheckedIndexes>,
    summaries: Mutex<SummaryCache>,
    /// The records after the last segment, for readers of summaries.
    open_part: Mutex<OpenPart>,
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
    names: NameCache,
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
            summaries: Mutex::new(SummaryCache::new(SUMMARY_CACHE_MAX_BYTES)),
            open_part: Mutex::default(),
            large: Mutex::default(),
            _locked: locked,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The unreadable ranges that readers met.
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
            None => Err(PublishedHead::read(&self.path)),
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
        lock(&self.large)
    }

    /// The records after the last segment, as far as readers of summaries have read them.
    pub(super) fn open_part(&self) -> MutexGuard<'_, OpenPart> {
        lock(&self.open_part)
    }

    /// The summaries that readers have decoded.
    pub(super) fn summaries(&self) -> MutexGuard<'_, SummaryCache> {
        lock(&self.summaries)
    }

    /// Closes the idle connections, and from here on each one that a reader gives back: with the last connection
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
        lock(&self.connections)
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
            names: NameCache::default(),
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
        lock(&self.checked_indexes)
    }

    /// The unreadable ranges.
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
    pub(super) fn head_with(&self, published: Option<&PublishedHead>) -> Result<u64, JournalError> {
        let head = self.head()?;
        let is_of_this = |published: &&PublishedHead| {
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

    /// Reads rows of [`columns_if`](super::row::columns_if).
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
        // A cursor that fails gives its connection back, too.
        for _ in 0..3 {
            file.with(|_| Err::<(), _>(JournalError::Directory { path: home.path().to_owned() }))
                .expect_err("fails");
        }
        assert_eq!(file.connections().in_use, 0);
    }
}
