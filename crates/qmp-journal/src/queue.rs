//! The way from the appenders to the writer: a queue bounded in bytes, and what has become of it.
//!
//! An appender never waits: there is room, or it is told that there is none. Room is counted until the
//! commit, so that a disk that takes nothing cannot make the queue grow by emptying it into the writer.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use qmp_host::clock;
use qmp_wire::{Offset, UnixMicros};
use tokio::sync::watch;

use super::batch::Batch;
use super::error::JournalEnded;
use super::retention::Retention;

/// Names a place in what was appended: everything up to and including one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// The offset of a ticket's last record, from the moment on from which a reader may see what stands behind it.
pub type PlaceOf = Arc<OnceLock<Offset>>;

/// The queue is full: the disk does not keep up. The batch was not taken.
///
/// What the caller holds back from here on is lost to the journal unless it keeps it; a span that may have
/// lost something is to be closed with the reason `overrun`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal's queue is full: the disk does not keep up")]
pub struct Overrun;

/// Hands drafts to the journal. Cheap to clone, one for each task.
#[derive(Clone, Debug)]
pub struct Appender {
    queue: Arc<Queue>,
}

/// What has been committed.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    appended: u64,
    head: Offset,
    ended: bool,
    /// The last order about retention that was carried out.
    retained: u64,
}

#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    work: Condvar,
    progress: watch::Sender<Progress>,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    batch: Batch,
    /// Drafts ever appended.
    appended: u64,
    /// Bytes that the writer took and has not committed.
    in_commit_bytes: usize,
    /// Since when the transaction under way has not been committed.
    in_commit_since: Option<UnixMicros>,
    closing: bool,
    /// How long records are to be kept, and how often that was ordered.
    retention: (Retention, u64),
    /// The writer is to look up although nothing was appended.
    nudged: bool,
    /// Who wants to know where a ticket is that has no place yet.
    asked: Vec<(Ticket, PlaceOf)>,
    /// Drafts that have their places, and the last of these.
    settled: (u64, Offset),
}

/// What [`Queue::take`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Something to commit.
    Batch,
    /// Nothing, within the time that was given.
    Nothing,
    /// The queue is closed, and empty.
    End,
}

impl Appender {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self { queue }
    }

    /// Hands over all drafts of `batch`, which is empty afterwards. Never blocks for the disk.
    ///
    /// An empty batch is taken too: its ticket stands for everything that was appended before.
    ///
    /// # Errors
    ///
    /// [`Overrun`] when the queue is full (or the journal closed); `batch` is as it was.
    pub fn append(&self, batch: &mut Batch) -> Result<Ticket, Overrun> {
        let mut waiting = self.queue.lock();
        let used_bytes = waiting.batch.bytes() + waiting.in_commit_bytes;
        let fits = used_bytes == 0 || used_bytes.saturating_add(batch.bytes()) <= self.queue.max_bytes;
        if waiting.closing || !fits {
            return Err(Overrun);
        }
        waiting.appended += batch.len() as u64;
        waiting.batch.take_from(batch);
        let ticket = Ticket(waiting.appended);
        drop(waiting);
        self.queue.work.notify_one();
        Ok(ticket)
    }

    /// Waits until everything up to `ticket` is committed, and returns a head that includes it.
    ///
    /// # Errors
    ///
    /// [`JournalEnded`] if the journal was closed without committing it.
    pub async fn committed(&self, ticket: Ticket) -> Result<Offset, JournalEnded> {
        let mut progress = self.queue.progress.subscribe();
        let reached = progress.wait_for(|now| now.appended >= ticket.0 || now.ended).await;
        let reached = *reached.map_err(|_| JournalEnded)?;
        if reached.appended >= ticket.0 { Ok(reached.head) } else { Err(JournalEnded) }
    }

    /// Says where `ticket` is, once that is decided. To be asked by whoever appended last for a VM, before it appends more:
    /// of this VM, exactly what is appended from here on stands behind the place.
    pub fn place_of(&self, ticket: Option<Ticket>) -> PlaceOf {
        let mut waiting = self.queue.lock();
        let (settled, head) = waiting.settled;
        match ticket {
            Some(ticket) if ticket.0 > settled => {
                let place = PlaceOf::default();
                waiting.asked.push((ticket, Arc::clone(&place)));
                place
            }
            _ => Arc::new(head.into()),
        }
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
                let waiting = self.queue.lock();
                if waiting.batch.bytes() + waiting.in_commit_bytes <= self.queue.max_bytes / 2 {
                    return Ok(());
                }
            }
            progress.changed().await.map_err(|_| JournalEnded)?;
        }
    }

    /// As [`append`](Self::append), waiting for room if there is none: for what is not said by a VM.
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
    pub(super) fn new(max_bytes: usize, head: Offset) -> Self {
        let progress = Progress { head, ..Progress::default() };
        Self {
            waiting: Mutex::new(Waiting { settled: (0, head), ..Waiting::default() }),
            work: Condvar::new(),
            progress: watch::Sender::new(progress),
            max_bytes,
        }
    }

    /// Moves everything that waits into `batch`; if there is nothing, waits for it, at most for `patience`.
    pub(super) fn take(&self, batch: &mut Batch, patience: Option<Duration>) -> Taken {
        let idle = |waiting: &mut Waiting| waiting.batch.has_nothing() && !waiting.closing && !waiting.nudged;
        let waiting = self.lock();
        let mut waiting = match patience {
            None => self.work.wait_while(waiting, idle).unwrap_or_else(PoisonError::into_inner),
            Some(patience) => {
                self.work
                    .wait_timeout_while(waiting, patience, idle)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
        waiting.nudged = false;
        if waiting.batch.has_nothing() {
            return if waiting.closing { Taken::End } else { Taken::Nothing };
        }
        std::mem::swap(&mut waiting.batch, batch);
        waiting.in_commit_bytes = batch.bytes();
        waiting.in_commit_since = Some(clock::now());
        Taken::Batch
    }

    /// Orders that records are kept for so long; the number of the order.
    pub(super) fn order_retention(&self, retention: Retention) -> u64 {
        let mut waiting = self.lock();
        waiting.retention = (retention, waiting.retention.1 + 1);
        waiting.nudged = true;
        let order = waiting.retention.1;
        drop(waiting);
        self.work.notify_all();
        order
    }

    /// How long records are to be kept, and the number of that order.
    pub(super) fn retention(&self) -> (Retention, u64) {
        self.lock().retention
    }

    /// Everything is gone that was to go by this order.
    pub(super) fn retained(&self, order: u64) {
        self.progress.send_if_modified(|now| std::mem::replace(&mut now.retained, order) != order);
    }

    /// Waits until everything is gone that was to go by this order.
    pub(super) async fn until_retained(&self, order: u64) -> Result<(), JournalEnded> {
        let mut progress = self.progress.subscribe();
        let reached = progress.wait_for(|now| now.retained >= order || now.ended).await;
        let reached = *reached.map_err(|_| JournalEnded)?;
        if reached.retained >= order { Ok(()) } else { Err(JournalEnded) }
    }

    /// The batch that was taken is committed.
    pub(super) fn done(&self) {
        {
            let mut waiting = self.lock();
            (waiting.in_commit_bytes, waiting.in_commit_since) = (0, None);
        }
        // Whoever waits for room looks again.
        self.progress.send_modify(|_| ());
    }

    /// `records` more of what was appended have their places, the last of which is `head`. Between them stand `unasked`
    /// records that were not appended. To be told before a reader may see them.
    pub(super) fn settle(&self, records: u64, head: Offset, unasked: &[u64]) {
        let mut waiting = self.lock();
        let (before, base) = waiting.settled;
        waiting.settled = (before + records, head);
        let due = |(ticket, _): &mut (Ticket, PlaceOf)| ticket.0 <= before + records;
        for (ticket, place) in waiting.asked.extract_if(.., due) {
            let nth = base.0 + (ticket.0 - before);
            let offset = unasked.iter().fold(nth, |offset, unasked| offset + u64::from(*unasked <= offset));
            // Each is asked for once.
            let _ = place.set(Offset(offset));
        }
    }

    /// `records` more of what was appended are committed; `head` includes them.
    ///
    /// What is left of a batch in several transactions waits from here on.
    pub(super) fn publish(&self, records: u64, head: Offset) {
        if let Some(since) = &mut self.lock().in_commit_since {
            *since = clock::now();
        }
        self.progress.send_modify(|now| {
            now.appended += records;
            now.head = head;
        });
    }

    /// Lets nothing more in; the writer finishes what waits.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.work.notify_all();
    }

    /// Nobody will commit anything any more.
    pub(super) fn end(&self) {
        self.lock().closing = true;
        self.progress.send_modify(|now| now.ended = true);
    }

    /// Waits for `pause`, less if the queue is closed; returns whether it is closed.
    pub(super) fn pause(&self, pause: Duration) -> bool {
        let waiting = self.lock();
        let (waiting, _) = self
            .work
            .wait_timeout_while(waiting, pause, |waiting| !waiting.closing)
            .unwrap_or_else(PoisonError::into_inner);
        waiting.closing
    }

    /// Since when what waits for the disk has not been committed; `None` if nothing waits.
    pub(super) fn in_commit_since(&self) -> Option<UnixMicros> {
        self.lock().in_commit_since
    }

    /// What was appended and not committed, and the most that may be, in bytes.
    pub(super) fn filling(&self) -> (usize, usize) {
        let waiting = self.lock();
        (waiting.batch.bytes() + waiting.in_commit_bytes, self.max_bytes)
    }

    /// Drafts that were appended and not committed.
    pub(super) fn uncommitted(&self) -> u64 {
        let appended = self.lock().appended;
        appended - self.progress.borrow().appended
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // The state is whole between any two statements: a panic elsewhere does not damage it.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Draft;

    /// How many drafts, the head, and the records that were not asked for.
    type Settled = (u64, u64, &'static [u64]);

    type Case = (&'static [u64], &'static [Settled], &'static [Option<u64>]);

    #[test]
    fn a_ticket_has_the_place_of_its_last_record() {
        //  appended   settled                                            where the second ticket is, after each
        let cases: [Case; 6] = [
            (&[1, 1], &[(2, 12, &[])], &[Some(12)]),
            (&[1, 1, 3], &[(5, 15, &[])], &[Some(12)]),
            (&[2, 2], &[(1, 11, &[]), (2, 13, &[]), (1, 14, &[])], &[None, None, Some(14)]),
            (&[1, 1], &[(2, 13, &[11])], &[Some(13)]),
            (&[1, 1, 1], &[(3, 15, &[12, 14])], &[Some(13)]),
            (&[1, 1, 1], &[(1, 12, &[11]), (2, 15, &[15])], &[None, Some(13)]),
        ];
        for (appended, settled, expected) in cases {
            let queue = Arc::new(Queue::new(1 << 20, Offset(10)));
            let appender = Appender::new(Arc::clone(&queue));
            let tickets: Vec<Ticket> = appended.iter().map(|drafts| append(&appender, *drafts)).collect();
            let place = appender.place_of(Some(tickets[1]));
            assert_eq!(place.get(), None, "{appended:?}: nothing is decided yet");
            for ((records, head, unasked), expected) in settled.iter().zip(expected) {
                queue.settle(*records, Offset(*head), unasked);
                assert_eq!(place.get().map(|place| place.0), *expected, "{appended:?} {settled:?}");
            }
            // Whoever asks later stands behind all that is decided.
            let head = settled.last().expect("one").1;
            assert_eq!(appender.place_of(Some(tickets[1])).get(), Some(&Offset(head)), "{appended:?}");
            assert_eq!(appender.place_of(None).get(), Some(&Offset(head)), "{appended:?}");
        }
    }

    /// A stall is a batch that was taken and not committed, and nothing else.
    #[test]
    fn nothing_is_in_commit_unless_a_batch_was_taken() {
        let queue = Arc::new(Queue::new(1 << 20, Offset(0)));
        queue.publish(0, Offset(0));
        assert_eq!(queue.in_commit_since(), None, "opened");
        append(&Appender::new(Arc::clone(&queue)), 2);
        assert_eq!(queue.take(&mut Batch::new(), None), Taken::Batch);
        let taken = queue.in_commit_since().expect("taken");
        queue.publish(1, Offset(1));
        assert!(queue.in_commit_since() >= Some(taken), "one of two transactions");
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
