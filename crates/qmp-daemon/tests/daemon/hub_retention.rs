//! Retention while the hub runs: every interface reports removed records, and the hub continues as before.

use std::time::Duration;

use crate::support::client::{Lines, connect, get, get_json, get_lines, send_request};
use crate::support::qmp::RawClient;
use crate::support::{Watcher, config};
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use qmp_daemon::Daemon;
use qmp_hub::relay::RelayConfig;
use qmp_journal::Retention;
use qmp_testing::Monitor;
use serde_json::json;

/// Removes every record received so far.
const NOTHING: Retention = Retention { max_age: Some(Duration::ZERO), max_bytes: None };

#[tokio::test]
async fn removed_records_are_reported_by_every_interface() {
    let home = tempfile::tempdir().expect("a directory");
    let relay = home.path().join("relay.qmp");
    let mut config = config(home.path(), &["vm1"]);
    config.relays.push(("vm1".parse().expect("a name"), RelayConfig::new(&relay)));
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(config).await.expect("starts");
    let session = monitor.accept().await;
    session.emit("STOP", "");
    session.emit("RESUME", "");
    let mut watcher = Watcher::new(&hub);
    watcher.until("vm1 1.2 RESUME").await;

    let mut slow = get_lines(home.path(), "/v1/records?after=1&follow=true").await;
    // The head of the response is sent before the first record is read.
    let line = slow.next().await.expect("a record");
    assert!(line.starts_with("{\"offset\":2,"), "{line}");
    let order = hub.journal().retain(NOTHING);
    hub.journal().wait_for_pruning(order).await.expect("is open");
    let order = hub.journal().retain(Retention::default());
    hub.journal().wait_for_pruning(order).await.expect("is open");
    session.emit("POWERDOWN", "");
    watcher.until("vm1 1.3 POWERDOWN").await;

    //  query      number of removed records
    let cases = [("", "0"), ("?after=0", "0"), ("?after=1", "2"), ("?after=2", "1"), ("?after=3", "0")];
    for (query, removed) in cases {
        let answer = get(home.path(), &format!("/v1/records{query}")).await;
        assert_eq!(answer.headers()["qmp-events-removed"], removed, "{query}");
        let line = Lines::new(answer).next().await.expect("a record");
        assert!(line.starts_with(r#"{"offset":4,"vm":"vm1","epoch":1,"seq":3,"#), "{query}: {line}");
    }
    let request = Request::get("/v1/events").header("host", "hub").header("last-event-id", "1");
    let answer =
        send_request(connect(home.path()).await, request.body(Full::<Bytes>::default()).expect("a request"))
            .await;
    let mut stream = Lines::new(answer);
    let mut received = Vec::new();
    while received.len() < 7 {
        received.push(stream.next().await.expect("a line"));
    }
    let removed = r#"data: {"after":1,"upto":3,"records":2}"#;
    assert_eq!(received, ["retry: 2000", "id: 3", "", "id: 3", "event: removed", removed, ""]);
    // A stream that began before the removal has its records, and later ones.
    for offset in 3..=4 {
        let line = slow.next().await.expect("a record");
        assert!(line.starts_with(&format!("{{\"offset\":{offset},")), "{line}");
    }

    let mut client = RawClient::open(&relay).await.0;
    client.send(r#"{"execute": "x-replay", "arguments": {"after": 1}, "id": 1}"#).await;
    assert_eq!(client.value().await["data"], json!({"state": "begin", "after": 1}));
    assert_eq!(client.value().await["event"], "POWERDOWN");
    let end = json!({"state": "end", "upto": 4, "events": 1, "removed": 2});
    assert_eq!(client.value().await["data"], end);
    assert_eq!(client.value().await["return"], json!({"upto": 4, "events": 1, "removed": 2}));

    let mut figures = get_lines(home.path(), "/metrics").await;
    let mut seen = Vec::new();
    while let Some(line) = figures.next().await {
        if line.starts_with("qmp_journal_first_offset ")
            || line.starts_with("qmp_journal_records_removed_total ")
        {
            seen.push(line);
        }
    }
    assert_eq!(seen, ["qmp_journal_first_offset 4", "qmp_journal_records_removed_total 3"]);
    let (_, vms) = get_json(home.path(), "/v1/vms").await;
    assert_eq!((&vms[0]["state"], &vms[0]["epoch"]), (&json!("attached"), &json!(1)));
    hub.stop().await.expect("stops");
}

/// The next hub on an emptied journal continues its numbers, and knows the VM once it is attached.
#[tokio::test]
async fn numbers_continue_after_removal_of_all_records() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(config(home.path(), &["vm1"])).await.expect("starts");
    let session = monitor.accept().await;
    Watcher::new(&hub).until("vm1 1.0 attached").await;
    let order = hub.journal().retain(NOTHING);
    hub.journal().wait_for_pruning(order).await.expect("is open");
    hub.stop().await.expect("stops");
    drop(session);

    let hub = Daemon::start(config(home.path(), &["vm1"])).await.expect("starts");
    let session = monitor.accept().await;
    session.emit("STOP", "");
    Watcher::new(&hub).until("vm1 2.1 STOP").await;
    let (status, vm) = get_json(home.path(), "/v1/vms/vm1").await;
    assert_eq!((status, &vm["state"]), (200, &json!("attached")), "{vm}");
    hub.stop().await.expect("stops");
}
