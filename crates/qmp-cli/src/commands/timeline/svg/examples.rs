//! Lanes for tests.

use crate::commands::timeline::lanes::{Counts, Lane, Lanes};

const HOUR: i64 = 3_600_000_000;
/// 2026-01-02T00:00:00Z
const BEGIN: i64 = 1_767_312_000_000_000;

/// A day of three VMs: one with every look, one that is off, one with too many events to list.
pub(in crate::commands::timeline) fn day() -> Lanes {
    let at = |hours: i64| BEGIN + hours * HOUR;
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let counts = |news: &[(i64, u64)], error: &[(i64, u64)]| {
        Counts::from([("news".to_owned(), news.to_vec()), ("error".to_owned(), error.to_vec())])
    };
    let marks = [(3, "STOP"), (4, "RESUME"), (6, "BLOCK_IO_ERROR"), (9, "WATCHDOG"), (10, "RTC_CHANGE")];
    let marks =
        (1..).zip(marks).map(|(offset, (hours, name))| (offset, at(hours), name.to_owned())).collect();
    let db = Lane {
        vm: "db1".to_owned(),
        counts: counts(&[(10, 1)], &[(6, 1)]),
        states: vec![
            (at(-2), Some(at(3)), 0, 0),
            (at(3), Some(at(4)), 1, 0),
            (at(4), Some(at(6)), 0, 0),
            (at(6), Some(at(8)), 2, 0),
            (at(8), Some(at(12)), 0, 0),
            (at(12), Some(at(15)), 3, 0),
            (at(15), None, 0, 2),
        ],
        gaps: vec![(at(12), Some(at(15)), 0, 1)],
        findings: vec![
            (7, at(6), Some(at(8)), 0, 1),
            (9, at(7), Some(at(9)), 1, 2),
            (11, at(22), None, 1, 1),
        ],
        marks: Some(marks),
    };
    let mail = Lane {
        vm: "mail1 & co".to_owned(),
        states: vec![(at(0), Some(at(10)), 0, 0), (at(10), Some(at(20)), 4, 0), (at(20), None, 0, 0)],
        gaps: vec![(at(10), Some(at(20)), 1, 1)],
        marks: Some(Vec::new()),
        ..Lane::default()
    };
    let storm = Lane {
        vm: "storm1".to_owned(),
        counts: counts(&[(1, 5_000), (2, 40), (5, 1)], &[(2, 3)]),
        states: vec![(at(0), None, 0, 0)],
        ..Lane::default()
    };
    Lanes {
        since: at(0),
        until: at(24),
        bucket: HOUR,
        partial: false,
        states: words(&["running", "paused", "io-error", "unknown", "ended"]),
        reasons: words(&["hub stopped", "peer closed"]),
        kinds: words(&["why-paused", "storm"]),
        total: counts(&[(1, 5_000), (2, 40), (5, 1), (10, 1)], &[(2, 3), (6, 1)]),
        lanes_total: 5,
        lanes: vec![db, mail, storm],
    }
}
