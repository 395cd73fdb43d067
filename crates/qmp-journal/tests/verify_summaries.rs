//! The check of a journal compares the summary of each sealed segment with the segment's records.

use std::path::Path;

use qmp_journal::{
    Batch, Change, ChangeKind, Class, Digest, Draft, Journal, JournalOptions, NoDigest, Track, verify,
    verify_with,
};
use qmp_wire::{Body, UnixMicros};
use rusqlite::Connection;

const MINUTE: i64 = 60_000_000;
const REMOVE: &str =
    "`DELETE FROM summary WHERE segment = 10` removes it, and a hub that starts after that makes it again";

/// Derives a class from the name, and a change from each STOP.
#[derive(Clone, Copy, Debug)]
struct Words(u32);

impl Digest for Words {
    fn version(&self) -> u32 {
        self.0
    }

    fn digest(&self, received: UnixMicros, body: &Body<'_>, changes: &mut Vec<Change<'static>>) -> Class {
        let Body::Event { name, .. } = body else { return Class::default() };
        if name == "STOP" {
            let kind = ChangeKind::Set { track: Track::new(0), word: "paused".into() };
            changes.push(Change { at: received, kind });
        }
        Class::new(u8::from(name == "STOP"))
    }
}

static WORDS: Words = Words(3);
static EARLIER_WORDS: Words = Words(2);

/// Writes a journal of 23 records, of which 20 are in sealed segments of 5.
fn make(path: &Path, digest: &'static dyn Digest) {
    let journal = open(path, digest);
    let drafts: Vec<Draft<'_>> = (0..23)
        .map(|index| {
            let name = if index % 2 == 0 { "STOP" } else { "RESUME" };
            let body = Body::Event { name: name.into(), sent_name: None, timestamp: None, data: None };
            Draft { vm: "web1", received: UnixMicros(index * MINUTE / 3), body }
        })
        .collect();
    append(&journal, &drafts);
    journal.close().expect("closes");
}

fn open(path: &Path, digest: &'static dyn Digest) -> Journal {
    Journal::open(path, JournalOptions { segment_records: 5, digest, ..JournalOptions::default() })
        .expect("opens")
}

fn append(journal: &Journal, drafts: &[Draft<'_>]) {
    let mut batch = Batch::new();
    drafts.iter().for_each(|draft| batch.push(draft));
    let appender = journal.appender();
    let ticket = appender.append(&mut batch).expect("room");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(appender.committed(ticket)).expect("is committed");
}

/// Changes the file; returns the number of changed rows.
fn sql(path: &Path, change: &str) -> usize {
    Connection::open(path).and_then(|connection| connection.execute(change, [])).expect("changes")
}

/// The faults by a check that derives as the hub does.
fn faults(path: &Path) -> Vec<String> {
    let report = verify_with(path, &WORDS).expect("opens");
    report.faults.into_iter().map(String::from).collect()
}

/// Each damage of one summary is one fault, which says how the summary is made again: that works.
#[test]
fn damaged_summary_is_one_fault_with_the_next_move() {
    let of_segment_15 = |column: &str| {
        format!(
            "UPDATE summary SET {column} = (SELECT {column} FROM summary WHERE segment = 15) WHERE segment = 10"
        )
    };
    let of_segment_10 = |change: &str| format!("UPDATE summary SET {change} WHERE segment = 10");
    let cases = [
        ("a negative version", of_segment_10("version = -1"), "the version of its summary cannot be read"),
        (
            "a version that is a text",
            of_segment_10("version = 'x'"),
            "the version of its summary cannot be read",
        ),
        (
            "counts that cannot be read",
            of_segment_10("counts = x'01ff'"),
            "the counts of its summary do not fit its records",
        ),
        (
            "counts that are a text",
            of_segment_10("counts = 'x'"),
            "the counts of its summary do not fit its records",
        ),
        (
            "counts of other records",
            of_segment_15("counts"),
            "the counts of its summary do not fit its records",
        ),
        (
            "changes that cannot be read",
            of_segment_10("changes = x'01ff'"),
            "the changes of its summary cannot be read",
        ),
        (
            "changes of other records",
            of_segment_15("changes"),
            "the changes of its summary do not fit its records",
        ),
        (
            "another earliest time",
            of_segment_10("earliest = earliest + 1"),
            "the changes of its summary do not fit its records",
        ),
        (
            "an earliest time that is a text",
            of_segment_10("earliest = 'x'"),
            "the changes of its summary do not fit its records",
        ),
        (
            "conditions that cannot be read",
            of_segment_10("standing = x'01ff'"),
            "the conditions after it cannot be read",
        ),
    ];
    for (name, change, expected) in cases {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("journal.db");
        make(&path, &WORDS);
        assert_eq!(faults(&path), Vec::<String>::new(), "{name}");
        assert_eq!(sql(&path, &change), 1, "{name}");
        assert_eq!(faults(&path), [format!("segment 6 to 10: {expected}; {REMOVE}")], "{name}");
        assert_eq!(sql(&path, "DELETE FROM summary WHERE segment = 10"), 1, "{name}");
        assert_eq!(faults(&path), Vec::<String>::new(), "{name}: without a summary");
        let journal = open(&path, &WORDS);
        let is_made = || sql(&path, "UPDATE summary SET version = version WHERE segment = 10") == 1;
        assert!(
            (0..10_000).any(|_| {
                append(&journal, &[]);
                is_made()
            }),
            "{name}: is made again"
        );
        journal.close().expect("closes");
        assert_eq!(faults(&path), Vec::<String>::new(), "{name}: made again");
    }
}

/// A summary of a later release is reported by a check that knows the versions; one of an earlier release is whole, as long as
/// its counts are.
#[test]
fn summary_of_another_version_is_a_fault_if_it_is_later() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("journal.db");
    make(&path, &EARLIER_WORDS);
    assert_eq!(faults(&path), Vec::<String>::new());
    sql(&path, "UPDATE summary SET version = 4 WHERE segment = 10");
    let expected = "segment 6 to 10: its summary has version 4, and this release knows versions up to 3: \
                    check it with the release that made it, or start the hub of this release, which makes it again";
    assert_eq!(faults(&path), [expected]);
    assert_eq!(verify(&path).expect("opens").faults, Vec::<Box<str>>::new(), "without a digest");
    sql(&path, "UPDATE summary SET version = 2, counts = x'01ff' WHERE segment = 10");
    let expected = format!("segment 6 to 10: the counts of its summary do not fit its records; {REMOVE}");
    assert_eq!(faults(&path), [expected]);
}

/// The class of a record is part of the counts, where the version says how it was derived.
#[test]
fn counts_of_another_class_are_a_fault() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("journal.db");
    make(&path, &NoDigest);
    assert_eq!(faults(&path), Vec::<String>::new());
    sql(&path, "UPDATE summary SET version = 3 WHERE segment = 10");
    let found = faults(&path);
    assert!(found.len() == 1 && found[0].contains("the counts of its summary do not fit"), "{found:?}");
}
