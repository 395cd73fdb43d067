//! A bucket that fills with each event and leaks steadily.

use std::time::Duration;

use crate::finding::Id;
use crate::local_time::Moment;
use crate::saved::saved;

/// Counts one sort of event.
#[derive(Debug)]
pub(super) struct Bucket {
    /// When it will be empty, if nothing comes.
    empty_at: Moment,
    /// What one event fills, as the time in which it leaks out.
    portion: Duration,
    full: Duration,
    storming: bool,
    count: u64,
    first: (Id, Moment),
    last: (Id, Moment),
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) over: bool,
    pub(super) count: u64,
    pub(super) first: Id,
    pub(super) last: Id,
    pub(super) span: Duration,
}

saved!(Bucket { empty_at, portion, full, storming, count, first, last });

impl Bucket {
    /// A bucket that `events` at once fill, and that is empty again after `span`.
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

    /// Adds an event. Tells when that makes a storm.
    pub(super) fn add(&mut self, id: Id, now: Moment) -> Option<Told> {
        // A storm is ended by its deadline, which comes first.
        if !self.storming && self.empty_at <= now {
            (self.count, self.first) = (0, (id, now));
            self.empty_at = now;
        }
        self.empty_at = self.empty_at.after(self.portion).min(now.after(self.full));
        self.count += 1;
        self.last = (id, now);
        // The last portion counts as it drops in: what leaked out while the others did is less than that.
        let begins = !self.storming && self.empty_at.since(now) > self.full - self.portion;
        self.storming |= begins;
        begins.then(|| self.told(false))
    }

    /// When the storm is over, if nothing comes; `None` if there is none.
    pub(super) fn calm_at(&self) -> Option<Moment> {
        self.storming.then_some(self.empty_at)
    }

    /// Ends it. Tells if there was a storm.
    pub(super) fn end(&mut self) -> Option<Told> {
        let was = std::mem::take(&mut self.storming);
        was.then(|| self.told(true))
    }

    /// Quiet ones first.
    pub(super) fn rank(&self) -> (bool, Moment) {
        (self.storming, self.empty_at)
    }

    fn told(&self, over: bool) -> Told {
        let Self { count, first, last, .. } = *self;
        Told { over, count, first: first.0, last: last.0, span: last.1.since(first.1) }
    }
}

impl Told {
    pub(super) fn causes(&self) -> Vec<Id> {
        vec![self.first, self.last]
    }
}
