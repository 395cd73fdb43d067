//! The two clocks of a monitor: one for timestamps of events, one for rate limits.

use std::{
    fmt,
    sync::Mutex,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use qmp_host::lock;

/// The clocks that a monitor reads.
pub trait TimeSource: fmt::Debug + Send + Sync {
    /// Returns the time of a clock that never decreases, and runs while the machine is stopped; used for rate
    /// limits.
    fn monotonic(&self) -> Instant;

    /// Returns the time since the Unix epoch; part of every event.
    fn wall(&self) -> Duration;
}

/// The clocks of the host, as QEMU uses them.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostClock;

impl TimeSource for HostClock {
    fn monotonic(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> Duration {
        // A host clock before 1970 has no meaningful form on the wire.
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

/// A clock that moves only by [`advance`](Self::advance): for tests and for replay.
///
/// After a call, let the monitor read it: [`Emitter::wake`](crate::Emitter::wake).
#[derive(Debug)]
pub struct ManualClock {
    start: Instant,
    wall: Mutex<Duration>,
    elapsed: Mutex<Duration>,
}

impl ManualClock {
    /// Creates a clock at this time since the Unix epoch.
    #[must_use]
    pub fn new(wall: Duration) -> Self {
        Self { start: Instant::now(), wall: Mutex::new(wall), elapsed: Mutex::new(Duration::ZERO) }
    }

    /// Advances both clocks.
    pub fn advance(&self, by: Duration) {
        *lock(&self.wall) += by;
        *lock(&self.elapsed) += by;
    }
}

impl TimeSource for ManualClock {
    fn monotonic(&self) -> Instant {
        self.start + *lock(&self.elapsed)
    }

    fn wall(&self) -> Duration {
        *lock(&self.wall)
    }
}
