//! Local time: the moments of a VM's records, made monotonic.
//!
//! Records of a VM carry their time of receipt, on a clock that may be set. Correlators measure spans, so their time
//! never runs backwards: when the clock goes back, local time continues from its last value, and keeps the difference.

use std::time::Duration;

use qmp_wire::UnixMicros;

use crate::persist::persist;

/// A moment in local time, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(i64);

persist!(Moment { 0 });
persist!(LocalClock { last, lost_us });

impl Moment {
    /// The moment `span` later.
    pub(crate) fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(micros(span)))
    }

    /// The moment `span` earlier.
    pub(crate) fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(micros(span)))
    }

    /// The span since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }
}

/// A span in microseconds.
pub(crate) fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// Converts times of receipt to local time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LocalClock {
    last: Option<Moment>,
    /// By how much the host's clock went back so far, in microseconds.
    lost_us: i64,
}

impl LocalClock {
    /// The local time of a record, and how far the clock went back, if it did.
    pub(crate) fn record(&mut self, received: UnixMicros) -> (Moment, Option<Duration>) {
        let now = Moment(received.0.saturating_add(self.lost_us));
        let Some(last) = self.last.filter(|last| now < *last) else {
            self.last = Some(now);
            return (now, None);
        };
        let back = last.since(now);
        self.lost_us = self.lost_us.saturating_add(micros(back));
        (last, Some(back))
    }

    /// The local time of a moment on the host's clock.
    pub(crate) fn moment(&self, at: UnixMicros) -> Moment {
        Moment(at.0.saturating_add(self.lost_us))
    }

    /// The moment on the host's clock.
    pub(crate) fn on_host(&self, at: Moment) -> UnixMicros {
        UnixMicros(at.0.saturating_sub(self.lost_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_time_never_runs_backwards() {
        //  received    local    went back by
        let cases =
            [(100, 100, None), (90, 100, Some(10)), (95, 105, None), (5, 105, Some(90)), (6, 106, None)];
        let mut clock = LocalClock::default();
        for (received, local, back) in cases {
            let found = clock.record(UnixMicros(received));
            assert_eq!(found, (Moment(local), back.map(Duration::from_micros)), "{received}");
            assert_eq!(clock.on_host(clock.moment(UnixMicros(received))), UnixMicros(received));
        }
    }
}
