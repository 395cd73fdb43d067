//! Damaged summaries of sealed segments: a reader finds what it would find without the damage, each change once.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use qmp_journal::{
    Batch, Change, ChangeKind, Class, CountKey, Damage, Digest, Draft, Journal, JournalOptions, MinuteCount,
    Reader, STANDING_EVERY_SEGMENTS, SummaryRequest, SummaryVisitor, Track, VmSelection,
};
use qmp_wire::{Body, Offset, UnixMicros};
use rusqlite::Connection;

const MINUTE: i64 = 60_000_000;
/// Each segment has a record of `web1` and one of `web2`, if no other VM stops.
const SEGMENT_RECORDS: u64 = 2;
/// The 64th and the 128th segment, which end at 128 and 256, have what holds after them.
const RECORDS: u64 = 2 * 150;
/// The only records of a VM each, before the window: the first before what holds is written.
const STOPS: [(u64, &str); 3] = [(3, "early"), (131, "late"), (259, "near")];
/// The first record of the window.
const WINDOW: u64 = 291;

/// Derives a track from each name.
#[derive(Debug)]
struct Words;

impl Digest for Words {
    fn version(&self) -> u32 {
        1
    }

    fn digest(&self, received: UnixMicros, body: &Body<'_>, changes: &mut Vec<Change<'static>>) -> Class {
        if let Body::Event { name, .. } = body {
            let kind = ChangeKind::Set { track: Track::new(0), word: name.to_string().into() };
            changes.push(Change { at: received, kind });
        }
        Class::default()
    }
}

/// What a request found.
#[derive(Debug, Default, PartialEq, Eq)]
struct CountsAndChanges {
    records: BTreeMap<CountKey, u64>,
    /// VM, offset and word of each change, as they were passed.
    changes: Vec<(u32, u64, String)>,
}

impl SummaryVisitor for CountsAndChanges {
    fn segment(&mut self, _first: Offset, _last: Offset) {}

    fn counts(&mut self, key: CountKey, minutes: &[MinuteCount]) {
        *self.records.entry(key).or_default() += minutes.iter().map(|minute| minute.records).sum::<u64>();
    }

    fn record(&mut self, key: CountKey, _at: UnixMicros, _offset: Offset) {
        *self.records.entry(key).or_default() += 1;
    }

    fn change(&mut self, vm: u32, Offset(offset): Offset, change: Change<'_>) {
        if let ChangeKind::Set { word, .. } = change.kind {
            self.changes.push((vm, offset, word.into_owned()));
        }
    }
}

impl CountsAndChanges {
    /// The last change of each VM.
    fn words(&self) -> BTreeMap<u32, (u64, &str)> {
        self.changes.iter().map(|(vm, offset, word)| (*vm, (*offset, &**word))).collect()
    }

    /// The changes from `first` on, in the order of the journal.
    fn changes_since(&self, first: u64) -> Vec<&(u32, u64, String)> {
        let mut changes: Vec<_> = self.changes.iter().filter(|(_, offset, _)| *offset >= first).collect();
        changes.sort_unstable_by_key(|(_, offset, _)| *offset);
        changes
    }
}

fn open(path: &Path) -> Journal {
    let options =
        JournalOptions { segment_records: SEGMENT_RECORDS, digest: &Words, ..JournalOptions::default() };
    Journal::open(path, options).expect("opens")
}

/// Writes an event a minute, and all summaries.
fn make(path: &Path) {
    let journal = open(path);
    let mut batch = Batch::new();
    for offset in 1..=RECORDS {
        let stop = STOPS.iter().find(|(stop, _)| *stop == offset);
        let busy = if offset % 2 == 1 { "web1" } else { "web2" };
        let (vm, name) = stop.map_or((busy, "RESUME"), |(_, vm)| (vm, "STOP"));
        let body = Body::Event { name: name.into(), sent_name: None, timestamp: None, data: None };
        batch.push(&Draft { vm, received: received(offset), body });
    }
    let appender = journal.appender();
    let ticket = appender.append(&mut batch).expect("room");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(appender.committed(ticket)).expect("is committed");
    wait_until_filled(path);
    journal.close().expect("closes");
}

fn received(offset: u64) -> UnixMicros {
    UnixMicros(i64::try_from(offset).expect("small") * MINUTE)
}

/// Waits until the writer has written what holds after every 64th segment.
fn wait_until_filled(path: &Path) {
    let connection = Connection::open(path).expect("opens");
    let sql = "SELECT count(standing) >= count(*) / ?1 FROM segment \
               LEFT JOIN summary ON summary.segment = segment.last";
    for _ in 0..10_000 {
        if connection.query_row(sql, [STANDING_EVERY_SEGMENTS], |row| row.get(0)).expect("reads") {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("what holds is still missing");
}

/// Reads the window.
fn read(reader: &Reader, changes: VmSelection<'_>) -> CountsAndChanges {
    let request = SummaryRequest {
        digest: &Words,
        since: received(WINDOW),
        until: UnixMicros(i64::MAX),
        after: Offset(0),
        is_exact: false,
        together: true,
        counts: VmSelection::Every,
        changes,
        deadline: None,
    };
    let mut found = CountsAndChanges::default();
    reader.read_summaries(&request, &mut found).expect("reads");
    found
}

fn vm(reader: &Reader, name: &str) -> u32 {
    reader.names().expect("reads").into_iter().find(|known| *known.name == *name).expect("is known").id
}

/// Each damage is reported, and a reader finds the same as without it: also by a request for all VMs after one for the VM whose
/// bytes are whole.
#[test]
fn damaged_summary_changes_nothing_that_is_read() {
    let home = tempfile::tempdir().expect("a directory");
    let whole = home.path().join("journal.db");
    make(&whole);
    let reader = Reader::open(&whole).expect("opens");
    let expected = read(&reader, VmSelection::Every);
    assert_eq!(expected.changes_since(WINDOW).len(), 10);
    assert_eq!(expected.words().len(), 2 + STOPS.len());
    assert_eq!(reader.damage(), []);
    // The bytes of web2 are the last ones.
    let web1 = vm(&reader, "web1");
    let cases = [
        (
            "changes without their end",
            "changes = substr(changes, 1, length(changes) - 1) WHERE segment = 294",
        ),
        ("changes of no VM", "changes = x'' WHERE segment = 294"),
        (
            "changes before the window without their end",
            "changes = substr(changes, 1, length(changes) - 1) WHERE segment = 270",
        ),
        ("changes that are a text", "changes = 'x' WHERE segment = 294"),
        ("changes before the window that are a number", "changes = 5 WHERE segment = 270"),
        ("counts that are a text", "counts = 'x' WHERE segment = 294"),
        ("what holds is a text", "standing = 'x' WHERE segment = 256"),
        ("what holds is a number", "standing = 5 WHERE segment = 256"),
        ("what holds is empty", "standing = x'' WHERE segment = 256"),
        ("what holds is of no VM", "standing = x'01ff' WHERE segment = 256"),
        (
            "what holds without its end",
            "standing = substr(standing, 1, length(standing) - 1) WHERE segment = 256",
        ),
        ("what holds, twice", "standing = iif(segment = 256, x'', 'x') WHERE segment IN (128, 256)"),
    ];
    for (number, (name, damage)) in (0..).zip(cases) {
        let path = home.path().join(format!("damaged{number}.db"));
        std::fs::copy(&whole, &path).expect("copies");
        let changed = Connection::open(&path)
            .and_then(|connection| connection.execute(&format!("UPDATE summary SET {damage}"), []));
        assert!(changed.is_ok_and(|rows| rows > 0), "{name}");
        for is_first in [true, false] {
            let reader = Reader::open(&path).expect("opens");
            if !is_first {
                read(&reader, VmSelection::These(&[web1]));
            }
            let found = read(&reader, VmSelection::Every);
            assert_eq!(found.changes_since(WINDOW), expected.changes_since(WINDOW), "{name}");
            assert_eq!((found.words(), &found.records), (expected.words(), &expected.records), "{name}");
            let damage = reader.damage();
            let is_reported = damage.iter().any(|span| matches!(span.damage, Damage::Index(_)));
            assert!(is_reported, "{name}: {damage:?}");
        }
    }
}
