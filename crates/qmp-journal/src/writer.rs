//! The writer: one thread that commits everything in the queue at once, then publishes the head.
//!
//! A failed commit is retried until it succeeds, with the same records and numbers; meanwhile the queue fills and the
//! appenders get `Overrun`. No record is published before all records with lower offsets are durable.

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
use super::checkpoint::Checkpoint;
use super::checkpoints;
use super::error::{JournalError, storage_text};
use super::figures::{Counters, Gauge};
use super::limits::{COMMIT_MAX_RECORDS, COMMIT_RETRY_FIRST, COMMIT_RETRY_MAX};
use super::lock::{PublishedHead, WriterLock};
use super::names::{Names, Role};
use super::numbering::{self, Ids, Numbering, Plan};
use super::options::JournalOptions;
use super::queue::{DequeueResult, Queue};
use super::restore;
use super::retention::{self, PrunedRange};
use super::schema;
use super::store;
use super::sweep::{Sweep, SweepStep};

/// Memory that the queue's buffers keep between bursts, in bytes.
const BUFFER_KEEP_BYTES: usize = 1 << 20;

/// Whether the journal can be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Every commit succeeds.
    #[default]
    Writing,
    /// The last commit failed and is retried; new drafts are kept as long as there is room.
    Stalled {
        /// Since when, on this host's clock.
        since: UnixMicros,
        /// The error, and a remedy.
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

/// The writing end of the file and its state.
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

/// The journal was closed while the disk refused writes; the text is the error.
#[derive(Debug)]
struct CommitError(Box<str>);

impl Writer {
    /// Restores the state of the file and closes the epochs that a hub left open.
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
        let mut numbering = restore::restore(&connection, options.segment_records).map_err(failed("read"))?;
        if names.unreadable() > 0 {
            tracing::error!(journal = %path.display(), names = names.unreadable(), "names cannot be read");
            numbering.pass_over_unnamed();
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

    /// The ends of the writer's queue and channels for other tasks.
    pub(super) fn outlets(&self) -> (Arc<Queue>, watch::Receiver<Offset>, watch::Receiver<Health>) {
        (Arc::clone(&self.queue), self.head.subscribe(), self.health.subscribe())
    }

    /// Returns a gauge that reads the statistics of this journal.
    pub(super) fn gauge(&self) -> Gauge {
        Gauge::new(&self.path, &self.queue, &self.counters)
    }

    /// Writes until the queue is closed and empty.
    ///
    /// # Errors
    ///
    /// [`JournalError::Unwritten`] if the queue was closed while the disk refused writes, [`JournalError::Storage`] if
    /// the file cannot be closed.
    pub(super) fn run(mut self) -> Result<(), JournalError> {
        // Wakes waiting tasks even if this thread panics.
        let _end = EndOnDrop(Arc::clone(&self.queue));
        let mut batch = Batch::new();
        loop {
            let dequeued = self.queue.take(&mut batch, self.sweep.pause(Instant::now()));
            if dequeued == DequeueResult::End {
                break;
            }
            let records = batch.len() as u64;
            if let Err(CommitError(detail)) = self.commit(&batch).and_then(|()| self.sweep(records)) {
                return Err(JournalError::Unwritten { records: self.queue.uncommitted(), detail });
            }
            if dequeued == DequeueResult::Batch {
                batch.clear();
                batch.shrink(BUFFER_KEEP_BYTES);
            }
        }
        let Self { connection, path, .. } = self;
        // A journal without a writer is one file. A busy reader may prevent that: nothing is lost then.
        if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
            tracing::warn!(journal = %path.display(), "the write-ahead log stays: {error}");
        }
        connection.close().map_err(|(_, source)| JournalError::Storage { doing: "close", path, source })
    }

    /// Commits all of a batch.
    fn commit(&mut self, batch: &Batch) -> Result<(), CommitError> {
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

    /// Writes checkpoints, after the records and findings that they include. A failure is not retried.
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
    fn commit_next<'a>(
        &mut self,
        items: &mut dyn ExactSizeIterator<Item = Item<'a>>,
    ) -> Result<(), CommitError> {
        let group: Vec<Item<'a>> = items.take(COMMIT_MAX_RECORDS).collect();
        let ids = self.until_done(|writer| writer.resolve(&group))?;
        let (records, mut plan) = (group.len() as u64, Plan::default());
        for (item, ids) in group.into_iter().zip(ids) {
            self.numbering.assign(item, ids, &mut plan);
        }
        let names = self.names.take_fresh();
        self.until_done(|writer| store::commit(&mut writer.connection, &names, &plan))?;
        self.names.trim();
        self.counters.committed(&plan);
        if !plan.sealed.is_empty() {
            self.sweep.grown(Instant::now());
        }
        self.publish(records, &plan.implicit);
        Ok(())
    }

    /// Removes the next records that are too old or exceed the size, after `committed` ones were written.
    ///
    /// A failure is logged, and retried later.
    fn sweep(&mut self, committed: u64) -> Result<(), CommitError> {
        let (now, wall) = (Instant::now(), clock::now());
        let (retention, order) = self.queue.retention();
        if *self.sweep.retention() != retention {
            self.sweep.retain(retention, now);
        }
        // A journal that is too large loses one segment at a time, and a segment of large records has few of them.
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
                    self.queue.report_pruned(order);
                    break;
                }
                records => left -= records,
            }
        }
        Ok(())
    }

    /// Removes at most `at_most` records and returns how many were removed.
    fn sweep_step(&mut self, at_most: u64, now: Instant) -> u64 {
        let numbering = &self.numbering;
        let is_needed = |name| numbering.is_in_open_segment(name);
        match self.sweep.step(&mut self.connection, at_most, now, is_needed) {
            Ok(SweepStep { records: 0, .. }) => 0,
            Ok(SweepStep { records, names }) => {
                self.names.forget(&names);
                self.counters.removed(records, self.sweep.first());
                records
            }
            Err(error) => {
                // The transaction may have removed the names.
                self.names.clear();
                self.not_swept(&error, now);
                0
            }
        }
    }

    /// Seals the open segment if it begins before `moment`.
    fn seal_early(&mut self, moment: Option<UnixMicros>) -> Result<(), CommitError> {
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

    /// Retries `step` until it succeeds; only once more when the journal is closed.
    fn until_done<T>(&mut self, step: impl Fn(&mut Self) -> rusqlite::Result<T>) -> Result<T, CommitError> {
        let mut pause = COMMIT_RETRY_FIRST;
        let mut last_try = false;
        loop {
            let error =
                match self.check_identity().and_then(|()| step(self).map_err(|e| storage_text(&e).into())) {
                    Ok(done) => {
                        self.report(None);
                        return Ok(done);
                    }
                    Err(error) => error,
                };
            self.counters.failed();
            self.report(Some(&error));
            if last_try {
                return Err(CommitError(error));
            }
            last_try = self.queue.pause(pause);
            pause = (pause * 2).min(COMMIT_RETRY_MAX);
        }
    }

    /// Fails if the file was moved away: it would accept every write, and no reader would find them.
    fn check_identity(&self) -> Result<(), Box<str>> {
        match identity(&self.path) {
            Ok(found) if found == self.identity => Ok(()),
            Ok(_) => Err("another file was put in its place: move it back, or restart the hub".into()),
            Err(error) => {
                Err(format!("the file is missing: move it back, or restart the hub ({error})").into())
            }
        }
    }

    /// Publishes and logs a change of health, once.
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

    /// Closes the epochs that are open in the file: their hub ended without closing them.
    fn close_left_open(&mut self, now: UnixMicros, lost: Option<PrunedRange>) -> rusqlite::Result<()> {
        let open = self.numbering.open_epochs();
        let names = open.iter().map(|(vm, _)| store::name(&self.connection, *vm));
        let names = names.collect::<rusqlite::Result<Vec<_>>>()?;
        let mut plan = Plan::default();
        for ((vm, state), name) in open.into_iter().zip(&names) {
            let received = match state.received {
                Some(received) => Some(received),
                None => store::received(&self.connection, state.last)?,
            };
            // Retention may have removed the last record of a VM that was silent for so long: then the first record
            // that is kept was received later.
            let (certain_until, since) = match received.map(UnixMicros) {
                Some(at) => (at, utc_text(at)),
                None => {
                    let first = store::received(&self.connection, self.sweep.first())?;
                    let at = first.map_or(now, |first| UnixMicros(first).min(now));
                    let is_kept = state.last >= self.sweep.first();
                    let why = if is_kept { "cannot be read" } else { "is kept no longer" };
                    (at, format!("its last record, which {why}"))
                }
            };
            let (reason, what) = match &lost {
                None => (DetachReason::HubStopped, "the hub ended without closing the epoch".into()),
                Some(lost) => (DetachReason::RecordsLost, lost.text()),
            };
            let detail = format!("{what}; nothing is certain since {since}");
            let item = numbering::detached(name, now, certain_until, reason, &detail);
            self.numbering.assign(item, Ids { vm, event: None }, &mut plan);
        }
        if !plan.rows.is_empty() {
            store::commit(&mut self.connection, &[], &plan)?;
            self.counters.committed(&plan);
        }
        self.publish(0, &[]);
        Ok(())
    }

    /// Publishes the committed records: `records` that were appended, and those at `implicit`.
    ///
    /// Only committed ones: a reader must never see a record that a crash can take back.
    fn publish(&self, records: u64, implicit: &[u64]) {
        let head = Offset(self.numbering.head());
        let (identity, epoch) = (self.name.clone(), self.numbering.max_epoch());
        self.lock.publish(&PublishedHead { identity, head: head.0, epoch });
        self.queue.assign(records, head, implicit);
        self.head.send_replace(head);
        self.queue.publish(records, head);
    }
}

/// Wakes waiting tasks when the writer ends.
struct EndOnDrop(Arc<Queue>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The published records that are missing in the file: its write-ahead log was cut or removed, or the file was replaced
/// with an older copy. New records get other offsets, epochs and numbers.
fn lost(lock: &WriterLock, name: &str, numbering: &mut Numbering) -> Option<PrunedRange> {
    let published = lock.published().filter(|published| *published.identity == *name)?;
    let after = Offset(numbering.head());
    (published.head > after.0).then(|| {
        numbering.pass_over(published.head, published.epoch);
        PrunedRange { after, upto: Offset(published.head) }
    })
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

/// A time as text, in UTC with microseconds.
fn utc_text(time: UnixMicros) -> String {
    jiff::Timestamp::from_microsecond(time.0)
        .map_or_else(|_| format!("{} µs", time.0), |time| format!("{time:.6}"))
}
