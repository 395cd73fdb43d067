//! Summaries compared with the records that they stand for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use qmp_journal::{
    Batch, Change, ChangeKind, Class, CountKey, Damage, Digest, Draft, Journal, JournalOptions, MinuteCount,
    NoDigest, Query, Reader, RecordKind, Retention, SummaryRead, SummaryRequest, SummaryVisitor, Track,
    VmSelection,
};
use qmp_wire::{Body, DetachReason, Offset, Record, UnixMicros};
use rusqlite::Connection;

const MINUTE: i64 = 60_000_000;
const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/format2.journal");

/// Derives from names alone: STOP and RESUME set a track, other events open and close.
#[derive(Clone, Copy, Debug)]
struct Words(u32);

impl Digest for Words {
    fn version(&self) -> u32 {
        self.0
    }

    fn digest(&self, received: UnixMicros, body: &Body<'_>, changes: &mut Vec<Change<'static>>) -> Class {
        let mut change = |at, kind| changes.push(Change { at, kind });
        let set =
            |number, word: &str| ChangeKind::Set { track: Track::new(number), word: word.to_owned().into() };
        match body {
            Body::Attached { .. } => {
                change(received, set(0, "attached"));
                change(received, set(1, ""));
            }
            Body::Detached { reason, certain_until, .. } => {
                change(certain_until.unwrap_or(received), set(1, reason.as_str()));
                change(received, ChangeKind::CloseAll);
            }
            Body::Event { name, .. } if name == "STOP" || name == "RESUME" => change(received, set(0, name)),
            Body::Event { name, .. } if name == "OPEN" => {
                change(received, ChangeKind::Open { word: "it".into() });
            }
            Body::Event { name, .. } if name == "CLOSE" => {
                change(received, ChangeKind::Close { word: "it".into() });
            }
            Body::Event { data, .. } => return Class::new(u8::from(data.is_some())),
            Body::Finding { finding, .. } => {
                let word = finding.to_string().into();
                change(UnixMicros(received.0 - 5), ChangeKind::Span { word, until: received });
            }
        }
        Class::default()
    }
}

static WORDS: Words = Words(1);
static OTHER_WORDS: Words = Words(2);

/// VM, name, class, time, of records; `None` for all VMs.
type Counts = BTreeMap<(Option<String>, String, u8, i64), u64>;
/// Tracks and what lasts, of each VM.
type Conditions = BTreeMap<String, (BTreeMap<u8, (u64, String)>, BTreeSet<(u64, String)>)>;

/// The content of a window as it was read.
#[derive(Debug, Default, PartialEq)]
struct WindowContent {
    counts: Counts,
    held: Conditions,
    spans: BTreeSet<(u64, String, i64, i64)>,
}

struct Collect<'n> {
    names: &'n BTreeMap<u32, String>,
    precision: i64,
    found: WindowContent,
}

impl Collect<'_> {
    fn add(&mut self, key: CountKey, UnixMicros(at): UnixMicros, records: u64) {
        let vm = (key.vm > 0).then(|| self.names[&key.vm].clone());
        let key = (vm, self.names[&key.name].clone(), key.class.number(), at.div_euclid(self.precision));
        *self.found.counts.entry(key).or_default() += records;
    }
}

impl SummaryVisitor for Collect<'_> {
    fn segment(&mut self, first: Offset, last: Offset) {
        assert!(first <= last);
    }

    fn counts(&mut self, key: CountKey, minutes: &[MinuteCount]) {
        for minute in minutes {
            self.add(key, minute.begin(), minute.records);
        }
    }

    fn record(&mut self, key: CountKey, at: UnixMicros, _offset: Offset) {
        self.add(key, at, 1);
    }

    fn change(&mut self, vm: u32, offset: Offset, change: Change<'_>) {
        apply(&mut self.found, &self.names[&vm], offset.0, change);
    }
}

fn apply(found: &mut WindowContent, vm: &str, offset: u64, Change { at, kind }: Change<'_>) {
    let (tracks, open) = found.held.entry(vm.to_owned()).or_default();
    match kind {
        ChangeKind::Set { track, word } => drop(tracks.insert(track.number(), (offset, word.to_string()))),
        ChangeKind::Open { word } => {
            open.retain(|(_, open)| *open != *word);
            open.insert((offset, word.to_string()));
        }
        ChangeKind::Close { word } => open.retain(|(_, open)| *open != *word),
        ChangeKind::CloseAll => open.clear(),
        ChangeKind::Span { word, until } => {
            found.spans.insert((offset, format!("{vm} {word}"), at.0, until.0));
        }
    }
}

/// The content of a window by its records, one by one.
fn naive(records: &[Record<'static>], (since, until): (i64, i64), precision: i64) -> WindowContent {
    let mut found = WindowContent::default();
    for record in records {
        let mut changes = Vec::new();
        let class = WORDS.digest(record.received, &record.body, &mut changes);
        let offset = record.offset.expect("of a journal").0;
        for change in changes {
            apply(&mut found, &record.vm, offset, change);
        }
        if (since..until).contains(&record.received.0) {
            let name = match &record.body {
                Body::Event { name, .. } => name.to_string(),
                body => RecordKind::of(body).name().to_owned(),
            };
            for vm in [None, Some(record.vm.to_string())] {
                let at = record.received.0.div_euclid(precision);
                *found.counts.entry((vm, name.clone(), class.number(), at)).or_default() += 1;
            }
        }
    }
    found
}

fn read(reader: &Reader, (since, until): (i64, i64), is_exact: bool) -> (WindowContent, SummaryRead) {
    let names = reader.names().expect("reads").into_iter().map(|name| (name.id, name.name.into())).collect();
    let precision = if is_exact { 1 } else { MINUTE };
    let mut collect = Collect { names: &names, precision, found: WindowContent::default() };
    let request = SummaryRequest {
        digest: &WORDS,
        since: UnixMicros(since),
        until: UnixMicros(until),
        after: Offset(0),
        is_exact,
        together: true,
        counts: VmSelection::Every,
        changes: VmSelection::Every,
        deadline: None,
    };
    let read = reader.read_summaries(&request, &mut collect).expect("reads");
    (collect.found, read)
}

/// All records by a cursor.
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

fn options(segment_records: u64, digest: &'static dyn Digest) -> JournalOptions {
    JournalOptions { segment_records, digest, ..JournalOptions::default() }
}

fn append(journal: &Journal, drafts: &[Draft<'_>]) {
    let mut batch = Batch::new();
    drafts.iter().for_each(|draft| batch.push(draft));
    let appender = journal.appender();
    let ticket = appender.append(&mut batch).expect("room");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(appender.committed(ticket)).expect("is committed");
}

/// Segments without a summary of this version.
fn missing(path: &Path, version: u32) -> u32 {
    let connection = Connection::open(path).expect("opens");
    let sql = "SELECT count(*) FROM segment LEFT JOIN summary ON summary.segment = segment.last \
               WHERE summary.version IS NOT ?1";
    connection.query_row(sql, [version], |row| row.get(0)).expect("counts")
}

/// Lets the writer work until no summary is missing: it makes a piece after each commit.
fn fill(journal: &Journal, path: &Path, version: u32) {
    for _ in 0..1_000 {
        if missing(path, version) == 0 {
            return;
        }
        append(journal, &[]);
    }
    panic!("summaries are still missing");
}

fn draft() -> impl Strategy<Value = Draft<'static>> {
    let vm = prop::sample::select(vec!["web1", "web2", "STOP"]);
    let received = prop_oneof![0_i64..10 * MINUTE, -5 * MINUTE..300 * MINUTE].prop_map(UnixMicros);
    let name = prop::sample::select(vec!["STOP", "RESUME", "OPEN", "CLOSE", "web1", "OTHER"]);
    let event = (name, any::<bool>()).prop_map(|(name, has_data)| Body::Event {
        name: name.into(),
        sent_name: None,
        timestamp: None,
        data: has_data.then(|| "{}".into()),
    });
    let body = prop_oneof![
        6 => event,
        1 => Just(Body::Attached { snapshot: "{}".into() }),
        1 => (-MINUTE..MINUTE).prop_map(|until| Body::Detached {
            reason: DetachReason::PeerClosed,
            detail: None,
            certain_until: Some(UnixMicros(until)),
        }),
        1 => Just(Body::Finding {
            finding: "why-paused".into(),
            summary: String::new().into(),
            causes: Vec::new(),
            data: None,
        }),
    ];
    (vm, received, body).prop_map(|(vm, received, body)| Draft { vm, received, body })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Counts by minute, counts by record, and changes are those of the records: of sealed segments, of those that were
    /// sealed without a summary or by another digest, and of the records after them.
    #[test]
    fn summaries_agree_with_records(
        rounds in prop::collection::vec((prop::collection::vec(draft(), 0..60), 0_u8..4), 1..5),
        segment_records in 1_u64..12,
        windows in prop::collection::vec((-6_i64..310, 0_i64..310), 1..4),
    ) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("journal.db");
        for (drafts, way) in rounds {
            let digest: &'static dyn Digest = match way {
                0 => &NoDigest,
                1 => &OTHER_WORDS,
                _ => &WORDS,
            };
            let journal = Journal::open(&path, options(segment_records, digest)).expect("opens");
            for drafts in drafts.chunks(13) {
                append(&journal, drafts);
            }
            let reader = journal.reader();
            let all = records(&reader);
            if way == 3 {
                fill(&journal, &path, WORDS.version());
            }
            let everything = [(i64::MIN / MINUTE, i64::MAX / MINUTE)];
            for (since, length) in windows.iter().copied().chain(everything) {
                let window = (since * MINUTE, since.saturating_add(length).min(i64::MAX / MINUTE) * MINUTE);
                // The second time, sealed segments are read from memory.
                for is_exact in [false, false, true] {
                    let (found, _) = read(&reader, window, is_exact);
                    let expected = naive(&all, window, if is_exact { 1 } else { MINUTE });
                    prop_assert_eq!(&found.counts, &expected.counts, "{:?} {}", window, is_exact);
                    if way == 3 && window.1 > 300 * MINUTE {
                        prop_assert_eq!(&found.held, &expected.held, "{:?} {}", window, is_exact);
                    }
                }
            }
            if way == 3 {
                let (found, _) = read(&reader, (i64::MIN, i64::MAX), false);
                prop_assert_eq!(found.spans, naive(&all, (i64::MIN, i64::MAX), 1).spans);
            }
            journal.close().expect("closes");
        }
    }
}

/// A journal of the release before: all its records are there, and the aggregates are right before and after the hub has
/// added the summaries, while it writes.
#[test]
fn journal_of_format_2_is_migrated_while_the_hub_writes() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db");
    std::fs::copy(FIXTURE, &path).expect("copies");
    let (stored, format): (u32, u32) = {
        let connection = Connection::open(&path).expect("opens");
        let count =
            connection.query_row("SELECT count(*) FROM record", [], |row| row.get(0)).expect("counts");
        (count, connection.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("reads"))
    };
    assert_eq!((stored, format), (1_708, 2), "the fixture");
    let journal = Journal::open(&path, options(256, &WORDS)).expect("opens");
    let reader = journal.reader();
    let before = records(&reader);
    let everything = (i64::MIN / MINUTE * MINUTE, i64::MAX / MINUTE * MINUTE);
    let check = |all: &[Record<'static>]| {
        let (found, read) = read(&reader, everything, false);
        assert_eq!(found.counts, naive(all, everything, MINUTE).counts);
        assert_eq!(read.head.0, all.len() as u64);
        found
    };
    // The hub that left the epochs open is dead: they are closed, which adds records.
    assert!(before.len() >= stored as usize);
    check(&before);
    let drafts: Vec<Draft<'_>> = (0..300)
        .map(|index| {
            let body = Body::Event { name: "STOP".into(), sent_name: None, timestamp: None, data: None };
            Draft { vm: "web1", received: UnixMicros(1_800_000_000_000_000 + index * MINUTE), body }
        })
        .collect();
    for drafts in drafts.chunks(100) {
        append(&journal, drafts);
    }
    fill(&journal, &path, WORDS.version());
    let after = records(&reader);
    assert_eq!(after[..before.len()], before, "no record changes");
    assert_eq!(after.len(), before.len() + drafts.len());
    let found = check(&after);
    let expected = naive(&after, everything, MINUTE);
    assert_eq!((found.held, found.spans), (expected.held, expected.spans));
    journal.close().expect("closes");
    let report = qmp_journal::verify(&path).expect("reads");
    assert_eq!((report.faults, report.more_faults), (Vec::new(), 0));
}

/// A condition at the time of the first kept record is known after retention has removed the record that began it.
#[test]
fn held_values_outlast_their_records() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let now = i64::try_from(now.as_micros()).expect("before the year 294247");
    let (old, young) = (now - 10 * 3_600_000_000, now - 60_000_000);
    let event = |vm, name: &'static str, received| {
        let body = Body::Event { name: name.into(), sent_name: None, timestamp: None, data: None };
        Draft { vm, received: UnixMicros(received), body }
    };
    let mut drafts = vec![event("quiet", "STOP", old), event("quiet", "OPEN", old + 1)];
    drafts.extend((0..500).map(|index| event("busy", "RESUME", old + 2 + index)));
    let journal = Journal::open(&path, options(7, &WORDS)).expect("opens");
    append(&journal, &drafts);
    append(&journal, &[event("busy", "STOP", young)]);
    fill(&journal, &path, WORDS.version());
    let kept = Retention { max_age: Some(Duration::from_secs(3_600)), max_bytes: None };
    let ticket = journal.retain(kept);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(journal.wait_for_pruning(ticket)).expect("prunes");
    let reader = journal.reader();
    assert!(reader.first().expect("reads").0 > 490);
    for round in ["pruned", "opened again"] {
        let reader = Reader::open(&path).expect("opens");
        let (found, _) = read(&reader, (young / MINUTE * MINUTE, i64::MAX), false);
        let (tracks, open) = &found.held["quiet"];
        assert_eq!(tracks[&0], (1, "STOP".to_owned()), "{round}");
        assert_eq!(*open, BTreeSet::from([(2, "it".to_owned())]), "{round}");
        assert_eq!(found.held["busy"].0[&0].1, "STOP", "{round}");
        let rows: u32 = Connection::open(&path)
            .and_then(|connection| connection.query_row("SELECT count(*) FROM summary", [], |row| row.get(0)))
            .expect("counts");
        assert!(rows <= 3, "{round}: {rows} rows of summaries");
        if round == "pruned" {
            append(&journal, &[]);
        }
    }
    journal.close().expect("closes");
}

/// A summary that is damaged is replaced by the records, and the damage is reported; one of an unknown version is no summary.
#[test]
fn damaged_summary_is_replaced_by_the_records() {
    let changes = [
        ("counts", "x'01ff'", true),
        ("changes", "x'01ff'", true),
        ("version", "-1", false),
        ("version", "'x'", false),
    ];
    for (column, value, is_reported) in changes {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("journal.db");
        let journal = Journal::open(&path, options(5, &WORDS)).expect("opens");
        let drafts: Vec<Draft<'_>> = (0..23)
            .map(|index| {
                let body = Body::Event { name: "STOP".into(), sent_name: None, timestamp: None, data: None };
                Draft { vm: "web1", received: UnixMicros(index * MINUTE / 3), body }
            })
            .collect();
        append(&journal, &drafts);
        journal.close().expect("closes");
        let connection = Connection::open(&path).expect("opens");
        let sql = format!("UPDATE summary SET {column} = {value} WHERE segment = 10");
        assert_eq!(connection.execute(&sql, []), Ok(1));
        let reader = Reader::open(&path).expect("opens");
        let all = records(&reader);
        let (found, _) = read(&reader, (0, 100 * MINUTE), false);
        let expected = naive(&all, (0, 100 * MINUTE), MINUTE);
        assert_eq!((found.counts, found.held), (expected.counts, expected.held), "{column}");
        let damage = reader.damage();
        let is_index = matches!(damage.as_slice(), [span] if span.first.0 == 6 && matches!(span.damage, Damage::Index(_)));
        assert_eq!(is_index, is_reported, "{column}: {damage:?}");
        drop(reader);
        // A hub makes it again.
        Journal::open(&path, options(5, &WORDS)).expect("opens").close().expect("closes");
    }
}
