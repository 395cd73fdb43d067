//! Timelines, counts, findings, gaps and details of journals that are written by the test.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use qmp_findings::{COMMAND, KINDS, PROCESS_ENDED, QUERY};
use qmp_history::{
    CountsRequest, DIGEST, Facet, FindingsRequest, GapsRequest, LaneOrder, Scope, Severity, Timeline,
    TimelineRequest, counts, detail, findings, gaps, timeline,
};
use qmp_journal::{Batch, Draft, Globs, Journal, JournalOptions, Query, Reader};
use qmp_wire::{Body, DetachReason, Epoch, Offset, Record, Seq, UnixMicros};
use tempfile::TempDir;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
/// A whole minute: the second of January 2026.
const BEGIN: i64 = 1_767_312_000_000_000;

/// A journal in a directory of its own.
struct WrittenJournal {
    _home: TempDir,
    path: PathBuf,
    journal: Journal,
}

impl WrittenJournal {
    fn new(segment_records: u64) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("journal.db");
        let options = JournalOptions { segment_records, digest: DIGEST, ..JournalOptions::default() };
        let journal = Journal::open(&path, options).expect("opens");
        Self { _home: home, path, journal }
    }

    fn append(&self, drafts: &[Draft<'_>]) {
        let mut batch = Batch::new();
        drafts.iter().for_each(|draft| batch.push(draft));
        let appender = self.journal.appender();
        let ticket = appender.append(&mut batch).expect("room");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(appender.committed(ticket)).expect("is committed");
    }

    fn reader(&self) -> Reader {
        Reader::open(&self.path).expect("opens")
    }
}

fn event(vm: &'static str, at: i64, name: &'static str) -> Draft<'static> {
    let body = Body::Event { name: name.into(), sent_name: None, timestamp: None, data: None };
    Draft { vm, received: UnixMicros(at), body }
}

fn attached(vm: &'static str, at: i64, status: &str) -> Draft<'static> {
    let snapshot = format!(
        "{{\"query-status\":{{\"status\":\"{status}\"}},\"greeting\":{{\"version\":{{\"qemu\":{{\"major\":7,\
         \"minor\":2,\"micro\":22}}}}}}}}"
    );
    Draft { vm, received: UnixMicros(at), body: Body::Attached { snapshot: snapshot.into() } }
}

fn detached(vm: &'static str, at: i64, reason: DetachReason, certain_until: i64) -> Draft<'static> {
    let body = Body::Detached { reason, detail: None, certain_until: Some(UnixMicros(certain_until)) };
    Draft { vm, received: UnixMicros(at), body }
}

fn finding(
    vm: &'static str,
    at: i64,
    kind: &'static str,
    causes: &[(u32, u64)],
    data: &str,
) -> Draft<'static> {
    let body = Body::Finding {
        finding: kind.into(),
        summary: format!("{kind} of {vm}").into(),
        causes: causes.iter().map(|(epoch, seq)| (Epoch(*epoch), Seq(*seq))).collect(),
        data: Some(data.to_owned().into()),
    };
    Draft { vm, received: UnixMicros(at), body }
}

fn request(since: i64, until: i64, buckets: u32) -> TimelineRequest {
    let query = Query { since: Some(UnixMicros(since)), until: Some(UnixMicros(until)), ..Query::default() };
    TimelineRequest {
        scope: Scope { query, ..Scope::default() },
        buckets,
        lanes: 40,
        from: None,
        sort: LaneOrder::Name,
        marks: 2_000,
    }
}

fn read(reader: &Reader, request: &TimelineRequest) -> Timeline {
    timeline(reader, request, UnixMicros(BEGIN + 1_000 * HOUR)).expect("reads")
}

/// The states of a lane by name, in seconds from [`BEGIN`].
fn states(timeline: &Timeline, lane: usize) -> Vec<(i64, Option<i64>, &str, u32)> {
    let states = &timeline.lanes[lane].states;
    let state = |(from, to, state, changes): &(i64, Option<i64>, u32, u32)| {
        let to = to.map(|to| (to - BEGIN) / SECOND);
        ((from - BEGIN) / SECOND, to, &*timeline.states[*state as usize], *changes)
    };
    states.iter().map(state).collect()
}

fn gaps_of(timeline: &Timeline, lane: usize) -> Vec<(i64, Option<i64>, &str, u32)> {
    let gap = |(from, to, reason, count): &(i64, Option<i64>, u32, u32)| {
        let to = to.map(|to| (to - BEGIN) / SECOND);
        ((from - BEGIN) / SECOND, to, &*timeline.reasons[*reason as usize], *count)
    };
    timeline.lanes[lane].gaps.iter().map(gap).collect()
}

/// The states of a VM follow its records, whether they are read from summaries or not, and a gap begins at the last certain
/// moment.
#[test]
fn states_and_gaps_follow_the_records() {
    for segment_records in [2, 5, 1_000] {
        let written = WrittenJournal::new(segment_records);
        let at = |seconds: i64| BEGIN + seconds * SECOND;
        written.append(&[
            attached("web1", at(0), "running"),
            event("web1", at(600), "STOP"),
            finding("web1", at(600), "why-paused", &[(1, 1)], r#"{"run_state":"io-error"}"#),
            event("web1", at(1_200), "RESUME"),
            // A hub was killed: its successor says until when everything is certain.
            detached("web1", at(5_400), DetachReason::HubStopped, at(1_800)),
            attached("web1", at(5_400), "running"),
            detached("web1", at(7_200), DetachReason::PeerClosed, at(7_200)),
            // The hub waited for the end of the process: the VM was off from the end of its connection on.
            finding("web1", at(7_201), "why-ended", &[(2, 1)], r#"{"run_state":"ended"}"#),
        ]);
        let reader = written.reader();
        let all = read(&reader, &request(BEGIN, BEGIN + 3 * HOUR, 180));
        let expected = [
            (0, Some(600), "running", 0),
            (600, Some(1_200), "io-error", 0),
            (1_200, Some(1_800), "running", 0),
            (1_800, Some(5_400), "unknown", 0),
            (5_400, Some(7_200), "running", 0),
            (7_200, None, "ended", 0),
        ];
        assert_eq!(states(&all, 0), expected, "{segment_records}");
        let expected = [(1_800, Some(5_400), "hub stopped", 1), (7_200, None, "peer closed", 1)];
        assert_eq!(gaps_of(&all, 0), expected, "{segment_records}");
        // A window in the gap, which the record after it tells.
        let inside = read(&reader, &request(at(2_400), at(3_000), 10));
        assert_eq!(states(&inside, 0), [(1_800, None, "unknown", 0)], "{segment_records}");
        assert_eq!(gaps_of(&inside, 0), [(1_800, None, "hub stopped", 1)], "{segment_records}");
        // One before it, and one after the last record.
        assert_eq!(states(&read(&reader, &request(at(60), at(540), 10)), 0), [(0, None, "running", 0)]);
        let after = read(&reader, &request(at(9_000), at(9_600), 10));
        assert_eq!(states(&after, 0), [(7_200, None, "ended", 0)], "{segment_records}");
    }
}

/// VMs are listed from the one that is asked for, one that was removed before the window is not, and the order follows what
/// is asked for.
#[test]
fn lanes_are_listed_in_their_order() {
    let written = WrittenJournal::new(4);
    written.append(&[
        attached("db1", BEGIN, "running"),
        attached("gone1", BEGIN, "running"),
        detached("gone1", BEGIN + SECOND, DetachReason::Removed, BEGIN + SECOND),
        attached("web1", BEGIN, "running"),
        attached("web2", BEGIN, "running"),
        event("web2", BEGIN + HOUR, "RTC_CHANGE"),
        event("web2", BEGIN + HOUR, "RTC_CHANGE"),
        event("web1", BEGIN + HOUR, "GUEST_PANICKED"),
        event("db1", BEGIN + HOUR, "STOP"),
        finding("db1", BEGIN + HOUR, "why-paused", &[(1, 1)], r#"{"run_state":"io-error"}"#),
    ]);
    let reader = written.reader();
    let window = request(BEGIN + 30 * MINUTE, BEGIN + 2 * HOUR, 60);
    let names = |request: &TimelineRequest| {
        let timeline = read(&reader, request);
        let names: Vec<String> = timeline.lanes.iter().map(|lane| lane.vm.to_string()).collect();
        (names.join(" "), timeline.lanes_total, timeline.next.map(String::from))
    };
    assert_eq!(names(&window), ("db1 web1 web2".into(), 3, None));
    let two = TimelineRequest { lanes: 2, ..window.clone() };
    assert_eq!(names(&two), ("db1 web1".into(), 3, Some("web2".into())));
    let from = TimelineRequest { from: Some("web".into()), ..window.clone() };
    assert_eq!(names(&from), ("web1 web2".into(), 3, None));
    let trouble = TimelineRequest { sort: LaneOrder::Trouble, ..window.clone() };
    assert_eq!(names(&trouble).0, "db1 web1 web2");
    let activity = TimelineRequest { sort: LaneOrder::Activity, ..window.clone() };
    assert!(names(&activity).0.ends_with("web1"), "{:?}", names(&activity));
    let mut panicked = window;
    panicked.scope.query.event = Globs::parse(["GUEST_*"]).expect("a pattern");
    assert_eq!(names(&panicked), ("web1".into(), 1, None));
    let early = request(BEGIN, BEGIN + MINUTE, 60);
    assert_eq!(names(&early).0, "db1 gone1 web1 web2");
}

/// A flap that is shorter than a bucket is drawn, and counted.
/// A hub writes `attached` when it has the snapshot; events that it received meanwhile follow, with their own times.
#[test]
fn window_without_begin_has_records_received_before_the_first() {
    for segment_records in [2, 3, 1_000] {
        let written = WrittenJournal::new(segment_records);
        let at = |seconds: i64| BEGIN + seconds * SECOND;
        written.append(&[
            attached("web1", at(30), "running"),
            event("web1", at(28), "STOP"),
            event("web1", at(29), "RESUME"),
            event("web1", at(31), "STOP"),
        ]);
        let query = Query { until: Some(UnixMicros(at(60))), ..Query::default() };
        let scope = Scope { query, ..Scope::default() };
        let request = CountsRequest { scope, by: vec![Facet::Event], buckets: 30, top: 9, zone_micros: 0 };
        let counted = counts(&written.reader(), &request, UnixMicros(at(60))).expect("reads");
        assert_eq!((counted.coverage.since, counted.total), (at(28), 4), "{segment_records}");
    }
}

#[test]
fn flap_shorter_than_a_bucket_is_not_dropped() {
    let written = WrittenJournal::new(7);
    let mut drafts = vec![attached("web1", BEGIN, "running")];
    for flap in 0..20 {
        drafts.push(event("web1", BEGIN + HOUR + flap * 2_000, "STOP"));
        drafts.push(event("web1", BEGIN + HOUR + flap * 2_000 + 1_000, "RESUME"));
    }
    written.append(&drafts);
    let year = read(&written.reader(), &request(BEGIN - 8_000 * HOUR, BEGIN + 700 * HOUR, 1_200));
    assert_eq!(year.coverage.bucket, 435 * MINUTE);
    let drawn = states(&year, 0);
    assert_eq!(drawn.iter().map(|state| state.3 + 1).sum::<u32>(), 41, "{drawn:?}");
    assert!(drawn.len() <= 3, "{drawn:?}");
    assert_eq!(drawn.last().map(|state| (state.1, state.2)), Some((None, "running")));
}

/// Findings last from their begin to what ends them.
#[test]
fn findings_are_intervals() {
    for segment_records in [3, 1_000] {
        let written = WrittenJournal::new(segment_records);
        let at = |seconds: i64| BEGIN + seconds * SECOND;
        written.append(&[
            attached("web1", at(0), "running"),
            finding("web1", at(100), "storm", &[(1, 0)], r#"{"event":"RTC_CHANGE","span_seconds":4}"#),
            finding("web1", at(200), "storm-over", &[(1, 0)], r#"{"event":"RTC_CHANGE","span_seconds":104}"#),
            event("web1", at(300), "STOP"),
            finding("web1", at(300), "why-paused", &[(1, 3)], r#"{"run_state":"paused"}"#),
            event("web1", at(400), "RESUME"),
            finding("web1", at(500), "job", &[(1, 5)], r#"{"duration_seconds":50}"#),
            finding("web1", at(500), "command", &[], r#"{"execute":"query-status"}"#),
            finding(
                "web1",
                at(600),
                "silent",
                &[(1, 5)],
                r#"{"silent_since":"2026-01-02T00:09:30.000000Z"}"#,
            ),
        ]);
        let reader = written.reader();
        let ask = |open, since: Option<i64>, after: u64, limit| {
            let request = FindingsRequest {
                since: since.map(|since| UnixMicros(at(since))),
                until: None,
                vm: Globs::default(),
                host: Globs::default(),
                finding: Globs::default(),
                open,
                after: Offset(after),
                limit,
            };
            let found = findings(&reader, &request, UnixMicros(at(10_000))).expect("reads");
            let entry = |entry: &qmp_history::FindingEntry| {
                let seconds = |at: i64| (at - BEGIN) / SECOND;
                (entry.finding.to_string(), seconds(entry.from), entry.to.map(seconds), entry.offset)
            };
            (found.findings.iter().map(entry).collect::<Vec<_>>(), found.next)
        };
        let named = |name: &str, from, to, offset| (name.to_owned(), from, to, offset);
        let (all, next) = ask(None, None, 0, 100);
        let expected = [
            named("storm", 96, Some(200), 2),
            named("why-paused", 300, Some(400), 5),
            named("job", 450, Some(500), 7),
            named("silent", 570, None, 9),
        ];
        assert_eq!((all.as_slice(), next), (expected.as_slice(), None), "{segment_records}");
        assert_eq!(ask(Some(true), None, 0, 100).0, expected[3..], "{segment_records}");
        assert_eq!(ask(None, Some(350), 0, 100).0, expected[1..], "{segment_records}");
        assert_eq!(ask(None, None, 0, 2), (expected[..2].to_vec(), Some(5)), "{segment_records}");
        assert_eq!(ask(None, None, 5, 2), (expected[2..].to_vec(), None), "{segment_records}");
        let lane = &read(&reader, &request(at(0), at(1_200), 100)).lanes[0];
        let drawn: Vec<_> =
            lane.findings.iter().map(|(offset, _, to, _, count)| (*offset, to.is_none(), *count)).collect();
        assert_eq!(drawn, [(2, false, 1), (5, false, 1), (7, false, 1), (9, true, 1)], "{segment_records}");
    }
}

/// Gaps have the length of the time without a monitor, and come in pages.
/// Every kind of finding is counted, sealed or not; evidence is no finding, and is counted by kind of record.
#[test]
fn every_kind_of_finding_is_counted_and_no_evidence() {
    let evidence = [COMMAND, PROCESS_ENDED, QUERY];
    let kinds: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    let written = WrittenJournal::new(7);
    let drafts = kinds.iter().chain(&evidence).map(|kind| finding("web1", BEGIN, kind, &[], "{}"));
    written.append(&drafts.collect::<Vec<_>>());
    let request = CountsRequest {
        scope: Scope::default(),
        by: vec![Facet::Finding, Facet::Kind],
        buckets: 1,
        top: 100,
        zone_micros: 0,
    };
    let found = counts(&written.reader(), &request, UnixMicros(BEGIN + HOUR)).expect("reads");
    let names = |facet: &str| -> BTreeMap<String, u64> {
        found.by[facet].iter().map(|name| (name.name.to_string(), name.count)).collect()
    };
    assert_eq!(names("finding"), kinds.iter().map(|kind| ((*kind).to_owned(), 1)).collect());
    let all = (kinds.len() + evidence.len()) as u64;
    assert_eq!(names("kind"), BTreeMap::from([("finding".to_owned(), all)]));
}

#[test]
fn gaps_have_their_true_length() {
    let written = WrittenJournal::new(3);
    let at = |seconds: i64| BEGIN + seconds * SECOND;
    written.append(&[
        attached("web1", at(0), "running"),
        attached("web2", at(0), "running"),
        detached("web1", at(500), DetachReason::HubStopped, at(100)),
        detached("web2", at(510), DetachReason::Overrun, at(505)),
        attached("web1", at(600), "running"),
    ]);
    let reader = written.reader();
    let ask = |since: Option<i64>, until: Option<i64>, after: u64, limit| {
        let request = GapsRequest {
            since: since.map(|since| UnixMicros(at(since))),
            until: until.map(|until| UnixMicros(at(until))),
            vm: Globs::default(),
            host: Globs::default(),
            after: Offset(after),
            limit,
        };
        let found = gaps(&reader, &request).expect("reads");
        let gap = |gap: &qmp_history::GapEntry| {
            let seconds = |at: i64| (at - BEGIN) / SECOND;
            (
                gap.vm.to_string(),
                seconds(gap.from),
                gap.to.map(seconds),
                gap.reason.to_string(),
                gap.epoch_after,
            )
        };
        (found.gaps.iter().map(gap).collect::<Vec<_>>(), found.next)
    };
    let web1 = ("web1".to_owned(), 100, Some(600), "hub stopped".to_owned(), Some(2));
    let web2 = ("web2".to_owned(), 505, None, "overrun".to_owned(), None);
    assert_eq!(ask(None, None, 0, 10), (vec![web1.clone(), web2.clone()], None));
    assert_eq!(
        ask(Some(200), Some(300), 0, 10).0,
        std::slice::from_ref(&web1),
        "the record that tells is later"
    );
    assert_eq!(ask(Some(700), None, 0, 10).0, std::slice::from_ref(&web2));
    assert_eq!(ask(None, None, 0, 1), (vec![web1], Some(3)));
    assert_eq!(ask(None, None, 3, 1), (vec![web2], None));
}

/// A record is shown with what caused it, what it caused, and its neighbours.
#[test]
fn detail_has_causes_and_effects() {
    let written = WrittenJournal::new(4);
    let mut drafts = vec![attached("web1", BEGIN, "running"), attached("web2", BEGIN, "running")];
    drafts.extend((0..20).map(|index| event("web2", BEGIN + index, "RTC_CHANGE")));
    drafts.extend([
        event("web1", BEGIN + SECOND, "STOP"),
        event("web2", BEGIN + SECOND, "STOP"),
        finding("web1", BEGIN + SECOND, "why-paused", &[(1, 1)], "{}"),
        event("web1", BEGIN + 2 * SECOND, "RESUME"),
    ]);
    written.append(&drafts);
    let reader = written.reader();
    let find = |vm, epoch, seq| reader.find(vm, Epoch(epoch), Seq(seq)).expect("reads");
    let stop = find("web1", 1, 1).expect("is there");
    assert_eq!(stop.offset, Some(Offset(23)));
    let shown = detail(&reader, &stop).expect("reads");
    let text = serde_json::to_value(&shown).expect("JSON");
    assert_eq!(text["caused"][0]["finding"], "why-paused");
    assert_eq!(text["meaning"]["name"], "STOP");
    assert_eq!(text["before"], serde_json::json!({"vm": 1, "event": null}));
    assert_eq!(text["after"], serde_json::json!({"vm": 25, "event": 24}));
    let paused = find("web1", 1, 2).expect("is there");
    let text = serde_json::to_value(detail(&reader, &paused).expect("reads")).expect("JSON");
    assert_eq!(text["causes"][0]["offset"], 23);
    assert_eq!((&text["meaning"], &text["before"]["vm"]), (&serde_json::Value::Null, &23.into()));
    for seq in 0..=21 {
        assert_eq!(find("web2", 1, seq).map(|record| record.seq), Some(Seq(seq)), "{seq}");
    }
    for (vm, epoch, seq) in [("web1", 1, 4), ("web1", 2, 0), ("web3", 1, 0), ("web1", 0, 0)] {
        assert_eq!(find(vm, epoch, seq), None, "{vm} {epoch} {seq}");
    }
}

/// Records as drafts: some minutes of a few VMs.
fn drafts() -> impl Strategy<Value = Vec<Draft<'static>>> {
    let vm = prop::sample::select(vec!["web1", "web2", "db1"]);
    let name = prop::sample::select(vec!["STOP", "RESUME", "GUEST_PANICKED", "RTC_CHANGE", "NO_SUCH_EVENT"]);
    let one = (vm, 0_i64..30 * MINUTE, name, 0_u8..12).prop_map(|(vm, at, name, kind)| match kind {
        0 => attached(vm, BEGIN + at, "running"),
        1 => detached(vm, BEGIN + at, DetachReason::PeerClosed, BEGIN + at - SECOND),
        2 => finding(vm, BEGIN + at, "why-reset", &[], "{}"),
        _ => event(vm, BEGIN + at, name),
    });
    prop::collection::vec(one, 1..120)
}

/// All records, one by one.
fn records(reader: &Reader) -> Vec<Record<'static>> {
    let mut cursor = reader.cursor(Query::default(), Offset(0));
    let mut all = Vec::new();
    loop {
        let batch = cursor.next_batch(1_000).expect("reads");
        if batch.is_empty() {
            return all;
        }
        all.extend(batch);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// A wide window, from summaries, has the counts of the narrow ones, from records; and both have those of the records
    /// that match.
    #[test]
    fn wide_and_narrow_windows_have_the_same_counts(
        drafts in drafts(),
        segment_records in 2_u64..40,
        vm in prop::sample::select(vec!["*", "web*", "db1"]),
        name in prop::sample::select(vec!["*", "STOP", "G*"]),
        since in 0_i64..20,
        minutes in 1_i64..30,
    ) {
        let written = WrittenJournal::new(segment_records);
        written.append(&["web1", "web2", "db1"].map(|vm| attached(vm, BEGIN, "running")));
        written.append(&drafts);
        let reader = written.reader();
        let (since, until) = (BEGIN + since * MINUTE, BEGIN + (since + minutes) * MINUTE);
        let mut wide = request(since, until, u32::try_from(minutes).expect("small"));
        let glob = |pattern: &str| match pattern {
            "*" => Globs::default(),
            pattern => Globs::parse([pattern]).expect("a pattern"),
        };
        (wide.scope.query.vm, wide.scope.query.event) = (glob(vm), glob(name));
        let narrow = TimelineRequest { buckets: wide.buckets * 4, ..wide.clone() };
        let (wide, narrow) = (read(&reader, &wide), read(&reader, &narrow));
        prop_assert_eq!((wide.coverage.bucket, narrow.coverage.bucket), (MINUTE, MINUTE / 4));
        let query = Query { vm: glob(vm), event: glob(name), since: Some(UnixMicros(since)), until: Some(UnixMicros(until)), ..Query::default() };
        let matching: Vec<_> = records(&reader).into_iter().filter(|record| query.matches(record)).collect();
        let mut expected: BTreeMap<i64, u64> = BTreeMap::new();
        for record in &matching {
            *expected.entry((record.received.0 - since) / MINUTE).or_default() += 1;
        }
        let by_minute = |timeline: &Timeline, counts: &qmp_history::BucketCounts| {
            let mut sums: BTreeMap<i64, u64> = BTreeMap::new();
            for (bucket, count) in counts.values().flatten() {
                let minute = i64::from(*bucket) * timeline.coverage.bucket / MINUTE;
                *sums.entry(minute).or_default() += u64::from(*count);
            }
            sums
        };
        for timeline in [&wide, &narrow] {
            prop_assert_eq!(&by_minute(timeline, &timeline.total), &expected);
            let lanes = timeline.lanes.iter().map(|lane| by_minute(timeline, &lane.counts));
            let of_lanes: u64 = lanes.flat_map(BTreeMap::into_values).sum();
            prop_assert_eq!(of_lanes, matching.len() as u64);
            let marked: usize = timeline.lanes.iter().map(|lane| lane.marks.as_ref().map_or(0, Vec::len)).sum();
            let events = matching.iter().filter(|record| matches!(record.body, Body::Event { .. })).count();
            prop_assert_eq!(marked, events);
        }
        prop_assert_eq!(wide.lanes.iter().map(|lane| &lane.marks).collect::<Vec<_>>(), narrow.lanes.iter().map(|lane| &lane.marks).collect::<Vec<_>>());

        let ask = CountsRequest {
            scope: Scope { query, ..Scope::default() },
            by: Facet::ALL.to_vec(),
            buckets: 10,
            top: 2,
            zone_micros: 0,
        };
        let found = counts(&reader, &ask, UnixMicros(until)).expect("reads");
        prop_assert_eq!(found.total, matching.len() as u64);
        for facet in [Facet::Vm, Facet::Kind, Facet::Severity, Facet::Hour, Facet::Weekday] {
            let listed: u64 = found.by[facet.name()].iter().map(|name| name.count).sum();
            let other = found.other.get(facet.name()).map_or(0, |other| other.count);
            prop_assert_eq!(listed + other, found.total, "{:?}", facet);
            for name in &found.by[facet.name()] {
                prop_assert_eq!(name.spark.iter().sum::<u64>(), name.count);
            }
        }
        let top = found.by["event"].first().map_or(0, |name| name.count);
        let most = matching.iter().filter_map(|record| match &record.body {
            Body::Event { name, .. } => Some(name.clone()),
            _ => None,
        });
        let mut events: BTreeMap<_, u64> = BTreeMap::new();
        most.for_each(|name| *events.entry(name).or_default() += 1);
        prop_assert_eq!(top, events.into_values().max().unwrap_or(0));
        let severities: BTreeMap<&str, u64> = found.by["severity"].iter().map(|name| (&*name.name, name.count)).collect();
        let panics = matching.iter().filter(|record| matches!(&record.body, Body::Event { name, .. } if name == "GUEST_PANICKED")).count();
        if found.other["severity"].names == 0 {
            prop_assert_eq!(severities.get(Severity::Error.name()).copied().unwrap_or(0), panics as u64);
        }
    }

    /// A reader that has summaries in memory gives the same as one that decodes them, for all windows and orders.
    #[test]
    fn timelines_from_memory_are_those_of_the_file(
        drafts in drafts(),
        segment_records in 2_u64..40,
        requests in prop::collection::vec((0_i64..30, 1_i64..40, 1_u32..50, 0_usize..4, 0_u8..6), 1..6),
    ) {
        let written = WrittenJournal::new(segment_records);
        written.append(&["web1", "web2", "db1"].map(|vm| attached(vm, BEGIN, "running")));
        written.append(&drafts);
        let reader = written.reader();
        for (since, minutes, buckets, lanes, way) in requests {
            let (since, until) = (BEGIN + since * MINUTE, BEGIN + (since + minutes) * MINUTE);
            let mut request = TimelineRequest { lanes, ..request(since, until, buckets) };
            request.sort = [LaneOrder::Name, LaneOrder::Trouble, LaneOrder::Activity][usize::from(way % 3)];
            if way > 2 {
                request.scope.query.vm = Globs::parse(["web*"]).expect("a pattern");
            }
            prop_assert_eq!(read(&reader, &request), read(&written.reader(), &request));
            let request = CountsRequest {
                scope: request.scope,
                by: Facet::ALL.to_vec(),
                buckets,
                top: 2,
                zone_micros: 0,
            };
            let counted = |reader: &Reader| counts(reader, &request, UnixMicros(until)).expect("reads");
            prop_assert_eq!(counted(&reader), counted(&written.reader()));
        }
    }
}
