//! A stalled disk: the VM never waits, and the loss is recorded in the journal.

use std::path::Path;

use crate::support::client::{execute, get_json};
use crate::support::{Watcher, config};
use qmp_daemon::{Daemon, DaemonConfig};
use qmp_testing::Monitor;
use qmp_wire::{Body, DetachReason};
use rusqlite::Connection;
use serde_json::json;

/// Keeps the journal's writer from committing, like a stalled disk.
struct JournalLock(Connection);

impl JournalLock {
    fn journal(home: &Path) -> Self {
        let connection = Connection::open(home.join("journal.db")).expect("opens");
        connection.execute_batch("BEGIN IMMEDIATE").expect("no other writer");
        Self(connection)
    }

    /// With a full queue as well; otherwise the result depends on how the hub's reads split the stream.
    fn journal_of(hub: &Daemon, home: &Path) -> Self {
        let stalled = Self::journal(home);
        crate::support::fill(hub);
        stalled
    }

    fn release(self) {
        self.0.execute_batch("ROLLBACK").expect("ends");
    }
}

/// A hub whose journal queues at most 32 KiB.
fn small(home: &Path) -> DaemonConfig {
    let mut config = config(home, &["vm1"]);
    config.journal_options.queue_max_bytes = 32 << 10;
    config
}

#[tokio::test]
async fn overrun_closes_the_epoch_and_a_new_one_begins_with_a_snapshot() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(small(home.path())).await.expect("starts");
    let session = monitor.accept().await;
    let mut journal = Watcher::new(&hub);
    journal.until("vm1 1.0 attached").await;

    let stalled = JournalLock::journal_of(&hub, home.path());
    let total = 5_000;
    // The replies arrive although nothing can be committed: the hub reads, so the VM never waits. The last reply
    // is released at once, because the events before it cannot be recorded.
    let burst = json!({"execute": "query-burst", "arguments": {"count": total}}).to_string();
    let (status, answer) = execute(home.path(), "vm1", &burst).await;
    assert_eq!((status, &answer["return"], &answer["overrun"]), (200, &json!({}), &json!(true)), "{answer}");
    let (_, vms) = get_json(home.path(), "/v1/vms").await;
    assert_eq!(vms[0]["state"], "detached");
    assert!(vms[0]["error"].as_str().is_some_and(|error| error.contains("no room")), "{vms}");

    stalled.release();
    let detail = loop {
        match journal.next().await.body {
            Body::Event { name, .. } => assert_eq!(name, crate::support::FILLER),
            Body::Detached { reason, detail, .. } => {
                assert_eq!(reason, DetachReason::Overrun);
                break detail.expect("a detail").into_owned();
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(detail, format!("the journal had no room; {total} events were thrown away"));
    assert_eq!(journal.take(1).await, ["vm1 2.0 attached"]);
    // Over the same connection, whose stream is intact.
    session.emit("STOP", "");
    assert_eq!(journal.take(1).await, ["vm1 2.1 STOP"]);
    let (_, vms) = get_json(home.path(), "/v1/vms").await;
    assert_eq!(
        (&vms[0]["state"], &vms[0]["epoch"], &vms[0]["error"]),
        (&json!("attached"), &json!(2), &json!(null))
    );
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn epoch_that_ends_during_an_overrun_is_closed_once() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(small(home.path())).await.expect("starts");
    let session = monitor.accept().await;
    let mut journal = Watcher::new(&hub);
    journal.until("vm1 1.0 attached").await;

    let stalled = JournalLock::journal_of(&hub, home.path());
    let burst = json!({"execute": "query-burst", "arguments": {"count": 5_000}}).to_string();
    execute(home.path(), "vm1", &burst).await;
    session.close().await;
    // The VM returns before there is room.
    let _session = monitor.accept().await;
    stalled.release();

    let mut ends = Vec::new();
    let opened = loop {
        let record = journal.next().await;
        match record.body {
            Body::Detached { reason, .. } => ends.push((record.epoch.0, reason)),
            Body::Attached { .. } => break record.epoch.0,
            _ => {}
        }
    };
    assert_eq!((ends, opened), (vec![(1, DetachReason::Overrun)], 2));
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn stop_during_an_overrun_records_the_overrun() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(small(home.path())).await.expect("starts");
    let _session = monitor.accept().await;
    Watcher::new(&hub).until("vm1 1.0 attached").await;
    let stalled = JournalLock::journal_of(&hub, home.path());
    let burst = json!({"execute": "query-burst", "arguments": {"count": 5_000}}).to_string();
    execute(home.path(), "vm1", &burst).await;

    let reader = hub.journal().reader();
    let stopping = tokio::spawn(hub.stop());
    stalled.release();
    stopping.await.expect("no panic").expect("stops");
    let last = reader.last_of_each_vm().expect("readable");
    let record = last.iter().find(|record| record.vm == "vm1").expect("a record of the VM");
    assert!(matches!(record.body, Body::Detached { reason: DetachReason::Overrun, .. }), "{record:?}");
}
