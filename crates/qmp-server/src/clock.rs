//! The two clocks of a monitor: one that says when an event happened, one that times rate limits.

use std::{
    fmt,
    sync::Mutex,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Where a monitor takes the time from.
pub trait Clock: fmt::Debug + Send + Sync {
    /// A clock that never goes back, and runs while the machine is stopped; rate limits are timed by it.
    fn monotonic(&self) -> Instant;

    /// Time since the Unix epoch; it stands in every event.
    fn wall(&self) -> Duration;
}

/// The clocks of the host, as QEMU uses them.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostClock;

impl Clock for HostClock {
    fn monotonic(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> Duration {
        // A host clock before 1970 has no form on the wire that means anything.
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

/// A clock that stands still until it is told to move on: for tests and for replay.
///
/// After [`advance`](Self::advance), let the monitor look at it: [`Emitter::wake`](crate::Emitter::wake).
#[derive(Debug)]
pub struct ManualClock {
    start: Instant,
    wall: Mutex<Duration>,
    elapsed: Mutex<Duration>,
}

impl ManualClock {
    /// A clock that stands at this time since the Unix epoch.
    #[must_use]
    pub fn new(wall: Duration) -> Self {
        Self { start: Instant::now(), wall: Mutex::new(wall), elapsed: Mutex::new(Duration::ZERO) }
    }

    /// Moves both clocks on.
    pub fn advance(&self, by: Duration) {
        *crate::queue::lock(&self.wall) += by;
        *crate::queue::lock(&self.elapsed) += by;
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Instant {
        self.start + *crate::queue::lock(&self.elapsed)
    }

    fn wall(&self) -> Duration {
        *crate::queue::lock(&self.wall)
    }
}
