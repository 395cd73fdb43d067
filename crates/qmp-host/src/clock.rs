//! This host's clock.

use std::time::{SystemTime, UNIX_EPOCH};

use qmp_wire::UnixMicros;

/// Returns the current time.
#[must_use]
pub fn now() -> UnixMicros {
    micros(SystemTime::now())
}

/// Converts a time to the form of records.
#[must_use]
pub fn micros(moment: SystemTime) -> UnixMicros {
    let micros = match moment.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
    };
    UnixMicros(micros)
}

/// A clock that is never set: it starts at the host's time and advances steadily. It measures spans, so that a step
/// of the host's clock makes none longer or shorter.
#[derive(Clone, Copy, Debug)]
pub struct SteadyClock {
    began: UnixMicros,
    since: tokio::time::Instant,
}

impl Default for SteadyClock {
    fn default() -> Self {
        Self::new()
    }
}

impl SteadyClock {
    /// Starts at the current time.
    #[must_use]
    pub fn new() -> Self {
        Self { began: now(), since: tokio::time::Instant::now() }
    }

    /// Returns its time.
    #[must_use]
    pub fn now(&self) -> UnixMicros {
        let elapsed = i64::try_from(self.since.elapsed().as_micros()).unwrap_or(i64::MAX);
        UnixMicros(self.began.0.saturating_add(elapsed))
    }

    /// Returns by how much the host's clock, which shows `wall`, is ahead of it, in microseconds.
    #[must_use]
    pub fn offset_us(&self, wall: UnixMicros) -> i64 {
        wall.0.saturating_sub(self.now().0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The host's clock goes on by itself meanwhile, and is not looked at.
    #[tokio::test(start_paused = true)]
    async fn steady_clock_shows_what_elapsed() {
        let clock = SteadyClock::new();
        let before = clock.now();
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert_eq!(clock.now(), UnixMicros(before.0 + 3_600_000_000));
        assert_eq!(clock.offset_us(UnixMicros(clock.now().0 - 7)), -7);
    }
}
