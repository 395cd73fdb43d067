//! The clock of a machine: the host's, or a virtual one that only [`RunningMachine::advance`] moves.
//!
//! [`RunningMachine::advance`]: crate::RunningMachine::advance

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use qmp_server::{HostClock, ManualClock, TimeSource};

/// The time source of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MachineClock {
    /// The clocks of the host, which [`RunningMachine::advance`](crate::RunningMachine::advance) does not move.
    Host,
    /// A clock that starts at this time since the Unix epoch and moves only with
    /// [`RunningMachine::advance`](crate::RunningMachine::advance).
    Virtual(Duration),
}

impl Default for MachineClock {
    /// A virtual clock at the first second of 2026.
    fn default() -> Self {
        Self::Virtual(Duration::from_secs(1_767_225_600))
    }
}

/// The clock that the machine and its monitor share.
#[derive(Clone, Debug)]
pub(crate) struct SharedClock {
    source: Source,
    start: Instant,
}

#[derive(Clone, Debug)]
enum Source {
    Host,
    Virtual(Arc<ManualClock>),
}

impl SharedClock {
    pub(crate) fn new(clock: MachineClock) -> Self {
        let source = match clock {
            MachineClock::Host => Source::Host,
            MachineClock::Virtual(wall) => Source::Virtual(Arc::new(ManualClock::new(wall))),
        };
        let start = match &source {
            Source::Host => Instant::now(),
            Source::Virtual(clock) => clock.monotonic(),
        };
        Self { source, start }
    }

    /// Returns the time since the machine was started.
    pub(crate) fn now(&self) -> Duration {
        self.monotonic().saturating_duration_since(self.start)
    }

    pub(crate) fn is_virtual(&self) -> bool {
        matches!(self.source, Source::Virtual(_))
    }

    /// Advances a virtual clock; has no effect on the host's clocks, which advance by themselves.
    pub(crate) fn advance(&self, by: Duration) {
        if let Source::Virtual(clock) = &self.source {
            clock.advance(by);
        }
    }
}

impl TimeSource for SharedClock {
    fn monotonic(&self) -> Instant {
        match &self.source {
            Source::Host => HostClock.monotonic(),
            Source::Virtual(clock) => clock.monotonic(),
        }
    }

    fn wall(&self) -> Duration {
        match &self.source {
            Source::Host => HostClock.wall(),
            Source::Virtual(clock) => clock.wall(),
        }
    }
}
