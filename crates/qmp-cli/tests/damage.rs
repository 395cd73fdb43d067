//! A damaged journal: readable records are printed, and the damage is reported.

mod support;

use std::fs;
use std::path::Path;

use qmp_journal::{Batch, Change, Class, Digest, Draft, Journal, JournalOptions, Retention};
use qmp_wire::{Body, DetachReason, UnixMicros};
use serde_json::Value;
use support::{Process, directory, run};

/// Writes three records of `vm1`; the second is unreadable.
fn write_damaged(path: &Path) {
    let journal = Journal::open(path, JournalOptions::default()).expect("opens");
    let attached = Body::Attached { snapshot: r#"{"query-status": {"status": "running"}}"#.into() };
    let event = |name: &'static str, mark: &str| Body::Event {
        name: name.into(),
        sent_name: None,
        timestamp: None,
        data: Some(format!("{{\"mark\": \"{mark}{}\"}}", "x".repeat(60)).into()),
    };
    let mut batch = Batch::new();
    for (received, body) in [(1, attached), (2, event("STOP", "<second>")), (3, event("RESUME", "<third>"))] {
        batch.push(&Draft { vm: "vm1", received: UnixMicros(received), body });
    }
    journal.appender().append(&mut batch).expect("there is room");
    journal.close().expect("closes");
    let mut bytes = fs::read(path).expect("reads");
    let place = bytes.windows(8).position(|window| window == b"<second>").expect("the text is in the file");
    bytes[place] = 0xff;
    fs::write(path, bytes).expect("writes");
}

/// Runs commands with `source` as further arguments: the file, or the hub that writes it.
fn check(home: &Path, source: &[&str]) {
    //  arguments, exit code, lines on stdout
    let cases: [(&[&str], i32, usize); 5] = [
        (&["log", "--json"], 1, 2),
        (&["log", "--json", "--after", "2"], 0, 1),
        (&["log", "--json", "-n", "1", "--event", "RESUME"], 0, 1),
        (&["why", "vm1", "--json"], 1, 1),
        (&["stats", "--json"], 1, 1),
    ];
    for (arguments, code, lines) in cases {
        let result = run(home, &[arguments, source].concat());
        let printed = result.stdout.lines().filter(|line| !line.contains("\"kind\":\"detached\"")).count();
        assert_eq!((result.code, printed), (Some(code), lines), "{arguments:?} {source:?}: {result:?}");
        let is_reported = result.stderr.contains("qmp: records 2 to 2 cannot be read: ");
        assert_eq!(is_reported, code == 1, "{arguments:?} {source:?}: {result:?}");
    }
}

#[test]
fn damaged_journal_is_reported_if_requested_records_are_lost() {
    let home = directory();
    let path = home.path().join("journal.db");
    write_damaged(&path);
    check(home.path(), &["--journal", path.to_str().expect("UTF-8")]);
    let absent = format!("vm2=unix:{}", home.path().join("vm2.sock").display());
    let hub = Process::start(home.path(), &["serve", "--no-findings", "--attach", &absent]);
    hub.wait_for("cannot attach to vm2");
    check(home.path(), &[]);
    assert_eq!(hub.interrupt(), Some(0));
}

/// A journal in which retention has removed the beginning of the epoch of `vm1`, and its STOP is kept.
fn write_without_the_beginning(path: &Path) {
    let options = JournalOptions { segment_records: 4, ..JournalOptions::default() };
    let journal = Journal::open(path, options).expect("opens");
    let attached = Body::Attached { snapshot: r#"{"query-status": {"status": "running"}}"#.into() };
    let event = |name: &'static str, data: Option<&'static str>| Body::Event {
        name: name.into(),
        sent_name: None,
        timestamp: None,
        data: data.map(Into::into),
    };
    let clock = event("RTC_CHANGE", Some(r#"{"offset": 0}"#));
    let io_error = r#"{"device": "d", "operation": "read", "action": "stop", "reason": "x"}"#;
    let io_error = event("BLOCK_IO_ERROR", Some(io_error));
    let mut batch = Batch::new();
    let bodies = [attached, clock.clone(), clock.clone(), clock, io_error, event("STOP", None)];
    for (received, body) in (1..).zip(bodies) {
        batch.push(&Draft { vm: "vm1", received: UnixMicros(received), body });
    }
    journal.appender().append(&mut batch).expect("there is room");
    let retention = Retention { max_age: None, max_bytes: Some(1) };
    let order = journal.retain(retention);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(journal.wait_for_pruning(order)).expect("removes");
    journal.close().expect("closes");
}

#[test]
fn why_without_the_beginning_of_the_epoch_is_from_the_rest() {
    let home = directory();
    let path = home.path().join("journal.db");
    write_without_the_beginning(&path);
    let source = ["--journal", path.to_str().expect("UTF-8")];
    for arguments in [&["why", "vm1", "--json"][..], &["why", "vm1", "--epoch", "1", "--json"]] {
        let result = run(home.path(), &[arguments, &source].concat());
        assert_eq!(result.code, Some(0), "{arguments:?}: {result:?}");
        let answer: Value = serde_json::from_str(&result.stdout).expect("JSON");
        assert_eq!((&answer["why"]["cause"], &answer["epoch"]), (&"io-error".into(), &1.into()), "{answer}");
        assert_eq!(answer["incomplete"], serde_json::json!({"before": [1, 4]}), "{answer}");
        assert_eq!(answer["evidence"][0]["event"], "BLOCK_IO_ERROR", "{answer}");
    }
}

/// The record after the requested time does not follow the last one before it: the second record is unreadable.
#[test]
fn why_at_a_time_before_missing_records_says_so() {
    let home = directory();
    let path = home.path().join("journal.db");
    write_damaged(&path);
    let source = ["--journal", path.to_str().expect("UTF-8"), "--json"];
    let result = run(home.path(), &[&["why", "vm1", "--at", "@0.000001"][..], &source].concat());
    let answer: Value = serde_json::from_str(&result.stdout).expect("JSON");
    let missing = serde_json::json!({"after": [1, 0], "before": [1, 2]});
    assert_eq!((&answer["run_state"], &answer["incomplete"]), (&"running".into(), &missing), "{answer}");
}

#[test]
fn why_at_a_time_after_the_last_certain_one_says_so() {
    let home = directory();
    let path = home.path().join("journal.db");
    let journal = Journal::open(&path, JournalOptions::default()).expect("opens");
    let attached = Body::Attached { snapshot: r#"{"query-status": {"status": "running"}}"#.into() };
    let certain_until = Some(UnixMicros(10_000_000));
    let finding =
        Body::Finding { finding: "storm-over".into(), summary: "x".into(), causes: Vec::new(), data: None };
    let detached = Body::Detached { reason: DetachReason::HubStopped, detail: None, certain_until };
    let mut batch = Batch::new();
    for (second, body) in [(1, attached), (50, finding), (60, detached)] {
        batch.push(&Draft { vm: "vm1", received: UnixMicros(second * 1_000_000), body });
    }
    journal.appender().append(&mut batch).expect("there is room");
    journal.close().expect("closes");
    let source = ["--journal", path.to_str().expect("UTF-8"), "--json"];
    for (at, certain_until) in [("@5", None), ("@30", Some("1970-01-01T00:00:10.000000Z"))] {
        let result = run(home.path(), &[&["why", "vm1", "--at", at][..], &source].concat());
        let answer: Value = serde_json::from_str(&result.stdout).expect("JSON");
        assert_eq!(answer["certain_until"].as_str(), certain_until, "{at}: {answer}");
    }
    let result = run(home.path(), &["log", "--since", "99", "--journal", source[1]]);
    assert!(result.code == Some(1) && result.stderr.contains("leave --since out"), "{result:?}");
    let result = run(home.path(), &["journal", "verify", source[1]]);
    let verdict =
        "no fault found; 3 records, no segment is sealed yet; no checksum covers records 1 to 3 yet";
    assert!(result.code == Some(0) && result.stdout.contains(verdict), "{result:?}");
}

/// The digest of a release that does not exist yet.
#[derive(Debug)]
struct LaterDigest;

impl Digest for LaterDigest {
    fn version(&self) -> u32 {
        1_000_000
    }

    fn digest(&self, _: UnixMicros, _: &Body<'_>, _: &mut Vec<Change<'static>>) -> Class {
        Class::default()
    }
}

#[test]
fn summary_of_a_later_release_is_named_by_verify_and_copied_by_backup() {
    let home = directory();
    let path = home.path().join("journal.db");
    let options = JournalOptions { segment_records: 2, digest: &LaterDigest, ..JournalOptions::default() };
    let journal = Journal::open(&path, options).expect("opens");
    let attached = Body::Attached { snapshot: "{}".into() };
    let detached = Body::Detached { reason: DetachReason::HubStopped, detail: None, certain_until: None };
    let mut batch = Batch::new();
    for (received, body) in [(1, attached), (2, detached)] {
        batch.push(&Draft { vm: "vm1", received: UnixMicros(received), body });
    }
    journal.appender().append(&mut batch).expect("there is room");
    journal.close().expect("closes");
    let source = path.to_str().expect("UTF-8");
    let result = run(home.path(), &["journal", "verify", source]);
    let fault = "segment 1 to 2: its summary has version 1000000, and this release knows versions up to ";
    assert!(result.code == Some(1) && result.stdout.contains(fault), "{result:?}");
    let copy = home.path().join("copy.db");
    let result = run(home.path(), &["backup", "--journal", source, copy.to_str().expect("UTF-8")]);
    assert_eq!(result.code, Some(0), "{result:?}");
}

#[test]
fn backup_of_a_damaged_journal_names_the_journal() {
    let home = directory();
    let path = home.path().join("journal.db");
    write_damaged(&path);
    let mut bytes = fs::read(&path).expect("reads");
    let place = bytes.windows(7).position(|window| window == b"<third>").expect("the text is in the file");
    let page_bytes = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
    let page = place - place % page_bytes;
    bytes[page..page + 16].fill(0xff);
    fs::write(&path, bytes).expect("writes");
    let copy = home.path().join("copy.db");
    let copy = copy.to_str().expect("UTF-8");
    let result = run(home.path(), &["backup", copy, "--journal", path.to_str().expect("UTF-8")]);
    let expected = format!(
        "cannot copy {}: the file is damaged: `qmp log --journal FILE --json` prints",
        path.display()
    );
    assert!(result.code == Some(1) && result.stderr.contains(&expected), "{result:?}");
}
