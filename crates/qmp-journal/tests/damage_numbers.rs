//! A hub that starts on a journal with unreadable records: no identity is assigned twice, and the numbers of a VM
//! that has lost no record have no hole.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use qmp_journal::{Batch, Draft, Journal, JournalOptions, Query, Reader, verify};
use qmp_wire::{Body, Causes, Offset, Record, UnixMicros};
use rusqlite::Connection;

/// Records of one VM.
#[derive(Clone, Copy)]
enum Step {
    Attached,
    Events(usize),
    Finding,
}

use Step::{Attached, Events, Finding};

/// Offsets 1 to 4 open epochs; 5 is an event of `quiet`, 6 of `late`, 7 to 20 are events of `busy`, 21 is one of `late`.
const STORY: &[(&str, Step)] = &[
    ("busy", Attached),
    ("quiet", Attached),
    ("late", Attached),
    ("idle", Attached),
    ("quiet", Events(1)),
    ("late", Events(1)),
    ("busy", Events(14)),
    ("late", Events(1)),
];

/// The hub that starts after the damage attaches every VM, and one that it has not met before.
const RESTARTED: &[(&str, Step)] = &[
    ("busy", Attached),
    ("quiet", Attached),
    ("late", Attached),
    ("idle", Attached),
    ("new", Attached),
    ("quiet", Events(1)),
    ("new", Events(1)),
];

#[test]
fn vm_that_lost_no_record_has_no_hole_after_damage() {
    //  what is unreadable            SQL                                                         VMs with a hole
    let cases: [(&str, &str, &[&str]); 10] = [
        ("an event", "UPDATE record SET kind = 99 WHERE offset = 10", &["busy"]),
        ("ten events", "UPDATE record SET kind = 99 WHERE offset BETWEEN 8 AND 17", &["busy"]),
        ("missing events", "DELETE FROM record WHERE offset BETWEEN 8 AND 17", &["busy"]),
        ("two runs of events", "UPDATE record SET vm = x'ff' WHERE offset IN (8, 9, 12)", &["busy"]),
        ("the beginning of an epoch", "DELETE FROM record WHERE offset = 1", &["busy"]),
        ("events of two VMs", "DELETE FROM record WHERE offset BETWEEN 6 AND 9", &["busy", "late"]),
        ("data of the last event of a VM", "UPDATE record SET data = x'ff' WHERE offset = 20", &["busy"]),
        ("the name of a VM", "UPDATE name SET name = CAST(x'ff' AS TEXT) WHERE name = 'idle'", &[]),
        // No later number shows whose record it was: each VM without a later record may have lost it.
        ("the last event of a VM", "DELETE FROM record WHERE offset = 20", &["busy", "idle", "quiet"]),
        // One of the two was of `busy`, and one of a VM without a later record.
        ("two VMs' events", "DELETE FROM record WHERE offset IN (5, 10)", &["busy", "idle", "quiet"]),
    ];
    for (name, damage, expected) in cases {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("journal.db");
        let whole = write(&path, STORY);
        sql(&path, damage);
        let restarted = write(&path, RESTARTED);
        assert_eq!(holes(&restarted), expected.iter().copied().map(String::from).collect(), "{name}");
        assert_identities_are_new(&whole, &restarted, name);
        assert_epochs_are_closed(&path, name);
        // Further starts skip nothing more.
        let again = write(&path, RESTARTED);
        assert_eq!(holes(&again), holes(&restarted), "{name}, started again");
        assert_identities_are_new(&restarted, &again, name);
    }
}

/// An epoch of which no record can be read is known by its row, and is closed as every other one.
#[test]
fn epoch_without_readable_record_is_closed_and_not_assigned_again() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("journal.db");
    write(&path, &[("web1", Attached), ("web2", Attached)]);
    let whole = write(&path, &[("web1", Attached), ("web1", Events(2)), ("web2", Events(1))]);
    let lost = "DELETE FROM record WHERE vm = (SELECT id FROM name WHERE name = 'web1') AND epoch = 2";
    sql(&path, lost);
    let restarted = write(&path, &[("web1", Attached)]);
    assert_identities_are_new(&whole, &restarted, "web1");
    assert_epochs_are_closed(&path, "web1");
    let of_web1: Vec<_> = restarted.iter().filter(|record| record.vm == "web1").map(identity).collect();
    // Three records of the epoch are lost, and its end has the next number.
    assert_eq!(of_web1[2..], [("web1".into(), 2, 3), ("web1".into(), 3, 0)], "{of_web1:?}");
}

/// The last record of a VM with an open epoch tells when the epoch was certain last.
#[test]
fn journal_opens_if_the_last_sealed_record_of_an_open_epoch_is_unreadable() {
    for damage in ["UPDATE record SET received = x'ff'", "DELETE FROM record WHERE offset = 2"] {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("journal.db");
        let options = JournalOptions { segment_records: 2, ..JournalOptions::default() };
        write_with(&path, options, &[("web1", Attached), ("web1", Events(1))]);
        sql(&path, damage);
        let restarted = write(&path, &[]);
        assert!(
            matches!(restarted.last().map(|record| &record.body), Some(Body::Detached { .. })),
            "{damage}"
        );
    }
}

/// The numbers that a hub skips stay skipped when the damage is in a sealed segment, and its VM silent until then.
#[test]
fn skipped_numbers_are_kept_when_the_damage_is_sealed() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("journal.db");
    let sealing = JournalOptions { segment_records: 2, ..JournalOptions::default() };
    write_with(&path, sealing, &[("web1", Finding), ("web2", Finding)]);
    let whole = write(&path, &[("web1", Finding), ("web2", Finding)]);
    sql(&path, "DELETE FROM record WHERE offset = 3");
    write_with(&path, sealing, &[("web2", Finding), ("web2", Finding)]);
    let found = write(&path, &[("web1", Finding)]);
    assert_identities_are_new(&whole, &found, "web1");
}

/// As above, for records that were lost with the write-ahead log.
#[test]
fn numbers_of_lost_records_are_skipped_by_every_later_start() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("journal.db");
    let whole = write(&path, &[("web1", Finding), ("web2", Attached), ("web1", Finding)]);
    sql(&path, "DELETE FROM record WHERE offset = 3");
    write(&path, &[]);
    write(&path, &[]);
    let found = write(&path, &[("web1", Finding)]);
    assert_identities_are_new(&whole[..3], &found, "web1");
}

/// Opens the journal, appends and closes it; returns every readable record.
fn write(path: &Path, steps: &[(&'static str, Step)]) -> Vec<Record<'static>> {
    write_with(path, JournalOptions::default(), steps)
}

fn write_with(path: &Path, options: JournalOptions, steps: &[(&'static str, Step)]) -> Vec<Record<'static>> {
    let journal = Journal::open(path, options).expect("opens");
    let mut batch = Batch::new();
    for (vm, step) in steps {
        let times = if let Events(times) = step { *times } else { 1 };
        for _ in 0..times {
            batch.push(&Draft { vm, received: UnixMicros(1), body: body(*step) });
        }
    }
    journal.appender().append(&mut batch).expect("there is room");
    journal.close().expect("closes");
    let reader = Reader::open(path).expect("opens");
    reader.cursor(Query::default(), Offset(0)).next_batch(1_000).expect("reads")
}

fn body(step: Step) -> Body<'static> {
    match step {
        Attached => Body::Attached { snapshot: "{}".into() },
        Events(_) => Body::Event { name: "STOP".into(), sent_name: None, timestamp: None, data: None },
        Finding => Body::Finding {
            finding: "silent".into(),
            summary: "it is silent".into(),
            causes: Causes::new(),
            data: None,
        },
    }
}

fn sql(path: &Path, sql: &str) {
    let connection = Connection::open(path).expect("opens");
    assert!(connection.execute(sql, []).expect("runs") > 0, "{sql}");
}

/// The VMs whose epochs or numbers have a hole, by the rule with which findings detect missing records.
fn holes(records: &[Record<'_>]) -> BTreeSet<String> {
    let mut last: BTreeMap<&str, (u32, u64)> = BTreeMap::new();
    let mut holes = BTreeSet::new();
    for record in records {
        let id = (record.epoch.0, record.seq.0);
        let follows = match last.insert(&record.vm, id) {
            None => id.1 == 0,
            Some((epoch, seq)) => id == (epoch, seq + 1) || id == (epoch + 1, 0),
        };
        if !follows {
            holes.insert(record.vm.to_string());
        }
    }
    holes
}

fn assert_identities_are_new(before: &[Record<'_>], after: &[Record<'_>], name: &str) {
    let ids: BTreeSet<_> = after.iter().map(identity).collect();
    assert_eq!(ids.len(), after.len(), "{name}: {after:?}");
    let head = before.last().and_then(|record| record.offset);
    for record in after.iter().filter(|record| record.offset > head) {
        let twice = before.iter().find(|seen| identity(seen) == identity(record));
        assert_eq!(twice, None, "{name}: {record:?}");
    }
}

fn identity(record: &Record<'_>) -> (String, u32, u64) {
    (record.vm.to_string(), record.epoch.0, record.seq.0)
}

/// Every epoch but the last of each VM has an end.
fn assert_epochs_are_closed(path: &Path, name: &str) {
    let open: u32 = Connection::open(path)
        .and_then(|connection| {
            let sql = "SELECT count(*) FROM epoch AS earlier WHERE closed IS NULL \
                       AND EXISTS (SELECT 1 FROM epoch WHERE vm = earlier.vm AND epoch > earlier.epoch)";
            connection.query_row(sql, [], |row| row.get(0))
        })
        .expect("reads");
    assert_eq!(open, 0, "{name}: epochs without an end");
    let faults = verify(path).expect("opens").faults;
    let wrong: Vec<_> = faults.iter().filter(|fault| fault.contains("which is not")).collect();
    assert!(wrong.is_empty(), "{name}: {wrong:?}");
}
