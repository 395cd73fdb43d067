//! `kill -9` of a hub that has saved the state of its findings, and what the next one and `qmp why` make of it.

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use qmp_findings::{CHECKPOINT_RECORDS, Correlators};
use qmp_hub::restore_checkpoint;
use qmp_journal::Reader;
use qmp_wire::Offset;
use serde_json::Value;
use support::{FakeQmp, Running, directory, event, respond, run, start_hub_with};

const IO_ERROR: &str = r#"{"device": "d", "operation": "read", "action": "stop", "reason": "x"}"#;

/// A monitor that reports thousands of events at the command `flood`, among them a STOP for an I/O error and a RESUME.
fn monitor(home: &Path) -> FakeQmp {
    FakeQmp::start_with(home.join("web1.sock"), |command, request| {
        if command != "flood" {
            return respond(command, request);
        }
        let mut events =
            vec![event("BLOCK_IO_ERROR", Some(IO_ERROR)), event("STOP", None), event("RESUME", None)];
        let more = event("RTC_CHANGE", Some(r#"{"offset": 1, "qom-path": "/rtc"}"#));
        events.extend(std::iter::repeat_n(more, CHECKPOINT_RECORDS as usize));
        events.push(event("BLOCK_IO_ERROR", Some(IO_ERROR)));
        events.push(event("STOP", None));
        events.push("{\"return\": {}}".into());
        events
    })
}

/// The offset of the checkpoint, if there is one that can be used.
fn checkpoint(home: &Path) -> Option<Offset> {
    let reader = Reader::open(&home.join("journal.db")).expect("opens");
    let everything = (Offset(0), Offset(u64::MAX));
    restore_checkpoint(&mut Correlators::new(), &reader, "web1", everything, |_| true)?.offset
}

/// How often each finding is recorded.
fn findings(home: &Path) -> BTreeMap<String, u32> {
    let journal = home.join("journal.db");
    let ran =
        run(home, &["log", "--journal", journal.to_str().expect("a path"), "--kind", "finding", "--json"]);
    let mut found = BTreeMap::new();
    for line in ran.stdout.lines() {
        let value: Value = serde_json::from_str(line).expect("JSON");
        // Evidence that the hub recorded is no conclusion.
        if ["command", "query", "process-ended"].iter().any(|kind| value["finding"] == *kind) {
            continue;
        }
        *found.entry(format!("{} {}", value["finding"], value["causes"])).or_default() += 1;
    }
    found
}

fn start(home: &Path, vm: &FakeQmp) -> Running {
    start_hub_with(home, &vm.address(), &[])
}

#[test]
fn hub_killed_behind_a_checkpoint_finds_everything_once() {
    let home = directory();
    let home = home.path();
    let vm = monitor(home);
    let mut saved = Offset(0);
    for round in 1..=3 {
        let mut hub = start(home, &vm);
        assert_eq!(run(home, &["exec", "web1", "flood"]).code, Some(0));
        while checkpoint(home).is_none_or(|offset| offset <= saved) {
            std::thread::yield_now();
        }
        hub.signal("KILL");
        hub.end();
        saved = checkpoint(home).expect("a kill takes no checkpoint back");
        // The next hub settles what the last one left.
        let hub = start(home, &vm);
        let journal = home.join("journal.db");
        let journal = journal.to_str().expect("a path");
        let epoch = (2 * round - 1).to_string();
        let why = run(home, &["why", "web1", "--epoch", &epoch, "--journal", journal, "--json"]);
        let why: Value = serde_json::from_str(&why.stdout).expect("JSON");
        assert_eq!(
            (&why["run_state"], &why["why"]["cause"]),
            (&"io-error".into(), &"io-error".into()),
            "{round}"
        );
        assert_eq!(why["evidence"][0]["event"], "BLOCK_IO_ERROR", "{why}");
        assert_eq!(hub.interrupt(), Some(0));
        let found = findings(home);
        assert!(found.values().all(|times| *times == 1), "doubled: {found:#?}");
        let paused = found.keys().filter(|finding| finding.starts_with("\"why-paused\"")).count();
        assert_eq!(paused, 2 * round, "round {round}: {found:#?}");
    }
}
