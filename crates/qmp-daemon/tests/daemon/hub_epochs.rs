//! Epochs: the records when a VM attaches, sends events and detaches, and when the hub stops.

use crate::support::{Watcher, config, short};
use qmp_daemon::Daemon;
use qmp_journal::Query;
use qmp_testing::{GREETING_LINE, Monitor, event_line};
use qmp_wire::{Body, DetachReason, Offset};
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn events_are_recorded_in_order_and_byte_by_byte() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(config(home.path(), &["vm1"])).await.expect("starts");
    let session = monitor.accept().await;
    let mut journal = Watcher::new(&hub);
    assert_eq!(journal.take(1).await, ["vm1 1.0 attached"]);

    let data = [
        "",
        r#"{"offset": 18446744073709551615, "x": -9223372036854775808}"#,
        r#"{"b":1,   "a" : [ ], "b": 1e400}"#,
        r#"{"text": "\u00e9\/\ud83d\ude00"}"#,
        "null",
        r#"{"extra": {"deep": [[[[]]]]}}"#,
    ];
    let stream: String = (0..300).map(|n| event_line(&format!("E{n}"), data[n % data.len()])).collect();
    // Split at arbitrary positions: the monitor's writes do not end with events.
    for part in stream.as_bytes().chunks(97) {
        session.send(std::str::from_utf8(part).expect("ASCII"));
    }
    for n in 0..300 {
        let record = journal.next().await;
        assert_eq!((record.epoch.0, record.seq.0), (1, n as u64 + 1));
        let Body::Event { name, timestamp, data: found, .. } = record.body else {
            panic!("an event: {record:?}")
        };
        assert_eq!(name, format!("E{n}"));
        let timestamp = timestamp.expect("a time");
        assert_eq!((timestamp.seconds(), timestamp.microseconds()), (1_767_323_045, 678_001));
        let expected = data[n % data.len()];
        assert_eq!(found.as_deref(), (!expected.is_empty()).then_some(expected), "E{n}");
    }
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn stopped_hub_closes_its_epochs_and_the_next_one_opens_new_ones() {
    let home = tempfile::tempdir().expect("a directory");
    let monitors = [Monitor::bind(home.path(), "a"), Monitor::bind(home.path(), "b")];
    for epoch in 1..=3 {
        let hub = Daemon::start(config(home.path(), &["a", "b"])).await.expect("starts");
        let sessions = [monitors[0].accept().await, monitors[1].accept().await];
        let mut journal = Watcher::new(&hub);
        sessions[0].emit("STOP", "");
        journal.until(&format!("a {epoch}.1 STOP")).await;
        let mut vms = Watcher::new(&hub);
        vms.until(&format!("b {epoch}.0 attached")).await;

        let reader = hub.journal().reader();
        hub.stop().await.expect("stops");
        // The monitors are disconnected after the commit.
        for session in sessions {
            session.left().await;
        }
        let mut last: Vec<_> =
            reader.last_of_each_vm().expect("readable").iter().map(|record| short(record)).collect();
        last.sort();
        assert_eq!(
            last,
            [format!("a {epoch}.2 detached HubStopped"), format!("b {epoch}.1 detached HubStopped")]
        );
    }
}

#[tokio::test]
async fn epochs_of_a_dropped_hub_are_closed_by_the_next_one() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(config(home.path(), &["vm1"])).await.expect("starts");
    let session = monitor.accept().await;
    Watcher::new(&hub).until("vm1 1.0 attached").await;
    drop(hub);
    session.left().await;

    let hub = Daemon::start(config(home.path(), &["vm1"])).await.expect("starts");
    let _session = monitor.accept().await;
    let expected = ["vm1 1.0 attached", "vm1 1.1 detached HubStopped", "vm1 2.0 attached"];
    assert_eq!(Watcher::new(&hub).take(3).await, expected);
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn end_of_a_connection_has_its_reason() {
    //  text before the peer closes                       reason of the epoch's end
    let cases: [(&str, DetachReason); 4] = [
        ("", DetachReason::PeerClosed),
        (r#"{"event": "STOP", "timest"#, DetachReason::PeerClosed),
        ("]", DetachReason::ProtocolError),
        ("{\"event\" nonsense}", DetachReason::ProtocolError),
    ];
    for (text, expected) in cases {
        let home = tempfile::tempdir().expect("a directory");
        let monitor = Monitor::bind(home.path(), "vm1");
        let hub = Daemon::start(config(home.path(), &["vm1"])).await.expect("starts");
        let session = monitor.accept().await;
        let mut journal = Watcher::new(&hub);
        journal.until("vm1 1.0 attached").await;
        session.emit("RESUME", "");
        session.send(text);
        session.close().await;
        let ended = format!("vm1 1.2 detached {expected:?}");
        assert_eq!(journal.take(2).await, ["vm1 1.1 RESUME".to_owned(), ended], "{text:?}");
        // The hub reconnects.
        let _session = monitor.accept().await;
        assert_eq!(journal.take(1).await, ["vm1 2.0 attached"], "{text:?}");
        hub.stop().await.expect("stops");
    }
}

#[tokio::test]
async fn connection_without_negotiation_leaves_no_record() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(config(home.path(), &["vm1"])).await.expect("starts");
    let mut stream = monitor.accept_raw().await;
    stream.write_all(GREETING_LINE.as_bytes()).await.expect("writes");
    drop(stream);
    let session = monitor.accept().await;
    assert_eq!(Watcher::new(&hub).take(1).await, ["vm1 1.0 attached"], "no record of the first attempt");
    drop(session);
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn two_hundred_vms_attach_at_once() {
    let home = tempfile::tempdir().expect("a directory");
    let names: Vec<String> = (0..200).map(|n| format!("vm{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let monitors: Vec<_> = names.iter().map(|name| Monitor::bind(home.path(), name)).collect();
    let hub = Daemon::start(config(home.path(), &names)).await.expect("starts");
    let mut sessions = Vec::new();
    for monitor in &monitors {
        sessions.push(monitor.accept().await);
    }
    for session in &sessions {
        session.emit("STOP", "");
    }
    let mut journal = Watcher::new(&hub);
    let mut records = journal.take(400).await;
    records.sort();
    let mut expected: Vec<_> =
        names.iter().flat_map(|name| [format!("{name} 1.0 attached"), format!("{name} 1.1 STOP")]).collect();
    expected.sort();
    assert_eq!(records, expected);
    hub.stop().await.expect("stops");
    let reader = qmp_journal::Reader::open(&home.path().join("journal.db")).expect("opens");
    let all = reader.cursor(Query::default(), Offset(0)).next_batch(1_000).expect("readable");
    assert_eq!(all.len(), 600, "each epoch is closed");
}
