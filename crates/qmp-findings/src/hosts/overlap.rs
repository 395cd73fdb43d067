//! The time for which one VM runs on two hosts at once.

use qmp_wire::UnixMicros;

use crate::finding::Id;
use crate::limits::TWO_HOSTS_MIN;
use crate::local_time::micros;

use super::run::{Run, RunEnd};

/// Two runs of one VM on two hosts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overlap {
    /// The later one of the two beginnings.
    pub(super) since: UnixMicros,
    /// Until when both ran for certain.
    pub(super) until: UnixMicros,
    /// Whether both may go on.
    pub(super) may_go_on: bool,
    /// The latest end that is possible.
    pub(super) latest: UnixMicros,
}

/// An overlap that was reported.
#[derive(Clone, Debug)]
pub(super) struct ReportedOverlap {
    /// The causes of the two runs.
    pub(super) runs: [Id; 2],
    pub(super) since: UnixMicros,
    /// Until when both ran for certain.
    pub(super) until: UnixMicros,
    pub(super) is_over: bool,
}

impl Overlap {
    /// The overlap of two runs, each with the time up to which its host was heard.
    pub(super) fn of(runs: [(&Run, UnixMicros); 2]) -> Self {
        let since = runs.iter().map(|(run, _)| run.since).max().unwrap_or(UnixMicros(i64::MIN));
        let until = runs.iter().map(|(run, heard)| run.certain_until(*heard)).min();
        let latest = runs.iter().map(|(run, _)| run.certain_until(UnixMicros(i64::MAX))).min();
        Self {
            since,
            until: until.unwrap_or(since).max(since),
            may_go_on: !runs.iter().any(|(run, _)| matches!(run.end, RunEnd::Ended(_))),
            latest: latest.unwrap_or(since),
        }
    }

    /// The moment at which it is longer than the hand-over of a migration and the difference of two clocks.
    pub(super) fn deadline(&self) -> UnixMicros {
        UnixMicros(self.since.0.saturating_add(micros(TWO_HOSTS_MIN)))
    }

    /// Whether both ran for certain until after the deadline.
    pub(super) fn is_long(&self) -> bool {
        self.until > self.deadline()
    }

    /// Whether it can become long.
    pub(super) fn may_be_long(&self) -> bool {
        self.latest > self.deadline()
    }
}
