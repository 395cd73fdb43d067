//! A leaky bucket: fills with each event and leaks steadily.

use std::time::Duration;

use crate::finding::Id;
use crate::local_time::Moment;
use crate::persist::persist;

/// Counts one kind of event.
#[derive(Debug)]
pub(super) struct Bucket {
    /// When the bucket will be empty, without further events.
    empty_at: Moment,
    /// The level that one event adds, as the time in which it leaks out.
    portion: Duration,
    full: Duration,
    storming: bool,
    count: u64,
    first: (Id, Moment),
    last: (Id, Moment),
}

/// The begin or end of a storm, for a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BurstReport {
    pub(super) over: bool,
    pub(super) count: u64,
    pub(super) first: Id,
    pub(super) last: Id,
    pub(super) span: Duration,
}

persist!(Bucket { empty_at, portion, full, storming, count, first, last });

impl Bucket {
    /// Creates a bucket that `events` at once fill, and that is empty again after `span`.
    pub(super) fn new(events: u32, span: Duration) -> Self {
        Self {
            empty_at: Moment::default(),
            portion: span / events,
            full: span,
            storming: false,
            count: 0,
            first: Default::default(),
            last: Default::default(),
        }
    }

    /// Adds an event. Returns a report if that begins a storm.
    pub(super) fn add(&mut self, id: Id, now: Moment) -> Option<BurstReport> {
        // The deadline of a storm, which is handled first, ends it.
        if !self.storming && self.empty_at <= now {
            (self.count, self.first) = (0, (id, now));
            self.empty_at = now;
        }
        self.empty_at = self.empty_at.after(self.portion).min(now.after(self.full));
        self.count += 1;
        self.last = (id, now);
        // The last portion counts in full: the bucket leaked less than one portion while the others were added.
        let begins = !self.storming && self.empty_at.since(now) > self.full - self.portion;
        self.storming |= begins;
        begins.then(|| self.report(false))
    }

    /// When the storm is over, without further events; `None` if there is none.
    pub(super) fn calm_at(&self) -> Option<Moment> {
        self.storming.then_some(self.empty_at)
    }

    /// Ends the storm. Returns a report if there was one.
    pub(super) fn end(&mut self) -> Option<BurstReport> {
        let was = std::mem::take(&mut self.storming);
        was.then(|| self.report(true))
    }

    /// The order of eviction: quiet buckets first.
    pub(super) fn rank(&self) -> (bool, Moment) {
        (self.storming, self.empty_at)
    }

    fn report(&self, over: bool) -> BurstReport {
        let Self { count, first, last, .. } = *self;
        BurstReport { over, count, first: first.0, last: last.0, span: last.1.since(first.1) }
    }
}

impl BurstReport {
    pub(super) fn causes(&self) -> Vec<Id> {
        vec![self.first, self.last]
    }
}
