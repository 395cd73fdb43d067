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

/// The clock of records: the host's, or one that a test advances.
#[derive(Clone, Copy, Debug, Default)]
pub enum Clock {
    /// This host's clock.
    #[default]
    Host,
    /// A clock that advances with the runtime's, which a test can pause and advance.
    Steady(SteadyClock),
}

impl Clock {
    /// Returns the current time.
    #[must_use]
    pub fn now(&self) -> UnixMicros {
        match self {
            Self::Host => now(),
            Self::Steady(clock) => clock.now(),
        }
    }

    /// Returns the time of a moment on the host's clock. On any other clock, that of a moment that has just passed: the
    /// current one.
    #[must_use]
    pub fn time_of(&self, moment: SystemTime) -> UnixMicros {
        match self {
            Self::Host => micros(moment),
            Self::Steady(clock) => clock.now(),
        }
    }
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
        Self::starting_at(now())
    }

    /// Starts at `began`.
    #[must_use]
    pub fn starting_at(began: UnixMicros) -> Self {
        Self { began, since: tokio::time::Instant::now() }
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
