//! The reply of `/v1/timeline`, as far as the display needs it.

use std::collections::BTreeMap;

use qmp_wire::UnixMicros;
use serde::Deserialize;

use super::history::{Cell, History};

/// A part of the timeline: some lanes of one span.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Timeline {
    /// The span that was requested, in microseconds. The hub widens it to whole buckets.
    #[serde(skip)]
    pub(super) requested: Option<i64>,
    since: i64,
    until: i64,
    bucket: i64,
    /// The newest record of the journal then.
    pub(super) head: u64,
    states: Vec<String>,
    /// The name of the first lane of the next part.
    pub(super) next: Option<String>,
    pub(super) lanes: Vec<Lane>,
}

/// The lane of one VM.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Lane {
    pub(super) vm: String,
    /// By severity: bucket and count.
    #[serde(default)]
    counts: BTreeMap<String, Vec<(i64, u32)>>,
    /// Begin, end (`None` if it lasts), position in the list of states, changes within.
    #[serde(default)]
    states: Vec<(i64, Option<i64>, usize, u64)>,
    /// Begin, end (`None` if it lasts), position in the list of reasons, gaps within.
    #[serde(default)]
    gaps: Vec<(i64, Option<i64>, usize, u64)>,
}

impl Timeline {
    /// The span that was requested, in microseconds; that of the buckets if it is not known.
    pub(super) fn span(&self) -> i64 {
        self.requested.unwrap_or_else(|| self.until.saturating_sub(self.since))
    }

    /// Adds a lane to a history.
    pub(super) fn add_to(&self, lane: &Lane, history: &mut History) {
        for (bucket, count) in lane.counts.values().flatten() {
            let at =
                self.since.saturating_add(bucket.saturating_mul(self.bucket)).saturating_add(self.bucket / 2);
            history.count(UnixMicros(at), *count);
        }
        let end = |to: &Option<i64>| UnixMicros(to.unwrap_or(self.until).min(self.until));
        for (from, to, state, _) in &lane.states {
            let cell = self.states.get(*state).map_or(Cell::Unknown, |name| Cell::of_run_state(name));
            history.note(UnixMicros(*from), end(to), cell);
        }
        for (from, to, _, _) in &lane.gaps {
            history.note(UnixMicros(*from), end(to), Cell::Gap);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lane_of_the_hub_becomes_a_history() {
        let text = r#"{"since": 0, "until": 30000000, "bucket": 1000000, "buckets": 30, "head": 7, "states": ["running", "io-error"],
            "reasons": ["hub stopped"], "next": null, "future": 1,
            "lanes": [{"vm": "db", "counts": {"error": [[17, 3]], "news": [[0, 412], [17, 1]]},
                "states": [[0, 17000000, 0, 1], [17000000, null, 1, 1]], "gaps": [[5000000, 6000000, 0, 1]], "marks": []}]}"#;
        let timeline: Timeline = serde_json::from_str(text).unwrap();
        let mut history = History::new(timeline.span(), UnixMicros(29_999_999));
        timeline.add_to(&timeline.lanes[0], &mut history);
        let counts = history.counts(30);
        assert_eq!((counts[0], counts[17], history.total()), (412, 4, 416));
        let cells = history.cells(30);
        assert_eq!(
            (cells[0], cells[5], cells[10], cells[29]),
            (Cell::Running, Cell::Gap, Cell::Running, Cell::Trouble)
        );
    }
}
