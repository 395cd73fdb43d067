//! The lanes, as `/v1/timeline` and `qmp_history::timeline` return them, and their description in words.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use qmp_wire::UnixMicros;
use serde::Deserialize;

use super::look::Look;

/// By severity: bucket and records.
pub(super) type Counts = BTreeMap<String, Vec<(i64, u64)>>;

/// From, to (`None`: it had not ended by the end of the window), index of its word, and a number.
pub(super) type Interval = (i64, Option<i64>, usize, u64);

/// The lanes of a window. Times are microseconds since the Unix epoch.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Lanes {
    pub(super) since: i64,
    pub(super) until: i64,
    pub(super) bucket: i64,
    #[serde(default)]
    pub(super) partial: bool,
    pub(super) states: Vec<String>,
    pub(super) reasons: Vec<String>,
    pub(super) kinds: Vec<String>,
    pub(super) total: Counts,
    pub(super) lanes_total: usize,
    pub(super) lanes: Vec<Lane>,
}

/// The lane of one VM.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Lane {
    pub(super) vm: String,
    #[serde(default)]
    pub(super) counts: Counts,
    /// The number is that of the changes within.
    #[serde(default)]
    pub(super) states: Vec<Interval>,
    /// The number is that of the gaps that are one here.
    #[serde(default)]
    pub(super) gaps: Vec<Interval>,
    /// Offset, from, to, kind, and how many findings are one here.
    #[serde(default)]
    pub(super) findings: Vec<(u64, i64, Option<i64>, usize, u64)>,
    /// Offset, time and name of each event; `None` if there are too many.
    #[serde(default)]
    pub(super) marks: Option<Vec<(u64, i64, String)>>,
}

impl Lanes {
    /// The word of an index.
    pub(super) fn word(words: &[String], index: usize) -> &str {
        words.get(index).map_or("unknown", String::as_str)
    }

    /// Whether events are counted and not listed.
    pub(super) fn has_counts_only(&self) -> bool {
        self.lanes.iter().any(|lane| lane.marks.is_none())
    }

    /// How many VMs these are: `3 VMs`, `100 of 1000 VMs`.
    pub(super) fn vms(&self) -> String {
        let (shown, all) = (self.lanes.len(), self.lanes_total);
        match (shown, all) {
            (1, 1) => "1 VM".to_owned(),
            _ if shown < all => format!("{shown} of {all} VMs"),
            _ => format!("{shown} VMs"),
        }
    }

    /// The window: `2026-01-02 03:04:05 to 2026-01-02 04:04:05 +00:00`.
    pub(super) fn range(&self, zone: &TimeZone) -> String {
        let offset = Timestamp::from_microsecond(self.until)
            .map(|until| until.to_zoned(zone.clone()).strftime(" %:z").to_string());
        let (since, until) = (moment(self.since, zone), moment(self.until, zone));
        format!("{since} to {until}{}", offset.unwrap_or_default())
    }

    /// The gaps of a lane in which events may have been missed. A VM that is off sends no events: the time from its end to its
    /// next start is a gap of the journal, and no gap here.
    pub(super) fn unwatched(&self, lane: &Lane) -> Vec<Interval> {
        let mut gaps = lane.gaps.clone();
        let off = lane
            .states
            .iter()
            .filter(|(_, _, state, _)| Look::of(Self::word(&self.states, *state)) == Look::Off);
        for (from, to, ..) in off {
            gaps = gaps.into_iter().flat_map(|gap| without(gap, *from, to.unwrap_or(i64::MAX))).collect();
        }
        gaps
    }
}

/// The parts of a gap before `from` and after `to`.
fn without((begin, end, reason, joined): Interval, from: i64, to: i64) -> Vec<Interval> {
    let last = end.unwrap_or(i64::MAX);
    if to <= begin || from >= last {
        return vec![(begin, end, reason, joined)];
    }
    let mut parts = Vec::new();
    if from > begin {
        parts.push((begin, Some(from), reason, joined));
    }
    if to < last {
        parts.push((to, end, reason, joined));
    }
    parts
}

/// A time to the second.
pub(super) fn moment(at: i64, zone: &TimeZone) -> String {
    let mut text = crate::time::write::local(UnixMicros(at), zone);
    if let Some(point) = text.find('.') {
        text.truncate(point);
    }
    text
}

/// The two largest units of a span: `3 d 4 h`, `12 s`, `250 ms`.
pub(super) fn duration(micros: i64) -> String {
    const UNITS: [(i64, &str); 7] = [
        (31_536_000_000_000, "y"),
        (86_400_000_000, "d"),
        (3_600_000_000, "h"),
        (60_000_000, "min"),
        (1_000_000, "s"),
        (1_000, "ms"),
        (1, "µs"),
    ];
    let Some(first) = UNITS.iter().position(|(unit, _)| micros >= *unit) else { return "0 s".to_owned() };
    let (large, name) = UNITS[first];
    let text = format!("{} {name}", micros / large);
    match UNITS.get(first + 1) {
        Some((small, name)) if first < 4 && micros % large >= *small => {
            format!("{text} {} {name}", micros % large / small)
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_between_an_end_and_a_start_is_no_gap() {
        let lane = Lane {
            states: vec![(0, Some(10), 0, 0), (10, Some(30), 1, 0), (30, None, 0, 0)],
            gaps: vec![(5, Some(40), 0, 1), (50, None, 0, 1)],
            ..Lane::default()
        };
        let lanes = Lanes { states: vec!["running".into(), "ended".into()], ..Lanes::default() };
        assert_eq!(lanes.unwatched(&lane), [(5, Some(10), 0, 1), (30, Some(40), 0, 1), (50, None, 0, 1)]);
    }

    #[test]
    fn span_has_its_two_largest_units() {
        let cases = [
            (0, "0 s"),
            (750, "750 µs"),
            (250_900, "250 ms"),
            (12_300_000, "12 s"),
            (125_000_000, "2 min 5 s"),
            (7_200_000_000, "2 h"),
            (273_600_000_000, "3 d 4 h"),
        ];
        for (micros, expected) in cases {
            assert_eq!(duration(micros), expected);
        }
    }
}
