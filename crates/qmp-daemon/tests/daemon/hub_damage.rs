//! A damaged journal: the hub skips unreadable records, and health reports them.

use std::fs;
use std::path::Path;

use crate::support::client::get_json;
use crate::support::config;
use qmp_daemon::Daemon;
use qmp_journal::{Batch, Draft, Journal, JournalOptions};
use qmp_testing::Monitor;
use qmp_wire::{Body, UnixMicros};
use serde_json::json;

/// One damaged byte in a record of an open epoch, after a kill.
#[tokio::test]
async fn damaged_record_is_skipped_by_observer_and_rules_and_reported_by_health() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("journal.db");
    let journal = Journal::open(&path, JournalOptions::default()).expect("opens");
    let attached = Body::Attached { snapshot: r#"{"query-status": {"status": "running"}}"#.into() };
    append(
        &journal,
        &[
            draft("vm1", 1, attached.clone()),
            draft("vm1", 2, numbered("STOP", 2)),
            draft("vm1", 3, numbered("X", 3)),
            draft("vm2", 4, attached),
        ],
    );
    journal.close().expect("closes");
    damage_record(&path, 2);

    let monitor = Monitor::bind(home.path(), "vm1");
    let lines = home.path().join("lines.jsonl");
    let rule =
        format!("[[rule]]\nname = \"all\"\nevent = \"*\"\nfrom = \"start\"\nfile = {:?}\n", lines.display());
    let mut config = config(home.path(), &["vm1", "vm2"]);
    (config.findings, config.rules) = (true, crate::support::rules(&rule));
    let hub = Daemon::start(config).await.expect("starts");
    let session = monitor.accept().await;
    session.emit(
        "BLOCK_IO_ERROR",
        r#"{"device": "d0", "operation": "read", "action": "stop", "reason": "I/O"}"#,
    );
    session.emit("STOP", "");
    let mut journal = crate::support::Watcher::new(&hub);
    loop {
        if let Body::Finding { finding, .. } = journal.next().await.body
            && finding == "why-paused"
        {
            break;
        }
    }
    let (status, health) = get_json(home.path(), "/v1/health").await;
    assert_eq!((status, &health["error"]["class"]), (503, &json!("JournalDamaged")), "{health}");
    let desc = health["error"]["desc"].as_str().expect("a text");
    assert!(desc.contains("records 2 to 2 cannot be read"), "{desc}");
    let (_, counts) = get_json(home.path(), "/v1/counts?until=2026-01-01T00:00:00Z").await;
    let damaged = &counts["damaged"];
    assert_eq!((&damaged[0]["first"], &damaged[0]["lost"]), (&json!(2), &json!(true)), "{counts}");
    // The end of its epoch follows the damage without a hole.
    let (status, healthy) = get_json(home.path(), "/v1/vms/vm2").await;
    assert_eq!(
        (status, &healthy["epoch"], &healthy["incomplete"]),
        (200, &json!(1), &json!(null)),
        "{healthy}"
    );
    let mut rules = json!([{"lag_records": 1}]);
    while rules[0]["lag_records"] != 0 {
        rules = get_json(home.path(), "/v1/sinks").await.1;
    }
    assert_eq!(rules[0]["missed"], 1, "{rules}");
    hub.stop().await.expect("stops");
    let written = fs::read_to_string(&lines).expect("the rule wrote");
    assert!(written.contains("BLOCK_IO_ERROR") && written.contains("\"X\""), "{written}");
}

/// An event whose data contains its number, so that the file can be searched for it.
fn numbered(name: &'static str, number: u64) -> Body<'static> {
    let data = format!("{{\"mark\": \"<{number:08}>\", \"pad\": \"{}\"}}", "x".repeat(60));
    Body::Event { name: name.into(), sent_name: None, timestamp: None, data: Some(data.into()) }
}

fn draft(vm: &'static str, received: i64, body: Body<'static>) -> Draft<'static> {
    Draft { vm, received: UnixMicros(received), body }
}

/// The position of a record's data in the file.
fn position_of(bytes: &[u8], offset: u64) -> usize {
    let mark = format!("<{offset:08}>");
    bytes.windows(mark.len()).position(|window| window == mark.as_bytes()).expect("a record in the file")
}

fn damage_record(path: &Path, offset: u64) -> Vec<(u64, u64)> {
    let mut bytes = fs::read(path).expect("reads");
    let place = position_of(&bytes, offset);
    bytes[place] = 0xff;
    fs::write(path, bytes).expect("writes");
    vec![(offset, offset)]
}

fn append(journal: &Journal, drafts: &[Draft<'_>]) {
    let mut batch = Batch::new();
    drafts.iter().for_each(|draft| batch.push(draft));
    // Before it: the writer may have committed when this thread runs on.
    let upto = journal.head();
    journal.appender().append(&mut batch).expect("there is room");
    while journal.head() == upto {
        std::thread::yield_now();
    }
}
