//! The queue from the appenders to the writer, bounded in bytes, and the progress of the commits.
//!
//! An appender never waits: the queue accepts the batch or returns an error. Bytes are counted until the commit, so
//! that a disk that refuses writes cannot make the queue grow by emptying it into the writer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use qmp_host::clock::Clock;
use qmp_host::lock;
use qmp_wire::{Epoch, Offset, Seq, UnixMicros};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

use super::batch::Batch;
use super::commit_offsets::{CommitOffset, CommitOffsets, Ticket};
use super::error::{JournalEnded, Overrun};
use super::foreign::{ForeignBatch, ForeignError, ForeignNumbers};
use super::retention::Retention;

/// Appends drafts to the journal. Cheap to clone, one for each task.
#[derive(Clone, Debug)]
pub struct Appender {
    queue: Arc<Queue>,
}

/// The progress of the commits.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    appended: u64,
    head: Offset,
    ended: bool,
    /// The last retention order that was carried out.
    pruned: u64,
}

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<QueueState>,
    /// Wakes the writer.
    work: Notify,
    clock: Clock,
    progress: watch::Sender<Progress>,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct QueueState {
    batch: Batch,
    /// Drafts ever appended.
    appended: u64,
    /// Bytes that the writer dequeued and has not committed.
    in_commit_bytes: usize,
    /// Since when the transaction in progress has not been committed.
    in_commit_since: Option<UnixMicros>,
    closing: bool,
    /// The retention policy, and the number of orders so far.
    retention: (Retention, u64),
    /// Wakes the writer although nothing was appended.
    nudged: bool,
    offsets: CommitOffsets,
    /// Of foreign records that were appended.
    foreign: ForeignNumbers,
}

/// The result of [`Queue::take`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DequeueResult {
    /// A batch to commit.
    Batch,
    /// Nothing within the given time.
    Nothing,
    /// The queue is closed and empty.
    End,
}

impl Appender {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self { queue }
    }

    /// Whether the journal has a retention policy, and removes old records.
    #[must_use]
    pub fn removes_records(&self) -> bool {
        self.queue.retention().0.is_set()
    }

    /// Appends all drafts of `batch`, which is empty afterwards. Never blocks on the disk.
    ///
    /// An empty batch is accepted, too: its ticket covers everything that was appended before.
    ///
    /// # Errors
    ///
    /// [`Overrun`] if the queue is full (or the journal closed); `batch` is unchanged.
    pub fn append(&self, batch: &mut Batch) -> Result<Ticket, Overrun> {
        self.queue.append(batch, |_| Ok(()))
    }

    /// Appends all foreign records of `batch`, which is empty afterwards. Never blocks on the disk.
    ///
    /// Its records and positions are committed in one transaction. No ticket waits for positions without records.
    ///
    /// # Errors
    ///
    /// [`ForeignError::Repeated`] if a record is not after the last one of its VM that was appended or is in the journal,
    /// and [`ForeignError::Overrun`]; `batch` is unchanged.
    pub fn append_foreign(&self, batch: &mut ForeignBatch) -> Result<Ticket, ForeignError> {
        let (drafts, vms) = batch.parts();
        let ticket = self.queue.append(drafts, |foreign| foreign.advance(vms))?;
        batch.clear();
        Ok(ticket)
    }

    /// As [`append_foreign`](Self::append_foreign), but waits for room.
    ///
    /// # Errors
    ///
    /// [`ForeignError::Repeated`], and [`ForeignError::Ended`] if the journal was closed.
    pub async fn append_foreign_when_room(&self, batch: &mut ForeignBatch) -> Result<Ticket, ForeignError> {
        loop {
            match self.append_foreign(batch) {
                Err(ForeignError::Overrun(Overrun)) => self.room().await?,
                appended => return appended,
            }
        }
    }

    /// The numbers of the last record of a VM of another host that was appended or is in the journal.
    #[must_use]
    pub fn last_foreign(&self, vm: &str) -> Option<(Epoch, Seq)> {
        self.queue.lock().foreign.last(vm)
    }

    /// Waits until everything up to `ticket` is committed, and returns a head that includes it.
    ///
    /// # Errors
    ///
    /// [`JournalEnded`] if the journal was closed without committing it.
    pub async fn committed(&self, ticket: Ticket) -> Result<Offset, JournalEnded> {
        let mut progress = self.queue.progress.subscribe();
        let reached = progress.wait_for(|now| now.appended >= ticket.records() || now.ended).await;
        let reached = *reached.map_err(|_| JournalEnded)?;
        if reached.appended >= ticket.records() { Ok(reached.head) } else { Err(JournalEnded) }
    }

    /// Returns the offset of `ticket`, which is set once it is assigned. The task that appended last for a VM calls
    /// this before it appends more: later records of the VM are exactly those after the offset.
    pub fn offset_of(&self, ticket: Option<Ticket>) -> CommitOffset {
        self.queue.lock().offsets.request(ticket)
    }

    /// Waits until at least half of the queue is free.
    ///
    /// # Errors
    ///
    /// [`JournalEnded`] if the journal was closed.
    pub async fn room(&self) -> Result<(), JournalEnded> {
        let mut progress = self.queue.progress.subscribe();
        loop {
            if progress.borrow_and_update().ended {
                return Err(JournalEnded);
            }
            {
                let state = self.queue.lock();
                if state.batch.bytes() + state.in_commit_bytes <= self.queue.max_bytes / 2 {
                    return Ok(());
                }
            }
            progress.changed().await.map_err(|_| JournalEnded)?;
        }
    }

    /// As [`append`](Self::append), but waits for room: for records that do not come from a VM.
    ///
    /// # Errors
    ///
    /// [`JournalEnded`] if the journal was closed.
    pub async fn append_when_room(&self, batch: &mut Batch) -> Result<Ticket, JournalEnded> {
        loop {
            match self.append(batch) {
                Ok(ticket) => return Ok(ticket),
                Err(Overrun) => self.room().await?,
            }
        }
    }
}

impl Queue {
    pub(super) fn new(max_bytes: usize, head: Offset, clock: Clock) -> Self {
        let progress = Progress { head, ..Progress::default() };
        Self {
            state: Mutex::new(QueueState { offsets: CommitOffsets::new(head), ..QueueState::default() }),
            work: Notify::new(),
            clock,
            progress: watch::Sender::new(progress),
            max_bytes,
        }
    }

    /// Sets the last numbers of each VM of other hosts in the journal.
    pub(super) fn set_foreign(&self, last: HashMap<Box<str>, (Epoch, Seq)>) {
        self.lock().foreign = ForeignNumbers::new(last);
    }

    /// Appends all drafts of `batch` if it fits and `check` has no error.
    fn append<E: From<Overrun>>(
        &self,
        batch: &mut Batch,
        check: impl FnOnce(&mut ForeignNumbers) -> Result<(), E>,
    ) -> Result<Ticket, E> {
        let mut state = self.lock();
        let used_bytes = state.batch.bytes() + state.in_commit_bytes;
        let fits = used_bytes == 0 || used_bytes.saturating_add(batch.bytes()) <= self.max_bytes;
        if state.closing || !fits {
            return Err(Overrun.into());
        }
        check(&mut state.foreign)?;
        state.appended += batch.len() as u64;
        // The writer waits only for a queue that is empty.
        let was_empty = state.batch.has_nothing();
        state.batch.take_from(batch);
        let ticket = Ticket::new(state.appended);
        drop(state);
        if was_empty {
            self.work.notify_one();
        }
        Ok(ticket)
    }

    /// Moves all queued drafts into `batch`; an empty queue is waited for, at most for `timeout`. Only the writer calls it.
    pub(super) async fn take(&self, batch: &mut Batch, timeout: Option<Duration>) -> DequeueResult {
        let idle = |state: &QueueState| state.batch.has_nothing() && !state.closing && !state.nudged;
        self.wait_while(timeout, idle).await;
        let mut state = self.lock();
        state.nudged = false;
        if state.batch.has_nothing() {
            return if state.closing { DequeueResult::End } else { DequeueResult::Nothing };
        }
        std::mem::swap(&mut state.batch, batch);
        state.in_commit_bytes = batch.bytes();
        state.in_commit_since = Some(self.clock.now());
        DequeueResult::Batch
    }

    /// Waits while `condition` holds, at most for `timeout`.
    async fn wait_while(&self, timeout: Option<Duration>, condition: impl Fn(&QueueState) -> bool) {
        if timeout == Some(Duration::ZERO) {
            // The runtime's timer would take up to a millisecond.
            return tokio::task::yield_now().await;
        }
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            // A notification after the check is not missed: the next one to wait takes it.
            if !condition(&self.lock()) {
                return;
            }
            match deadline {
                None => self.work.notified().await,
                Some(deadline) => {
                    if timeout_at(deadline, self.work.notified()).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Sets the retention policy and returns the number of this order.
    pub(super) fn order_retention(&self, retention: Retention) -> u64 {
        let mut state = self.lock();
        state.retention = (retention, state.retention.1 + 1);
        state.nudged = true;
        let order = state.retention.1;
        drop(state);
        self.work.notify_one();
        order
    }

    /// The retention policy, and the number of its order.
    pub(super) fn retention(&self) -> (Retention, u64) {
        self.lock().retention
    }

    /// Reports that pruning for retention order `order` has finished.
    pub(super) fn report_pruned(&self, order: u64) {
        self.progress.send_if_modified(|now| std::mem::replace(&mut now.pruned, order) != order);
    }

    /// Waits until pruning for retention order `order`, or a later one, has finished.
    pub(super) async fn wait_for_pruning(&self, order: u64) -> Result<(), JournalEnded> {
        let mut progress = self.progress.subscribe();
        let reached = progress.wait_for(|now| now.pruned >= order || now.ended).await;
        let reached = *reached.map_err(|_| JournalEnded)?;
        if reached.pruned >= order { Ok(()) } else { Err(JournalEnded) }
    }

    /// Reports that the dequeued batch is committed.
    pub(super) fn done(&self) {
        {
            let mut state = self.lock();
            (state.in_commit_bytes, state.in_commit_since) = (0, None);
        }
        // Tasks that wait for room check again.
        self.progress.send_modify(|_| ());
    }

    /// Assigns offsets to the next `records` appended drafts, the last of which is `head`. Between them are the records
    /// at `implicit`, which were not appended. Must be called before a reader can see the records.
    pub(super) fn assign(&self, records: u64, head: Offset, implicit: &[u64]) {
        self.lock().offsets.assign(records, head, implicit);
    }

    /// Reports that `records` more appended drafts are committed; `head` includes them.
    ///
    /// The rest of a batch in several transactions waits from here on.
    pub(super) fn publish(&self, records: u64, head: Offset) {
        if let Some(since) = &mut self.lock().in_commit_since {
            *since = self.clock.now();
        }
        self.progress.send_modify(|now| {
            now.appended += records;
            now.head = head;
        });
    }

    /// Refuses further drafts; the writer finishes the queue.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.work.notify_one();
    }

    /// Reports that the writer has ended: nothing more will be committed.
    pub(super) fn end(&self) {
        self.lock().closing = true;
        self.progress.send_modify(|now| now.ended = true);
    }

    /// Waits for `pause`, or until the queue is closed; returns whether it is closed.
    pub(super) async fn pause(&self, pause: Duration) -> bool {
        self.wait_while(Some(pause), |state| !state.closing).await;
        self.lock().closing
    }

    /// Since when the commit in progress has waited for the disk; `None` if nothing waits.
    pub(super) fn in_commit_since(&self) -> Option<UnixMicros> {
        self.lock().in_commit_since
    }

    /// The bytes that are appended and not committed, and their limit.
    pub(super) fn filling(&self) -> (usize, usize) {
        let state = self.lock();
        (state.batch.bytes() + state.in_commit_bytes, self.max_bytes)
    }

    /// The number of drafts that are appended and not committed.
    pub(super) fn uncommitted(&self) -> u64 {
        let appended = self.lock().appended;
        appended - self.progress.borrow().appended
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        // The state is consistent between any two statements: a panic elsewhere does not damage it.
        lock(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Draft;

    /// A stall is a batch that was dequeued and not committed, and nothing else.
    #[tokio::test]
    async fn queue_is_in_commit_only_between_dequeue_and_done() {
        let queue = Arc::new(Queue::new(1 << 20, Offset(0), Clock::Host));
        queue.publish(0, Offset(0));
        assert_eq!(queue.in_commit_since(), None, "opened");
        append(&Appender::new(Arc::clone(&queue)), 2);
        assert_eq!(queue.take(&mut Batch::new(), None).await, DequeueResult::Batch);
        let since = queue.in_commit_since().expect("dequeued");
        queue.publish(1, Offset(1));
        assert!(queue.in_commit_since() >= Some(since), "one of two transactions");
        queue.publish(1, Offset(2));
        queue.done();
        assert_eq!(queue.in_commit_since(), None, "committed");
        queue.publish(0, Offset(2));
        assert_eq!(queue.in_commit_since(), None, "idle");
    }

    fn append(appender: &Appender, drafts: u64) -> Ticket {
        let mut batch = Batch::new();
        for _ in 0..drafts {
            let body = qmp_wire::Body::Attached { snapshot: "{}".into() };
            batch.push(&Draft { vm: "vm1", received: qmp_wire::UnixMicros(1), body });
        }
        appender.append(&mut batch).expect("room")
    }
}
