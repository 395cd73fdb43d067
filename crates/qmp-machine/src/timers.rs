//! Timers: work ordered by time, and by order of entry for the same time.

use std::{collections::BTreeMap, fmt, time::Duration};

/// The work of a timer on a machine of type `M`.
pub(crate) type Work<M> = Box<dyn FnOnce(&mut M) + Send>;

/// Work ordered by the time at which it is due.
pub(crate) struct Timers<M> {
    due: BTreeMap<(Duration, u64), Work<M>>,
    entered: u64,
}

impl<M> Timers<M> {
    pub(crate) fn enter(&mut self, at: Duration, work: Work<M>) {
        self.entered += 1;
        self.due.insert((at, self.entered), work);
    }

    /// Removes the first work and its time if it is due by `now`.
    pub(crate) fn take_due(&mut self, now: Duration) -> Option<(Duration, Work<M>)> {
        let ((at, _), _) = self.due.first_key_value()?;
        if *at > now {
            return None;
        }
        self.due.pop_first().map(|((at, _), work)| (at, work))
    }

    /// Returns when the next work is due.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn clear(&mut self) {
        self.due.clear();
    }
}

impl<M> Default for Timers<M> {
    fn default() -> Self {
        Self { due: BTreeMap::new(), entered: 0 }
    }
}

impl<M> fmt::Debug for Timers<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Timers").field("waiting", &self.due.len()).finish_non_exhaustive()
    }
}
