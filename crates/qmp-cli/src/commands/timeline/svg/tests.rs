//! The whole picture as a snapshot, and pictures of hostile and empty lanes.

use super::examples;
use super::*;

#[test]
fn picture_of_a_day() {
    insta::assert_snapshot!(draw(&examples::day(), &TimeZone::UTC));
}

#[test]
fn hostile_names_stay_text() {
    let names =
        ["<script>alert(1)</script>", "\u{1b}[2J", &"long".repeat(2_500), "\u{202e}evil", "a\u{200b}b"];
    let mut lanes = examples::day();
    let lane = lanes.lanes[0].clone();
    lanes.lanes = names
        .iter()
        .map(|name| super::super::lanes::Lane { vm: (*name).to_owned(), ..lane.clone() })
        .collect();
    let picture = draw(&lanes, &TimeZone::UTC);
    assert!(!picture.contains("<script") && picture.contains("&lt;script&gt;"), "{picture}");
    assert!(!picture.contains(['\u{1b}', '\u{202e}', '\u{200b}']), "{picture}");
}

#[test]
fn picture_without_lanes_says_so() {
    let picture = draw(&Lanes { until: 1, ..Lanes::default() }, &TimeZone::UTC);
    assert!(picture.contains("No VM was watched in this time."), "{picture}");
}
