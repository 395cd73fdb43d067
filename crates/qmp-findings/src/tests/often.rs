//! Storms, flapping, and too many findings.

use std::fmt::Write as _;

use super::super::testing::{findings, found, story};

/// `count` lines of `what`, `micros` apart, the first at 1 s.
fn every(micros: u64, count: u64, what: impl Fn(u64) -> String) -> String {
    let mut text = "0 attached running\n".to_owned();
    for n in 0..count {
        let at = 1_000_000 + n * micros;
        writeln!(text, "{}.{:06} {}", at / 1_000_000, at % 1_000_000, what(n)).expect("a String accepts it");
    }
    text
}

#[test]
fn storm_is_reported_at_begin_and_end() {
    let corrupted =
        |_| "QUORUM_FAILURE {\"reference\": \"q\", \"sector-num\": 0, \"sectors-count\": 1}".to_owned();
    let cases: [(&str, u64, u64, &[&str]); 5] = [
        // name              apart      events   findings
        ("one a second", 1_000_000, 1_000, &[]),
        ("just not enough", 1_000, 19, &[]),
        ("just enough", 1_000, 20, &["storm QUORUM_FAILURE 1.1,1.20", "storm-over QUORUM_FAILURE 1.1,1.20"]),
        (
            "continues",
            1_000,
            5_000,
            &["storm QUORUM_FAILURE 1.1,1.20", "storm-over QUORUM_FAILURE 1.1,1.5000"],
        ),
        ("steady", 400_000, 200, &["storm QUORUM_FAILURE 1.1,1.92", "storm-over QUORUM_FAILURE 1.1,1.200"]),
    ];
    for (name, apart, events, expected) in cases {
        assert_eq!(found(&(every(apart, events, corrupted) + "9999 passes")), expected, "{name}");
    }
}

#[test]
fn passes_of_migration_are_no_storm() {
    assert_eq!(found(&every(300, 500, |n| format!("MIGRATION_PASS {{\"pass\": {n}}}"))), [""; 0]);
}

#[test]
fn thing_that_alternates_flaps() {
    let port = |n: u64| format!("VSERPORT_CHANGE {{\"id\": \"p\", \"open\": {}}}", n.is_multiple_of(2));
    let open = |_| "VSERPORT_CHANGE {\"id\": \"p\", \"open\": true}".to_owned();
    let other = |n: u64| format!("VSERPORT_CHANGE {{\"id\": \"p{n}\", \"open\": {}}}", n.is_multiple_of(2));
    let cases: [(&str, String, &[&str]); 4] = [
        ("too slow", every(20_000_000, 50, port), &[]),
        ("flaps", every(2_000_000, 12, port), &["flapping port 1.1,1.7", "flapping-over port 1.1,1.12"]),
        ("opens only", every(2_000_000, 12, open), &[]),
        ("each of another port", every(2_000_000, 12, other), &[]),
    ];
    for (name, story, expected) in cases {
        assert_eq!(found(&(story + "9999 passes")), expected, "{name}");
    }
}

#[test]
fn guest_cannot_fill_the_journal_with_findings() {
    let reset = |_| "RESET {\"guest\": true, \"reason\": \"guest-reset\"}".to_owned();
    // Resets within one second would count as the firmware's.
    let found = findings(&story(&(every(1_100_000, 2_000, reset) + "99999 passes")));
    let resets = found.iter().filter(|finding| finding.kind == "why-reset").count();
    let withheld: u64 = found
        .iter()
        .filter(|finding| finding.kind == "findings-withheld")
        .map(|finding| finding.data["count"].as_u64().expect("a count"))
        .sum();
    // In 2,200 s: 30 at once, and 30 in each 300 s.
    assert!(resets <= 250, "{resets}");
    assert_eq!(resets as u64 + withheld, 2_000, "none is lost from the count");
}
