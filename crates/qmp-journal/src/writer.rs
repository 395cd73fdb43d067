//! The one thread that writes: takes all that waits, commits it at once, then publishes the head.
//!
//! A commit that fails is tried again until it succeeds, with the same records in the same places; meanwhile
//! the queue fills and the appenders learn of it. Nothing of a batch is published before all that stands
//! before it is durable.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use qmp_host::clock;
use qmp_wire::{DetachReason, Offset, UnixMicros};
use rusqlite::Connection;
use tokio::sync::watch;

use super::batch::{Batch, Item};
use super::checkpoints::{self, Checkpoint};
use super::error::{JournalError, storage_text};
use super::figures::{Counters, Gauge};
use super::handle::JournalOptions;
use super::limits::{COMMIT_MAX_RECORDS, COMMIT_RETRY_FIRST, COMMIT_RETRY_MAX};
use super::lock::{Published, WriterLock};
use super::names::{Names, Role};
use super::numbering::{self, Ids, Numbering, Plan};
use super::queue::{Queue, Taken};
use super::retention::{self, Removed};
use super::schema;
use super::store;
use super::sweep::{Sweep, Swept};

/// Memory that the queue's buffers keep between bursts, in bytes.
const BUFFER_KEEP_BYTES: usize = 1 << 20;

/// Whether the journal can be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Every commit succeeds.
    #[default]
    Writing,
    /// The last commit failed; it is being tried again, and what comes is kept as long as there is room.
    Stalled {
        /// Since when, on this host's clock.
        since: UnixMicros,
        /// Why, and what to do about it.
        error: Box<str>,
    },
}

impl fmt::Display for Health {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Writing => formatter.write_str("writing"),
            Self::Stalled { since, error } => {
                write!(formatter, "nothing can be written since {}: {error}", utc_text(*since))
            }
        }
    }
}

/// The writing end of the file, with where it stands.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    /// Device and inode of the file that is open.
    identity: (u64, u64),
    connection: Connection,
    names: Names,
    numbering: Numbering,
    sweep: Sweep,
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    head: watch::Sender<Offset>,
    health: watch::Sender<Health>,
    /// The journal's own name.
    name: Box<str>,
    lock: WriterLock,
}

/// The journal is closed while the disk takes nothing.
#[derive(Debug)]
struct GivenUp(Box<str>);

impl Writer {
    /// Restores where the file stands and closes the epochs that a hub left open.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] if the file cannot be read or written.
    pub(super) fn start(
        path: &Path,
        connection: Connection,
        lock: WriterLock,
        options: JournalOptions,
    ) -> Result<Self, JournalError> {
        let failed = |doing| move |source| JournalError::Storage { doing, path: path.to_owned(), source };
        let names = Names::load(&connection).map_err(failed("read"))?;
        let mut numbering = store::restore(&connection, options.segment_records).map_err(failed("read"))?;
        if names.unreadable() > 0 {
            tracing::error!(journal = %path.display(), names = names.unreadable(), "names cannot be read");
            // A VM whose name is unreadable counts as another one, and must not get its epochs again.
            numbering.begin_behind(0, store::last_epoch(&connection).map_err(failed("read"))?);
        }
        let name = schema::name(&connection).map_err(failed("read"))?;
        let lost = lost(&lock, &name, &mut numbering);
        if let Some(lost) = &lost {
            tracing::error!(journal = %path.display(), after = lost.after.0, upto = lost.upto.0, "{}", lost.text());
            store::note_lost(&connection, *lost, numbering.max_epoch()).map_err(failed("write"))?;
        }
        if let Some((number, found)) = numbering.beyond_limit() {
            return Err(JournalError::NumbersEnd { path: path.into(), number, found });
        }
        let head = Offset(numbering.head());
        let sweep = Sweep::restore(&connection).map_err(failed("read"))?;
        let identity = identity(path).map_err(|source| JournalError::Io {
            doing: "look at",
            path: path.to_owned(),
            source,
        })?;
        let mut writer = Self {
            path: path.to_owned(),
            identity,
            connection,
            names,
            numbering,
            sweep,
            queue: Arc::new(Queue::new(options.queue_max_bytes, head)),
            counters: Arc::default(),
            head: watch::Sender::new(head),
            health: watch::Sender::default(),
            name,
            lock,
        };
        writer.counters.removed(0, writer.sweep.first());
        writer.queue.order_retention(options.retention);
        writer.close_left_open(clock::now(), lost).map_err(failed("write"))?;
        Ok(writer)
    }

    /// What others see of the writer.
    pub(super) fn outlets(&self) -> (Arc<Queue>, watch::Receiver<Offset>, watch::Receiver<Health>) {
        (Arc::clone(&self.queue), self.head.subscribe(), self.health.subscribe())
    }

    /// Tells the figures of this journal.
    pub(super) fn gauge(&self) -> Gauge {
        Gauge::new(&self.path, &self.queue, &self.counters)
    }

    /// Writes until the queue is closed and empty.
    ///
    /// # Errors
    ///
    /// [`JournalError::Unwritten`] if it was closed while the disk took nothing, [`JournalError::Storage`] if
    /// the file cannot be closed.
    pub(super) fn run(mut self) -> Result<(), JournalError> {
        // Also when this thread panics, nobody is to wait for it.
        let _end = EndOnDrop(Arc::clone(&self.queue));
        let mut batch = Batch::new();
        loop {
            let taken = self.queue.take(&mut batch, self.sweep.pause(Instant::now()));
            if taken == Taken::End {
                break;
            }
            let records = batch.len() as u64;
            if let Err(GivenUp(detail)) = self.commit(&batch).and_then(|()| self.sweep(records)) {
                return Err(JournalError::Unwritten { records: self.queue.uncommitted(), detail });
            }
            if taken == Taken::Batch {
                batch.clear();
                batch.shrink(BUFFER_KEEP_BYTES);
            }
        }
        let Self { connection, path, .. } = self;
        // A journal that nobody writes is one file. A reader that is busy may prevent it: nothing is lost then.
        if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
            tracing::warn!(journal = %path.display(), "the write-ahead log stays: {error}");
        }
        connection.close().map_err(|(_, source)| JournalError::Storage { doing: "close", path, source })
    }

    /// Commits all of a batch.
    fn commit(&mut self, batch: &Batch) -> Result<(), GivenUp> {
        if batch.has_nothing() {
            return Ok(());
        }
        let mut items = batch.items();
        while items.len() > 0 {
            self.commit_next(&mut items)?;
        }
        self.write_checkpoints(batch.checkpoints());
        self.queue.done();
        Ok(())
    }

    /// Writes checkpoints, whose records and findings are committed. They are not worth a second try.
    fn write_checkpoints(&mut self, checkpoints: &[Checkpoint]) {
        if checkpoints.is_empty() {
            return;
        }
        if let Err(error) = checkpoints::write(&mut self.connection, checkpoints) {
            let why = storage_text(&error);
            tracing::warn!(journal = %self.path.display(), "checkpoints cannot be written: {why}");
        }
    }

    /// Commits the next items, as many as go into one transaction, and publishes the head.
    fn commit_next<'a>(&mut self, items: &mut dyn ExactSizeIterator<Item = Item<'a>>) -> Result<(), GivenUp> {
        let group: Vec<Item<'a>> = items.take(COMMIT_MAX_RECORDS).collect();
        let ids = self.until_done(|writer| writer.resolve(&group))?;
        let (records, mut plan) = (group.len() as u64, Plan::default());
        for (item, ids) in group.into_iter().zip(ids) {
            self.numbering.place(item, ids, &mut plan);
        }
        let names = self.names.take_fresh();
        self.until_done(|writer| store::commit(&mut writer.connection, &names, &plan))?;
        self.names.trim();
        self.counters.committed(&plan);
        if !plan.sealed.is_empty() {
            self.sweep.grown(Instant::now());
        }
        self.publish(records, &plan.unasked);
        Ok(())
    }

    /// Removes the next records that are too old or too many, after `committed` ones were written.
    ///
    /// What cannot be removed is no trouble yet: it is told, and tried again later.
    fn sweep(&mut self, committed: u64) -> Result<(), GivenUp> {
        let (now, wall) = (Instant::now(), clock::now());
        let (retention, order) = self.queue.retention();
        if *self.sweep.retention() != retention {
            self.sweep.retain(retention, now);
        }
        // What is too large goes one segment at a time, and a segment of large records has few of them.
        let mut left = retention::chunk(committed);
        while left > 0 {
            if self.sweep.is_due(now) {
                self.seal_early(retention.seal_before(wall))?;
                if let Err(error) = self.sweep.look(&self.connection, wall, now) {
                    self.not_swept(&error, now);
                }
            }
            match self.sweep_step(left, now) {
                0 if self.sweep.is_put_off() => break,
                0 => {
                    self.queue.retained(order);
                    break;
                }
                records => left -= records,
            }
        }
        Ok(())
    }

    /// Removes records, at most so many; how many they were.
    fn sweep_step(&mut self, at_most: u64, now: Instant) -> u64 {
        let numbering = &self.numbering;
        let is_needed = |name| numbering.is_in_open_segment(name);
        match self.sweep.step(&mut self.connection, at_most, now, is_needed) {
            Ok(Swept { records: 0, .. }) => 0,
            Ok(Swept { records, names }) => {
                self.names.forget(&names);
                self.counters.removed(records, self.sweep.first());
                records
            }
            Err(error) => {
                // Whether the names went is not known.
                self.names.clear();
                self.not_swept(&error, now);
                0
            }
        }
    }

    /// Ends the open segment if it begins before `moment`.
    fn seal_early(&mut self, moment: Option<UnixMicros>) -> Result<(), GivenUp> {
        let mut plan = Plan::default();
        if let Some(moment) = moment {
            self.numbering.seal_before(moment, &mut plan);
        }
        if plan.sealed.is_empty() {
            return Ok(());
        }
        self.until_done(|writer| store::commit(&mut writer.connection, &[], &plan))
    }

    fn not_swept(&mut self, error: &rusqlite::Error, now: Instant) {
        let why = storage_text(error);
        tracing::warn!(journal = %self.path.display(), "old records cannot be removed, tried again later: {why}");
        self.sweep.put_off(now);
    }

    fn resolve(&mut self, items: &[Item<'_>]) -> rusqlite::Result<Vec<Ids>> {
        items
            .iter()
            .map(|item| {
                let vm = self.names.id(&self.connection, Role::Vm, item.vm)?;
                let event = item
                    .event
                    .map(|event| self.names.id(&self.connection, Role::Event, event))
                    .transpose()?;
                Ok(Ids { vm, event })
            })
            .collect()
    }

    /// Tries `step` until it succeeds; once more, and no longer, when the journal is closed.
    fn until_done<T>(&mut self, step: impl Fn(&mut Self) -> rusqlite::Result<T>) -> Result<T, GivenUp> {
        let mut pause = COMMIT_RETRY_FIRST;
        let mut last_try = false;
        loop {
            let error =
                match self.still_there().and_then(|()| step(self).map_err(|e| storage_text(&e).into())) {
                    Ok(done) => {
                        self.report(None);
                        return Ok(done);
                    }
                    Err(error) => error,
                };
            self.counters.failed();
            self.report(Some(&error));
            if last_try {
                return Err(GivenUp(error));
            }
            last_try = self.queue.pause(pause);
            pause = (pause * 2).min(COMMIT_RETRY_MAX);
        }
    }

    /// A file that was moved away still takes every write, and nobody would ever read them.
    fn still_there(&self) -> Result<(), Box<str>> {
        match identity(&self.path) {
            Ok(found) if found == self.identity => Ok(()),
            Ok(_) => Err("another file was put in its place: move it back, or restart the hub".into()),
            Err(error) => Err(format!("the file is gone: move it back, or restart the hub ({error})").into()),
        }
    }

    /// Tells of a change of health, once.
    fn report(&self, error: Option<&str>) {
        self.health.send_if_modified(|health| match (&*health, error) {
            (Health::Writing, None) => false,
            (Health::Stalled { error: known, .. }, Some(error)) if **known == *error => false,
            (Health::Stalled { since, .. }, None) => {
                tracing::info!(journal = %self.path.display(), since = %utc_text(*since), "journal writes again");
                *health = Health::Writing;
                true
            }
            (known, Some(error)) => {
                let since = match known {
                    Health::Stalled { since, .. } => *since,
                    Health::Writing => clock::now(),
                };
                tracing::error!(journal = %self.path.display(), "nothing can be written: {error}");
                *health = Health::Stalled { since, error: error.into() };
                true
            }
        });
    }

    /// Closes the epochs that are open in the file: their hub ended without doing so.
    fn close_left_open(&mut self, now: UnixMicros, lost: Option<Removed>) -> rusqlite::Result<()> {
        let open = self.numbering.open_epochs();
        let names = open.iter().map(|(vm, _)| store::name(&self.connection, *vm));
        let names = names.collect::<rusqlite::Result<Vec<_>>>()?;
        let mut plan = Plan::default();
        for ((vm, state), name) in open.into_iter().zip(&names) {
            let received = match state.received {
                Some(received) => Some(received),
                None => store::received(&self.connection, state.last)?,
            };
            // Retention may have removed the last record of a VM that reported nothing for so long: then the first
            // record that is kept was received later than it.
            let (certain_until, since) = match received.map(UnixMicros) {
                Some(at) => (at, utc_text(at)),
                None => {
                    let first = store::received(&self.connection, self.sweep.first())?;
                    let at = first.map_or(now, |first| UnixMicros(first).min(now));
                    (at, "its last record, which is kept no longer".into())
                }
            };
            let (reason, what) = match &lost {
                None => (DetachReason::HubStopped, "the hub ended without closing the epoch".into()),
                Some(lost) => (DetachReason::RecordsLost, lost.text()),
            };
            let detail = format!("{what}; nothing is certain since {since}");
            let item = numbering::detached(name, now, certain_until, reason, &detail);
            self.numbering.place(item, Ids { vm, event: None }, &mut plan);
        }
        if !plan.rows.is_empty() {
            store::commit(&mut self.connection, &[], &plan)?;
            self.counters.committed(&plan);
        }
        self.publish(0, &[]);
        Ok(())
    }

    /// Publishes what is committed, `records` of it appended ones, between `unasked` ones.
    ///
    /// Only what the disk has: a reader must never see a record that a crash can take back.
    fn publish(&self, records: u64, unasked: &[u64]) {
        let head = Offset(self.numbering.head());
        let (identity, epoch) = (self.name.clone(), self.numbering.max_epoch());
        self.lock.publish(&Published { identity, head: head.0, epoch });
        self.queue.settle(records, head, unasked);
        self.head.send_replace(head);
        self.queue.publish(records, head);
    }
}

/// Tells those who wait that nothing will come.
struct EndOnDrop(Arc<Queue>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Records that were published and are not in the file: its write-ahead log was cut or removed, or an older copy of the
/// file was put in its place. What comes gets other offsets, epochs and numbers than they had.
fn lost(lock: &WriterLock, name: &str, numbering: &mut Numbering) -> Option<Removed> {
    let published = lock.published().filter(|published| *published.identity == *name)?;
    let after = Offset(numbering.head());
    (published.head > after.0).then(|| {
        numbering.pass_over(published.head, published.epoch);
        Removed { after, upto: Offset(published.head) }
    })
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

/// A time for people, in UTC with microseconds.
fn utc_text(time: UnixMicros) -> String {
    jiff::Timestamp::from_microsecond(time.0)
        .map_or_else(|_| format!("{} µs", time.0), |time| format!("{time:.6}"))
}
