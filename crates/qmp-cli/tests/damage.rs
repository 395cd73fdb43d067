//! A damaged journal: readable records are printed, and the damage is reported.

mod support;

use std::fs;
use std::path::Path;

use qmp_journal::{Batch, Draft, Journal, JournalOptions};
use qmp_wire::{Body, UnixMicros};
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
    let cases: [(&[&str], i32, usize); 4] = [
        (&["log", "--json"], 1, 2),
        (&["log", "--json", "--after", "2"], 0, 1),
        (&["log", "--json", "-n", "1", "--event", "RESUME"], 0, 1),
        (&["why", "vm1", "--json"], 1, 1),
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
