//! When the writer makes missing summaries: between commits, until none is missing.

use std::time::{Duration, Instant};

use super::limits::FILL_RETRY;
use super::storage::Storage;

/// The time of the next piece of work.
#[derive(Debug)]
pub(super) struct FillPause {
    /// `None` if no summary is missing.
    look_at: Option<Instant>,
}

impl FillPause {
    /// A journal whose summaries have not been looked at.
    pub(super) fn new(now: Instant) -> Self {
        Self { look_at: Some(now) }
    }

    /// The time until there is something to do; `None` if no summary is missing.
    pub(super) fn pause(&self, now: Instant) -> Option<Duration> {
        self.look_at.map(|look_at| look_at.saturating_duration_since(now))
    }

    /// Schedules a look after a segment was sealed.
    pub(super) fn sealed(&mut self, now: Instant) {
        self.look_at.get_or_insert(now);
    }

    /// Does the next piece of the work, if it is time. A failure is logged, and retried later.
    pub(super) fn step(&mut self, storage: &mut impl Storage, now: Instant) {
        if self.look_at.is_none_or(|look_at| look_at > now) {
            return;
        }
        self.look_at = match storage.fill() {
            Ok(is_left) => is_left.then_some(now),
            Err(error) => {
                let path = storage.path().display();
                tracing::warn!(journal = %path, "summaries cannot be made, tried again later: {error}");
                Some(now + FILL_RETRY)
            }
        };
    }
}
