//! The writer: one task that commits everything in the queue at once, then publishes the head.
//!
//! A failed commit is retried until it succeeds, with the same records and numbers; meanwhile the queue fills and the
//! appenders get `Overrun`. No record is published before all records with lower offsets are durable.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use qmp_host::clock::Clock;
use qmp_wire::{DetachReason, Offset, UnixMicros};
use tokio::sync::watch;

use super::batch::{Batch, Item, Portion};
use super::checkpoint::Checkpoint;
use super::error::JournalError;
use super::figures::{Counters, Gauge};
use super::fill_pause::FillPause;
use super::health::{Health, HealthReporter, utc_text};
use super::limits::{COMMIT_MAX_RECORDS, COMMIT_RETRY_FIRST, COMMIT_RETRY_MAX};
use super::lock::PublishedHead;
use super::names::{Names, NewName, Role};
use super::numbering::{self, Ids, Numbering, Plan};
use super::open_summary::OpenSummary;
use super::options::JournalOptions;
use super::queue::{DequeueResult, Queue};
use super::retention::{self, PrunedRange};
use super::storage::{LeftOpenEpoch, RestoredJournal, Storage, StorageError};
use super::sweep::Sweep;

/// Memory that the queue's buffers keep between bursts, in bytes.
const BUFFER_KEEP_BYTES: usize = 1 << 20;

/// The writing end of a journal and its state.
#[derive(Debug)]
pub(super) struct Writer<S> {
    storage: S,
    /// The time of records. Pauses and intervals are measured on the runtime's clock.
    clock: Clock,
    names: Names,
    numbering: Numbering,
    /// The summary of the segment that is being filled.
    summary: OpenSummary,
    sweep: Sweep,
    fill: FillPause,
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    head: watch::Sender<Offset>,
    health: HealthReporter,
    /// The journal's own name.
    identity: Box<str>,
}

/// The ends of a writer's queue and channels, for other tasks.
#[derive(Debug)]
pub(super) struct WriterOutlets {
    pub(super) queue: Arc<Queue>,
    pub(super) head: watch::Receiver<Offset>,
    pub(super) health: watch::Receiver<Health>,
    pub(super) gauge: Gauge,
}

/// The journal was closed while the disk refused writes; the text is the error.
#[derive(Debug)]
struct CommitError(Box<str>);

/// The pauses between the tries of a commit.
#[derive(Debug)]
struct Retry {
    pause: Duration,
    /// Whether the journal is closed: the next try is the last.
    is_last: bool,
}

impl Default for Retry {
    fn default() -> Self {
        Self { pause: COMMIT_RETRY_FIRST, is_last: false }
    }
}

impl<S: Storage> Writer<S> {
    /// Restores the state of the journal and closes the epochs that a hub left open.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] if the file cannot be read or written.
    pub(super) async fn start(
        mut storage: S,
        options: JournalOptions,
        clock: Clock,
    ) -> Result<Self, JournalError> {
        let restored = storage.restore(&options)?;
        let RestoredJournal { identity, names, numbering, summary, first, first_received, .. } = restored;
        let head = Offset(numbering.head());
        let health = HealthReporter::new(storage.path(), clock);
        let mut writer = Self {
            storage,
            clock,
            names,
            numbering,
            summary,
            sweep: Sweep::new(first, now()),
            fill: FillPause::new(now()),
            queue: Arc::new(Queue::new(options.queue_max_bytes, head, clock)),
            counters: Arc::default(),
            head: watch::Sender::new(head),
            health,
            identity,
        };
        writer.counters.removed(0, first);
        writer.queue.order_retention(options.retention);
        writer.queue.set_foreign(restored.foreign);
        let left_open = if options.closes_open_epochs || restored.lost.is_some() {
            restored.left_open
        } else {
            Vec::new()
        };
        writer
            .close_left_open(&left_open, first_received, restored.lost)
            .await
            .map_err(|error| error.into_journal_error("write", writer.path().to_owned()))?;
        Ok(writer)
    }

    /// The ends of the writer's queue and channels.
    pub(super) fn outlets(&self) -> WriterOutlets {
        WriterOutlets {
            queue: Arc::clone(&self.queue),
            head: self.head.subscribe(),
            health: self.health.subscribe(),
            gauge: Gauge::new(self.path(), &self.queue, &self.counters),
        }
    }

    fn path(&self) -> &Path {
        self.storage.path()
    }

    /// Writes until the queue is closed and empty.
    ///
    /// # Errors
    ///
    /// [`JournalError::Unwritten`] if the queue was closed while the disk refused writes, [`JournalError::Storage`] if
    /// the file cannot be closed.
    pub(super) async fn run(mut self) -> Result<(), JournalError> {
        // Wakes waiting tasks even if this one panics.
        let _end = EndOnDrop(Arc::clone(&self.queue));
        let mut batch = Batch::new();
        loop {
            let dequeued = self.queue.take(&mut batch, self.pause(now())).await;
            if dequeued == DequeueResult::End {
                break;
            }
            if let Err(CommitError(detail)) = self.commit_and_prune(&batch).await {
                return Err(JournalError::Unwritten { records: self.queue.uncommitted(), detail });
            }
            self.fill.step(&mut self.storage, now());
            if dequeued == DequeueResult::Batch {
                batch.clear();
                batch.shrink(BUFFER_KEEP_BYTES);
            }
        }
        self.storage.close()
    }

    /// The time until there is something to do besides commits; `None` if there is nothing.
    fn pause(&self, now: Instant) -> Option<Duration> {
        [self.sweep.pause(now), self.fill.pause(now)].into_iter().flatten().min()
    }

    async fn commit_and_prune(&mut self, batch: &Batch) -> Result<(), CommitError> {
        if !batch.has_nothing() {
            self.commit(batch).await?;
        }
        self.prune(batch.len() as u64).await
    }

    /// Commits all of a batch.
    async fn commit(&mut self, batch: &Batch) -> Result<(), CommitError> {
        let mut items = batch.items();
        for portion in batch.portions(COMMIT_MAX_RECORDS) {
            self.commit_next(&mut items, portion).await?;
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
        if let Err(error) = self.storage.write_checkpoints(checkpoints) {
            tracing::warn!(journal = %self.path().display(), "checkpoints cannot be written: {error}");
        }
    }

    /// Commits the next items, those of one transaction, and publishes the head.
    async fn commit_next<'a>(
        &mut self,
        items: &mut impl ExactSizeIterator<Item = Item<'a>>,
        Portion { records, positions }: Portion<'a>,
    ) -> Result<(), CommitError> {
        let group: Vec<Item<'a>> = items.take(records).collect();
        let ids = self.resolve(&group).await?;
        let (records, mut plan) = (group.len() as u64, Plan { positions, ..Plan::default() });
        for (item, ids) in group.into_iter().zip(ids) {
            self.numbering.assign(item, ids, &mut plan);
        }
        self.summary.sum(&mut plan);
        let names = self.names.take_fresh();
        self.commit_plan(&names, &plan).await?;
        self.names.trim();
        self.counters.committed(&plan);
        if !plan.sealed.is_empty() {
            self.sweep.grown(now());
            self.fill.sealed(now());
        }
        self.publish(records, &plan.implicit);
        Ok(())
    }

    /// Removes the next records that are too old or exceed the size, after `committed` ones were written.
    ///
    /// A failure is logged, and retried later.
    async fn prune(&mut self, committed: u64) -> Result<(), CommitError> {
        let (now, wall) = (now(), self.clock.now());
        let (retention, order) = self.queue.retention();
        if *self.sweep.retention() != retention {
            self.sweep.retain(retention, now);
        }
        // A journal that is too large loses one segment at a time, and a segment of large records has few of them.
        let mut left = retention::chunk(committed);
        while left > 0 {
            if self.sweep.is_due(now) {
                self.seal_early(retention.seal_before(wall)).await?;
                self.sweep.look(&self.storage, wall, now);
            }
            let names = (&mut self.names, &self.numbering);
            match self.sweep.step(&mut self.storage, names, left, now) {
                0 if self.sweep.is_put_off() => break,
                0 => {
                    self.queue.report_pruned(order);
                    break;
                }
                records => {
                    self.counters.removed(records, self.sweep.first());
                    left -= records;
                }
            }
        }
        Ok(())
    }

    /// Seals the open segment if it begins before `moment`.
    async fn seal_early(&mut self, moment: Option<UnixMicros>) -> Result<(), CommitError> {
        let mut plan = Plan::default();
        if let Some(moment) = moment {
            self.numbering.seal_before(moment, &mut plan);
        }
        if plan.sealed.is_empty() {
            return Ok(());
        }
        self.summary.sum(&mut plan);
        self.fill.sealed(now());
        self.commit_plan(&[], &plan).await
    }

    /// Looks up the names of `items`, as often as it takes; once more if the journal is closed.
    async fn resolve(&mut self, items: &[Item<'_>]) -> Result<Vec<Ids>, CommitError> {
        let mut retry = Retry::default();
        loop {
            match self.find_ids(items) {
                Ok(ids) => return Ok(ids),
                Err(error) => self.wait_after(&error, &mut retry).await?,
            }
        }
    }

    fn find_ids(&mut self, items: &[Item<'_>]) -> Result<Vec<Ids>, StorageError> {
        let Self { names, storage, .. } = self;
        let mut id = |role, name: &str| names.id(role, name, |role, name| storage.find_name(role, name));
        items
            .iter()
            .map(|item| {
                let vm = id(Role::Vm, item.vm)?;
                Ok(Ids { vm, event: item.event.map(|event| id(Role::Event, event)).transpose()? })
            })
            .collect()
    }

    /// Commits `plan`, as often as it takes; once more if the journal is closed.
    async fn commit_plan(&mut self, names: &[NewName], plan: &Plan<'_>) -> Result<(), CommitError> {
        let mut retry = Retry::default();
        loop {
            match self.storage.commit(names, plan).await {
                Ok(()) => {
                    self.health.report(None);
                    return Ok(());
                }
                Err(error) => self.wait_after(&error, &mut retry).await?,
            }
        }
    }

    /// Reports a failed try and waits until the next one; an error after the last.
    async fn wait_after(&self, error: &StorageError, retry: &mut Retry) -> Result<(), CommitError> {
        let error: Box<str> = error.to_string().into();
        self.counters.failed();
        self.health.report(Some(&error));
        if retry.is_last {
            return Err(CommitError(error));
        }
        retry.is_last = self.queue.pause(retry.pause).await;
        retry.pause = (retry.pause * 2).min(COMMIT_RETRY_MAX);
        Ok(())
    }

    /// Closes the epochs that are open in the file: their hub ended without closing them.
    async fn close_left_open(
        &mut self,
        left_open: &[LeftOpenEpoch],
        first_received: Option<UnixMicros>,
        lost: Option<PrunedRange>,
    ) -> Result<(), StorageError> {
        let (now, mut plan) = (self.clock.now(), Plan::default());
        for LeftOpenEpoch { vm, name, last, received } in left_open {
            // Retention may have removed the last record of a VM that was silent for so long: then the first record
            // that is kept was received later.
            let (certain_until, since) = match received {
                Some(at) => (*at, utc_text(*at)),
                None => {
                    let at = first_received.map_or(now, |first| first.min(now));
                    let is_kept = *last >= self.sweep.first();
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
            self.numbering.assign(item, Ids { vm: *vm, event: None }, &mut plan);
        }
        if !plan.rows.is_empty() {
            self.summary.sum(&mut plan);
            self.storage.commit(&[], &plan).await?;
            self.counters.committed(&plan);
        }
        self.publish(0, &[]);
        Ok(())
    }

    /// Publishes the committed records: `records` that were appended, and those at `implicit`.
    ///
    /// Only committed ones: a reader must never see a record that a crash can take back.
    fn publish(&mut self, records: u64, implicit: &[u64]) {
        let head = Offset(self.numbering.head());
        let (identity, epoch) = (self.identity.clone(), self.numbering.max_epoch());
        self.storage.publish(&PublishedHead { identity, head: head.0, epoch });
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

/// The current moment of the runtime's clock, which a test can pause and advance.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
