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

/// Time for which a [`ManualClock`] can be advanced: deadlines after it are still representable.
const RANGE: Duration = Duration::from_secs(1 << 40);

/// A clock that moves only by [`advance`](Self::advance): for tests and for replay.
///
/// It stops 2^40 seconds after its start, some 34,000 years: later calls change nothing. After a call, let the monitor read it: [`Emitter::wake`](crate::Emitter::wake).
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

    /// Advances both clocks, at most to the end of their range.
    pub fn advance(&self, by: Duration) {
        let mut elapsed = lock(&self.elapsed);
        let by = by.min(RANGE.saturating_sub(*elapsed));
        *elapsed += by;
        let mut wall = lock(&self.wall);
        *wall = wall.saturating_add(by);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manual_clock_advanced_too_far_stops_and_can_still_be_read() {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        for wall in [Duration::ZERO, Duration::from_secs(1_700_000_000), Duration::MAX] {
            let clock = ManualClock::new(wall);
            clock.advance(DAY);
            for by in [Duration::MAX, Duration::MAX, DAY, Duration::from_secs(u64::MAX / 2)] {
                clock.advance(by);
                assert!(clock.monotonic() > clock.start + DAY);
                assert!(clock.monotonic().checked_add(DAY).is_some(), "the end of a rate limit");
                assert!(clock.wall() >= wall);
            }
        }
    }
}
