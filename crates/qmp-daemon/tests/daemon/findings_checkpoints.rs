//! Checkpoints of the correlators: reading from a checkpoint gives the same state as reading from the beginning.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::support::config;
use qmp_daemon::Daemon;
use qmp_findings::{CHECKPOINT_RECORDS, Correlators};
use qmp_hub::{RestoredState, restore_checkpoint};
use qmp_journal::{Batch, Draft, Globs, Journal, JournalOptions, Query, Reader, Retention};
use qmp_wire::{Body, Causes, Offset, Record, UnixMicros};
use rusqlite::Connection;

const START: i64 = 1_767_323_045_000_000;
const EVERYTHING: (Offset, Offset) = (Offset(0), Offset(u64::MAX));

fn path(home: &Path) -> PathBuf {
    home.join("journal.db")
}

/// A journal in which `busy` has enough events for a checkpoint, and `quiet` a few old ones. The VM `busy` is stopped by
/// an I/O error from time to time, and is stopped at the end.
fn write(home: &Path) {
    let event = |name: &'static str, data: Option<&'static str>| Body::Event {
        name: name.into(),
        sent_name: None,
        timestamp: None,
        data: data.map(Into::into),
    };
    let io_error = r#"{"device": "d", "operation": "read", "action": "stop", "reason": "x"}"#;
    let clock = r#"{"offset": 1, "qom-path": "/rtc"}"#;
    let mut batch = Batch::new();
    let mut at = START;
    for vm in ["quiet", "busy"] {
        let snapshot = r#"{"query-status": {"status": "running", "running": true}}"#.into();
        batch.push(&Draft { vm, received: UnixMicros(at), body: Body::Attached { snapshot } });
    }
    for index in 0..2 * CHECKPOINT_RECORDS + 1_300 {
        at += if index % 1_024 == 501 { 1_000 } else { 20_000_000 };
        let body = match index % 1_024 {
            500 => event("BLOCK_IO_ERROR", Some(io_error)),
            501 => event("STOP", None),
            // The last stop has no RESUME.
            502 if index < 2 * CHECKPOINT_RECORDS => event("RESUME", None),
            _ => event("RTC_CHANGE", Some(clock)),
        };
        batch.push(&Draft { vm: "busy", received: UnixMicros(at), body });
    }
    let journal = Journal::open(&path(home), JournalOptions::default()).expect("opens");
    journal.appender().append(&mut batch).expect("there is room");
    journal.close().expect("closes");
}

/// Starts a hub and stops it.
async fn run_hub(home: &Path) {
    let mut config = config(home, &[]);
    config.findings = true;
    let hub = Daemon::start(config).await.expect("starts");
    hub.stop().await.expect("stops");
}

fn records(reader: &Reader, vm: &str, after: Offset) -> Vec<Record<'static>> {
    let query = Query { vm: Globs::parse([vm]).expect("a name"), ..Query::default() };
    let (mut cursor, mut records) = (reader.cursor(query, after), Vec::new());
    loop {
        let batch = cursor.next_batch(10_000).expect("readable");
        if batch.is_empty() {
            return records;
        }
        records.extend(batch);
    }
}

/// The recorded findings of `busy`: the set of them, and the number of their records.
fn recorded_findings(home: &Path) -> (BTreeSet<(String, Causes)>, usize) {
    let reader = Reader::open(&path(home)).expect("opens");
    let finding = |record: Record<'static>| match record.body {
        Body::Finding { finding, causes, .. } => Some((finding.into_owned(), causes)),
        _ => None,
    };
    let all: Vec<_> = records(&reader, "busy", Offset(0)).into_iter().filter_map(finding).collect();
    let count = all.len();
    (all.into_iter().collect(), count)
}

/// The state of the checkpoint, if the checkpoint is usable.
fn checkpoint(home: &Path) -> Option<RestoredState> {
    let reader = Reader::open(&path(home)).expect("opens");
    restore_checkpoint(&mut Correlators::new(), &reader, "busy", EVERYTHING, |_| true)
}

fn sql(home: &Path, text: &str) -> usize {
    Connection::open(path(home)).expect("opens").execute(text, []).expect(text)
}

#[tokio::test]
async fn state_from_a_checkpoint_equals_state_from_the_beginning() {
    let home = tempfile::tempdir().expect("a directory");
    write(home.path());
    run_hub(home.path()).await;
    let reader = Reader::open(&path(home.path())).expect("opens");
    let mut whole = Correlators::new();
    records(&reader, "busy", Offset(0)).iter().for_each(|record| whole.record(record, &mut Vec::new()));
    let mut short = Correlators::new();
    let last =
        restore_checkpoint(&mut short, &reader, "busy", EVERYTHING, |_| true).expect("there is a checkpoint");
    let rest = records(&reader, "busy", last.offset);
    assert!(rest.len() <= CHECKPOINT_RECORDS as usize, "{} remain", rest.len());
    rest.iter().for_each(|record| short.record(record, &mut Vec::new()));
    let state = short.state("busy").expect("a known VM");
    assert_eq!(Some(&state), whole.state("busy").as_ref());
    assert_eq!(state.why.expect("an explanation").cause, "io-error");
    // A checkpoint outside the requested range is ignored.
    let before = (Offset(0), Offset(last.offset.0 - 1));
    assert_eq!(restore_checkpoint(&mut Correlators::new(), &reader, "busy", before, |_| true), None);
    assert_eq!(restore_checkpoint(&mut Correlators::new(), &reader, "busy", EVERYTHING, |_| false), None);
    assert_eq!(
        restore_checkpoint(&mut Correlators::new(), &reader, "quiet", EVERYTHING, |_| true),
        None,
        "only a few records"
    );
}

/// For any damage of the checkpoint, the next hub finds every finding once.
#[tokio::test]
async fn damaged_checkpoint_is_ignored() {
    let cases = [
        ("unchanged", "UPDATE checkpoint SET state = state", true),
        ("of other code", "UPDATE checkpoint SET version = 'another'", false),
        ("one digit changed", "UPDATE checkpoint SET state = replace(state, '1', '2')", false),
        ("truncated", "UPDATE checkpoint SET state = substr(state, 1, 100)", false),
        ("no text", "UPDATE checkpoint SET state = x'ff00'", false),
        ("no number", "UPDATE checkpoint SET offset = 'far'", false),
        ("at a record of another VM", "UPDATE checkpoint SET offset = 1", false),
        ("removed", "DELETE FROM checkpoint", false),
    ];
    let home = tempfile::tempdir().expect("a directory");
    write(home.path());
    run_hub(home.path()).await;
    let all = recorded_findings(home.path());
    assert!(all.0.len() > 8 && all.0.len() == all.1, "{all:?}");
    for (name, change, is_usable) in cases {
        assert!(sql(home.path(), change) > 0, "{name}");
        assert_eq!(checkpoint(home.path()).is_some(), is_usable, "{name}");
        run_hub(home.path()).await;
        assert_eq!(recorded_findings(home.path()), all, "{name}");
        assert!(
            checkpoint(home.path()).is_some(),
            "{name}: the hub saves it again after reading the whole journal"
        );
    }
    sql(home.path(), "DROP TABLE checkpoint");
    assert_eq!(checkpoint(home.path()), None, "a file of an earlier release");
    run_hub(home.path()).await;
    assert_eq!(recorded_findings(home.path()), all);
}

/// A finding that was concluded after the checkpoint and not recorded is found by the next hub, from the checkpoint.
#[tokio::test]
async fn finding_lost_after_the_checkpoint_is_found_again() {
    let home = tempfile::tempdir().expect("a directory");
    write(home.path());
    run_hub(home.path()).await;
    let all = recorded_findings(home.path());
    let at = checkpoint(home.path()).expect("a checkpoint");
    let behind = |(_, causes): &&(String, Causes)| causes.iter().all(|cause| *cause > at.position.id);
    assert!(all.0.iter().any(|finding| behind(&finding)), "findings of later records: {all:?}");
    let connection = Connection::open(path(home.path())).expect("opens");
    let lost = "DELETE FROM record WHERE offset > (SELECT max(offset) FROM record) - 1 AND kind = 3";
    connection.execute(lost, []).expect("removes the last finding");
    connection.close().expect("closes");
    std::fs::remove_file(home.path().join("journal.db.lock")).expect("removes");
    assert_eq!(recorded_findings(home.path()).1, all.1 - 1);
    assert!(checkpoint(home.path()).is_some());
    run_hub(home.path()).await;
    assert_eq!(recorded_findings(home.path()), all);
}

#[tokio::test]
async fn checkpoint_is_usable_without_its_record() {
    let home = tempfile::tempdir().expect("a directory");
    write(home.path());
    run_hub(home.path()).await;
    assert!(checkpoint(home.path()).is_some());
    let retention = Retention { max_age: None, max_bytes: Some(1) };
    let options = JournalOptions { segment_records: 64, retention, ..JournalOptions::default() };
    let journal = Journal::open(&path(home.path()), options).expect("opens");
    let body = Body::Attached { snapshot: "{}".into() };
    let mut batch = Batch::new();
    (0..100)
        .for_each(|_| batch.push(&Draft { vm: "quiet", received: UnixMicros(START), body: body.clone() }));
    journal.appender().append(&mut batch).expect("there is room");
    journal.wait_for_pruning(journal.retain(retention)).await.expect("removes");
    journal.close().expect("closes");
    let left = checkpoint(home.path()).expect("the checkpoint stays");
    let first = Reader::open(&path(home.path())).and_then(|reader| reader.first()).expect("reads");
    assert!(left.offset < first, "{left:?} {first:?}");
}

/// Where the beginning of an epoch is missing, the next hub concludes nothing from the rest: the findings of another
/// beginning differ from the recorded ones.
#[tokio::test]
async fn records_without_their_beginning_give_no_second_finding() {
    let home = tempfile::tempdir().expect("a directory");
    write(home.path());
    let mut batch = Batch::new();
    for index in 0..200 {
        let name = if index == 0 { "RESUME" } else { "STORM" };
        let body = Body::Event { name: name.into(), sent_name: None, timestamp: None, data: None };
        batch.push(&Draft { vm: "busy", received: UnixMicros(i64::MAX / 4 + index), body });
    }
    let journal = Journal::open(&path(home.path()), JournalOptions::default()).expect("opens");
    let snapshot = r#"{"query-status": {"status": "running", "running": true}}"#.into();
    let mut opening = Batch::new();
    let received = UnixMicros(i64::MAX / 4 - 1);
    opening.push(&Draft { vm: "busy", received, body: Body::Attached { snapshot } });
    journal.appender().append(&mut opening).expect("there is room");
    journal.appender().append(&mut batch).expect("there is room");
    journal.close().expect("closes");
    run_hub(home.path()).await;
    let all = recorded_findings(home.path());
    assert!(all.0.iter().any(|(kind, _)| kind == "storm"), "{all:?}");
    let removed =
        "DELETE FROM record WHERE offset <= (SELECT offset + 100 FROM record WHERE kind = 2 AND epoch = 2)";
    assert!(sql(home.path(), removed) > 100);
    sql(home.path(), "DELETE FROM checkpoint");
    std::fs::remove_file(home.path().join("journal.db.lock")).expect("removes");
    let kept = recorded_findings(home.path());
    run_hub(home.path()).await;
    assert_eq!(recorded_findings(home.path()), kept);
}
