//! `kill -9` of a hub after a checkpoint of its correlators, and the findings of the next hub and of `qmp why`.

mod support;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use qmp_findings::{CHECKPOINT_RECORDS, Correlators};
use qmp_hub::restore_checkpoint;
use qmp_journal::Reader;
use qmp_testing::{MonitorThread, respond};
use qmp_wire::Offset;
use serde_json::Value;
use support::{Process, directory, event, run, start_hub_with};

const IO_ERROR: &str = r#"{"device": "d", "operation": "read", "action": "stop", "reason": "x"}"#;

/// A monitor that reports thousands of events at the command `flood`, among them a STOP after an I/O error and a RESUME.
fn monitor(home: &Path) -> MonitorThread {
    MonitorThread::start_with(home.join("web1.sock"), |command, request| {
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

/// Forwards connections to the hub's socket, and counts the records in its responses.
fn count_records(home: &Path) -> Arc<AtomicUsize> {
    let listener = UnixListener::bind(home.join("counted.sock")).expect("a socket");
    let (hub, records) = (home.join("hub.sock"), Arc::<AtomicUsize>::default());
    let counted = Arc::clone(&records);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(hub) = UnixStream::connect(&hub) else { return };
            let (mut client_reader, mut hub_writer) =
                (client.try_clone().expect("a socket"), hub.try_clone().expect("a socket"));
            std::thread::spawn(move || std::io::copy(&mut client_reader, &mut hub_writer));
            let records = Arc::clone(&records);
            std::thread::spawn(move || {
                let (mut hub, mut client, mark) = (hub, client, b"{\"offset\":");
                let (mut buffer, mut seen) = (vec![0; 1 << 16], Vec::new());
                while let Ok(length @ 1..) = hub.read(&mut buffer) {
                    // A mark may be split between two pieces.
                    seen.extend_from_slice(&buffer[..length]);
                    let marks = seen.windows(mark.len()).filter(|window| window == mark).count();
                    records.fetch_add(marks, Ordering::SeqCst);
                    seen.drain(..seen.len().saturating_sub(mark.len() - 1));
                    if client.write_all(&buffer[..length]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    counted
}

/// Through the hub as from the file, `qmp why` reads few records of a long epoch.
#[test]
fn why_through_the_hub_begins_at_the_checkpoint() {
    let home = directory();
    let home = home.path();
    let vm = monitor(home);
    let hub = start(home, &vm);
    const FLOODS: usize = 8;
    for _ in 0..FLOODS {
        assert_eq!(run(home, &["exec", "web1", "flood"]).code, Some(0));
    }
    let all = FLOODS * CHECKPOINT_RECORDS as usize;
    while checkpoint(home).is_none_or(|offset| offset.0 <= (all - CHECKPOINT_RECORDS as usize) as u64) {
        std::thread::yield_now();
    }
    let records = count_records(home);
    let counted = format!("unix:{}", home.join("counted.sock").display());
    let why = run(home, &["why", "web1", "--hub", &counted, "--json"]);
    let why: Value = serde_json::from_str(&why.stdout).expect("JSON");
    assert_eq!((&why["run_state"], &why["why"]["cause"]), (&"io-error".into(), &"io-error".into()), "{why}");
    assert_eq!(why["evidence"][0]["event"], "BLOCK_IO_ERROR", "{why}");
    let read = records.load(Ordering::SeqCst);
    assert!(read < all / 2, "{read} of {all} records were read");
    assert_eq!(hub.interrupt(), Some(0));
}

/// The offset of the last usable checkpoint.
fn checkpoint(home: &Path) -> Option<Offset> {
    let reader = Reader::open(&home.join("journal.db")).expect("opens");
    let everything = (Offset(0), Offset(u64::MAX));
    restore_checkpoint(&mut Correlators::new(), &reader, "web1", everything, |_| true)
        .map(|restored| restored.offset)
}

/// The number of records of each finding.
fn findings(home: &Path) -> BTreeMap<String, u32> {
    let journal = home.join("journal.db");
    let ran =
        run(home, &["log", "--journal", journal.to_str().expect("a path"), "--kind", "finding", "--json"]);
    let mut found = BTreeMap::new();
    for line in ran.stdout.lines() {
        let value: Value = serde_json::from_str(line).expect("JSON");
        // Evidence recorded by the hub is not a conclusion.
        if ["command", "query", "process-ended"].iter().any(|kind| value["finding"] == *kind) {
            continue;
        }
        *found.entry(format!("{} {}", value["finding"], value["causes"])).or_default() += 1;
    }
    found
}

fn start(home: &Path, vm: &MonitorThread) -> Process {
    start_hub_with(home, &vm.address(), &[])
}

#[test]
fn hub_killed_after_a_checkpoint_records_each_finding_once() {
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
        saved = checkpoint(home).expect("checkpoints survive a kill");
        // The next hub completes the findings of the last one.
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
