//! Every request ends: with a reply, or with an error as soon as a reply is impossible.

use std::path::{Path, PathBuf};

use crate::support::client::{execute, get_json};
use crate::support::qmp::RawClient;
use crate::support::{Watcher, config};
use qmp_daemon::{Daemon, DaemonConfig};
use qmp_hub::relay::{EVENTS_LATE, RELAY_CLIENTS_MAX, RelayConfig, Role};
use qmp_journal::{Globs, Health};
use qmp_testing::{Monitor, event_line};
use rusqlite::Connection;
use serde_json::{Value, json};

/// A hub's configuration with the VM `vm1` and an operators' relay.
fn relay_config(home: &Path) -> (DaemonConfig, PathBuf) {
    let path = home.join("relay.qmp");
    let mut relay = RelayConfig::new(&path);
    relay.role = Role::Operate { allow: Globs::default() };
    let mut config = config(home, &["vm1"]);
    config.relays.push(("vm1".parse().expect("a name"), relay));
    (config, path)
}

/// Keeps the journal's writer from committing until it is dropped.
fn stall(home: &Path) -> Connection {
    let connection = Connection::open(home.join("journal.db")).expect("opens");
    connection.execute_batch("BEGIN IMMEDIATE").expect("locks");
    connection
}

/// Executes `body` on `vm1` in a separate task.
fn spawn_execute(home: &Path, body: &str) -> tokio::task::JoinHandle<(u16, Value)> {
    let (home, body) = (home.to_owned(), body.to_owned());
    tokio::spawn(async move { execute(&home, "vm1", &body).await })
}

#[tokio::test]
async fn stalled_journal_delays_a_reply_for_a_limited_time() {
    for has_relay in [false, true] {
        let home = tempfile::tempdir().expect("a directory");
        let (mut config, path) = relay_config(home.path());
        if !has_relay {
            config.relays.clear();
        }
        let monitor = Monitor::bind(home.path(), "vm1");
        let hub = Daemon::start(config).await.expect("starts");
        let _session = monitor.accept().await;
        let mut journal = Watcher::new(&hub);
        journal.until("vm1 1.0 attached").await;
        let stalled = stall(home.path());
        let (status, answer) = execute(home.path(), "vm1", r#"{"execute": "stop"}"#).await;
        assert_eq!(
            (status, &answer["return"], &answer["journaled"]),
            (200, &json!({}), &json!(false)),
            "{answer}"
        );
        if has_relay {
            let mut raw = RawClient::open(&path).await.0;
            raw.send(r#"{"execute": "cont", "id": 7}"#).await;
            assert_eq!(raw.value().await, json!({"return": {}, "id": 7}), "the reply comes first");
            drop(stalled);
            assert_eq!(raw.line().await, event_line("STOP", ""));
            assert_eq!(raw.line().await, event_line("RESUME", ""));
            let late = raw.value().await;
            assert_eq!((&late["event"], &late["data"]), (&json!(EVENTS_LATE), &json!({"replies": 1})));
            // The next reply is in order again.
            let replies = raw.ask(r#""execute": "stop""#).await;
            assert_eq!((replies.len(), &replies[0]["event"]), (2, &json!("STOP")));
        } else {
            drop(stalled);
        }
        let (_, answer) = execute(home.path(), "vm1", r#"{"execute": "cont"}"#).await;
        assert_eq!(answer.get("journaled"), None, "{answer}");
        let command = loop {
            if let qmp_wire::Body::Finding { data, .. } = journal.next().await.body {
                break serde_json::from_str::<Value>(data.as_deref().expect("data")).expect("JSON");
            }
        };
        assert_eq!((&command["execute"], &command["journaled"]), (&json!("stop"), &json!(false)));
        hub.stop().await.expect("stops");
    }
}

#[tokio::test]
async fn removal_fails_pending_commands_before_the_end_is_committed() {
    let home = tempfile::tempdir().expect("a directory");
    let (config, path) = relay_config(home.path());
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(config).await.expect("starts");
    let mut session = monitor.accept().await;
    let mut journal = Watcher::new(&hub);
    journal.until("vm1 1.0 attached").await;
    let mut raw = RawClient::open(&path).await.0;
    raw.send(r#"{"execute": "silence", "id": 1}"#).await;
    let waiting = spawn_execute(home.path(), r#"{"execute": "silence"}"#);
    assert_eq!([session.command().await, session.command().await], ["silence", "silence"]);

    let stalled = stall(home.path());
    let registry = hub.registry();
    let removal = tokio::spawn(async move { registry.remove("vm1", "gone").await });
    let (status, answer) = waiting.await.expect("no panic");
    assert_eq!((status, &answer["error"]["class"]), (503, &json!("VmGone")), "{answer}");
    let (status, answer) = execute(home.path(), "vm1", r#"{"execute": "stop"}"#).await;
    assert_eq!((status, &answer["error"]["class"]), (503, &json!("VmGone")), "{answer}");
    assert!(!removal.is_finished(), "the end of the epoch is not committed");
    let refused = raw.value().await;
    assert_eq!(
        (&refused["id"], &refused["error"]["class"]),
        (&json!(1), &json!("GenericError")),
        "{refused}"
    );
    drop(stalled);
    removal.await.expect("no panic").expect("removed");
    raw.ended().await;
    // Both commands may have had their effect, so both are recorded.
    let mut unknown = 0;
    while unknown < 2 {
        if let qmp_wire::Body::Finding { data, .. } = journal.next().await.body {
            let data: Value = serde_json::from_str(data.as_deref().expect("data")).expect("JSON");
            assert_eq!((&data["execute"], &data["result"]), (&json!("silence"), &json!("unknown")));
            unknown += 1;
        }
    }
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn relay_answers_pending_commands_when_its_vm_ends() {
    let home = tempfile::tempdir().expect("a directory");
    let (config, path) = relay_config(home.path());
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(config).await.expect("starts");
    let mut session = monitor.accept().await;
    Watcher::new(&hub).until("vm1 1.0 attached").await;
    let mut raw = RawClient::open(&path).await.0;
    raw.send(r#"{"execute": "silence", "id": 1}{"execute": "stop", "id": 2}"#).await;
    assert_eq!(session.command().await, "silence");
    session.close().await;
    for id in [1, 2] {
        let refused = raw.value().await;
        let desc = refused["error"]["desc"].as_str().expect("an error");
        assert!(refused["id"] == id && desc.ends_with(": the VM closed the connection"), "{refused}");
    }
    raw.ended().await;
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn refused_client_of_a_relay_receives_the_reason() {
    let uid = rustix::process::getuid().as_raw();
    //  uids                  clients before       the reason
    let cases: [(&[u32], usize, String); 2] = [
        (&[uid + 1], 0, "neither its user nor one of its groups is listed".into()),
        (&[], RELAY_CLIENTS_MAX, format!("it has {RELAY_CLIENTS_MAX} clients already")),
    ];
    for (uids, clients, expected) in cases {
        let home = tempfile::tempdir().expect("a directory");
        let (mut config, path) = relay_config(home.path());
        config.relays[0].1.uids = uids.to_vec();
        let monitor = Monitor::bind(home.path(), "vm1");
        let hub = Daemon::start(config).await.expect("starts");
        let _session = monitor.accept().await;
        Watcher::new(&hub).until("vm1 1.0 attached").await;
        let mut others = Vec::new();
        for _ in 0..clients {
            let mut other = RawClient::connect(&path).await;
            other.line().await;
            others.push(other);
        }
        let error =
            qmp_client::connect(&format!("unix:{}", path.display()).parse().expect("an address")).await;
        let error = error.expect_err("an error").to_string();
        let refusal =
            format!("refused this client: The relay of vm1 does not serve this client (uid {uid} pid ");
        assert!(error.contains(&refusal) && error.contains(&expected), "{error}");
        assert_eq!(hub.relays()[0].turned_away, 1);
        drop(others);
        hub.stop().await.expect("stops");
    }
}

#[tokio::test]
async fn reply_later_than_the_timeout_is_504() {
    let home = tempfile::tempdir().expect("a directory");
    let (config, _) = relay_config(home.path());
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(config).await.expect("starts");
    let mut session = monitor.accept().await;
    let mut journal = Watcher::new(&hub);
    journal.until("vm1 1.0 attached").await;
    let (status, answer) = execute_within(home.path(), "1", r#"{"execute": "silence"}"#).await;
    let desc = "vm1: no reply within 1s; the command may still take effect";
    assert_eq!((status, answer), (504, json!({"error": {"class": "VmTimedOut", "desc": desc}})));
    assert_eq!(session.command().await, "silence");
    let (status, _) = execute_within(home.path(), "0", r#"{"execute": "stop"}"#).await;
    assert_eq!(status, 200, "0 waits for ever");
    // The outcome of the command is recorded as soon as it is known.
    session.close().await;
    let mut commands = Vec::new();
    while commands.len() < 2 {
        if let qmp_wire::Body::Finding { data, .. } = journal.next().await.body {
            let data: Value = serde_json::from_str(data.as_deref().expect("data")).expect("JSON");
            commands.push((data["execute"].clone(), data["result"].clone()));
        }
    }
    assert_eq!(commands, [(json!("stop"), json!("done")), (json!("silence"), json!("unknown"))]);
    hub.stop().await.expect("stops");
}

async fn execute_within(home: &Path, timeout: &str, body: &str) -> (u16, Value) {
    let request = hyper::Request::post(format!("/v1/vms/vm1/execute?timeout={timeout}"))
        .header("host", "hub")
        .header("content-type", "application/json")
        .body(http_body_util::Full::from(body.to_owned()))
        .expect("a request");
    crate::support::client::json(
        crate::support::client::send_request(crate::support::client::connect(home).await, request).await,
    )
    .await
}

/// QEMU parses a long command for seconds and answers no other client meanwhile, so the relay must refuse it.
#[tokio::test]
async fn long_command_of_an_observer_is_refused() {
    let home = tempfile::tempdir().expect("a directory");
    let (mut config, path) = relay_config(home.path());
    config.relays[0].1.role = Role::Observe;
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(config).await.expect("starts");
    let mut session = monitor.accept().await;
    Watcher::new(&hub).until("vm1 1.0 attached").await;
    let mut raw = RawClient::open(&path).await.0;
    let command = |bytes: usize| {
        format!(r#""execute": "query-burst", "arguments": {{"count": 0, "x": "{}"}}"#, "x".repeat(bytes))
    };
    assert_eq!(raw.ask(&command(15 << 10)).await[0]["return"], json!({}));
    for request in [command(17 << 10), format!(r#""execute": "query-{}""#, "x".repeat(17 << 10))] {
        let refused = raw.ask(&request).await;
        let desc = refused[0]["error"]["desc"].as_str().expect("an error");
        assert!(desc.contains("may have 16384 bytes") && desc.contains("observe"), "{desc}");
    }
    // A command above the second limit is not read to its end.
    raw.send(&format!(r#"{{"execute": "query-status", "arguments": {{"x": "{}"#, "x".repeat(200 << 10)))
        .await;
    let refused = raw.value().await;
    assert!(
        refused["error"]["desc"].as_str().is_some_and(|desc| desc.contains("may have 131072 bytes")),
        "{refused}"
    );
    raw.ended().await;
    assert_eq!(hub.relays()[0].commands, 1);
    assert_eq!(session.commands_so_far(), [""; 0]);
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn responses_have_the_beginning_of_a_stall() {
    let home = tempfile::tempdir().expect("a directory");
    let (mut config, _) = relay_config(home.path());
    config.journal_options.queue_max_bytes = 32 << 10;
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(config).await.expect("starts");
    let session = monitor.accept().await;
    Watcher::new(&hub).until("vm1 1.0 attached").await;
    let paths = ["/v1/hub", "/v1/vms", "/v1/vms/vm1", "/v1/records", "/v1/health", "/v1/nothing"];
    for path in paths {
        assert_eq!(stalled_header(home.path(), path).await, None, "{path}");
    }

    let stalled = stall(home.path());
    session.emit("STOP", "");
    let mut health = hub.journal().health();
    health.wait_for(|health| *health != Health::Writing).await.expect("a change of health");
    for path in paths {
        let since = stalled_header(home.path(), path).await.expect(path);
        let moment = since.parse::<qmp_wire::UnixMicros>();
        assert!(moment.is_ok(), "{path}: {since}");
    }
    let (_, answer) = get_json(home.path(), "/v1/hub").await;
    assert!(answer["journal_stalled_since"].is_string(), "{answer}");
    let (_, answer) = get_json(home.path(), "/v1/vms").await;
    assert!(answer[0]["as_of"].is_string() && answer[0]["state"] == "attached", "{answer}");
    let (_, answer) = get_json(home.path(), "/v1/vms/vm1").await;
    assert!(answer["as_of"].is_string(), "{answer}");
    let (status, answer) = get_json(home.path(), "/v1/health").await;
    assert_eq!((status, &answer["error"]["class"]), (503, &json!("JournalStalled")), "{answer}");

    // Events without room are discarded, which is worse than a stall.
    crate::support::fill(&hub);
    let burst = json!({"execute": "query-burst", "arguments": {"count": 100}}).to_string();
    let (_, answer) = execute(home.path(), "vm1", &burst).await;
    assert_eq!((&answer["overrun"], &answer["journaled"]), (&json!(true), &json!(false)), "{answer}");
    let (status, answer) = get_json(home.path(), "/v1/health").await;
    let desc = answer["error"]["desc"].as_str().expect("an error");
    assert_eq!((status, &answer["error"]["class"]), (503, &json!("JournalOverrun")), "{answer}");
    assert!(desc.contains("events of 1 VMs are discarded") && desc.contains("since 2"), "{desc}");

    drop(stalled);
    health.wait_for(|health| *health == Health::Writing).await.expect("a change of health");
    while stalled_header(home.path(), "/v1/hub").await.is_some() {
        tokio::task::yield_now().await;
    }
    let (_, answer) = get_json(home.path(), "/v1/vms/vm1").await;
    assert_eq!(answer.get("as_of"), None, "{answer}");
    hub.stop().await.expect("stops");
}

async fn stalled_header(home: &Path, path: &str) -> Option<String> {
    let answer = crate::support::client::get(home, path).await;
    let value = answer.headers().get("qmp-events-journal-stalled")?;
    Some(value.to_str().expect("text").to_owned())
}
