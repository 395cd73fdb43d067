//! Pruning: removes records that are too old or exceed the size, between the commits of the writer.
//!
//! A sweep works in small transactions of its own, the oldest records first.

use std::time::{Duration, Instant};

use qmp_wire::UnixMicros;

use super::limits::RETENTION_LOOK_EVERY;
use super::names::Names;
use super::numbering::Numbering;
use super::retention::Retention;
use super::storage::{Storage, StorageError};

/// The state of the pruning. All of it can be read from the file again.
#[derive(Debug)]
pub(super) struct Sweep {
    retention: Retention,
    /// The first offset that is kept; one more than the head if the journal is empty.
    first: u64,
    /// The offset up to which records are to be removed.
    target: u64,
    look_at: Instant,
    /// Whether the last try failed and another one is scheduled.
    is_put_off: bool,
}

impl Sweep {
    /// Begins in a journal whose first offset is `first`.
    pub(super) fn new(first: u64, now: Instant) -> Self {
        Self { retention: Retention::default(), first, target: 0, look_at: now, is_put_off: false }
    }

    /// Sets the retention policy.
    pub(super) fn retain(&mut self, retention: Retention, now: Instant) {
        (self.retention, self.target, self.look_at) = (retention, 0, now);
    }

    pub(super) fn retention(&self) -> &Retention {
        &self.retention
    }

    /// The first offset that is kept.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Whether there are records known to be removed.
    pub(super) fn is_busy(&self) -> bool {
        self.first <= self.target
    }

    /// The time until there is something to do; `None` without retention.
    pub(super) fn pause(&self, now: Instant) -> Option<Duration> {
        match (self.is_busy(), self.retention.is_set()) {
            (true, _) => Some(Duration::ZERO),
            (false, true) => Some(self.look_at.saturating_duration_since(now)),
            (false, false) => None,
        }
    }

    /// Schedules a look after a segment was sealed: the journal has grown.
    pub(super) fn grown(&mut self, now: Instant) {
        if !self.is_put_off {
            self.look_at = now;
        }
    }

    /// Whether it is time to [look](Self::look).
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.retention.is_set() && !self.is_busy() && self.look_at <= now
    }

    /// Whether the last try failed.
    pub(super) fn is_put_off(&self) -> bool {
        self.is_put_off
    }

    /// Computes the target. A failure is logged, and retried later.
    pub(super) fn look(&mut self, storage: &impl Storage, wall: UnixMicros, now: Instant) {
        self.look_at = now + RETENTION_LOOK_EVERY;
        self.is_put_off = false;
        match storage.measure(self.retention.oldest(wall)) {
            Ok(measured) => self.target = self.retention.target(measured),
            Err(error) => self.put_off(storage, &error, now),
        }
    }

    /// Removes the next records, at most `at_most`, and returns how many were removed. A failure is logged, and retried
    /// later.
    pub(super) fn step(
        &mut self,
        storage: &mut impl Storage,
        (names, numbering): (&mut Names, &Numbering),
        at_most: u64,
        now: Instant,
    ) -> u64 {
        if !self.is_busy() {
            return 0;
        }
        let upto = self.target.min(self.first - 1 + at_most);
        match storage.prune(self.first, upto, |name| numbering.is_in_open_segment(name)) {
            Ok(removed) => names.forget(&removed),
            Err(error) => {
                // The transaction may have removed the names.
                names.clear();
                self.put_off(storage, &error, now);
                return 0;
            }
        }
        let records = upto + 1 - self.first;
        self.first = upto + 1;
        if !self.is_busy() {
            // There may be more: of a journal that is too large, one segment is removed at a time.
            self.look_at = now;
        }
        records
    }

    /// Schedules the next try for later: an immediate one would fail, too.
    fn put_off(&mut self, storage: &impl Storage, error: &StorageError, now: Instant) {
        let path = storage.path().display();
        tracing::warn!(journal = %path, "old records cannot be removed, tried again later: {error}");
        (self.target, self.look_at) = (0, now + RETENTION_LOOK_EVERY);
        self.is_put_off = true;
    }
}
