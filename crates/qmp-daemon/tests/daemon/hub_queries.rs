//! Queries of the hub about states that no event reports: one for each, with a record of the answer.

use std::path::Path;
use std::time::Instant;

use crate::support::client::execute;
use crate::support::qmp::RawClient;
use crate::support::{Watcher, config, short};
use qmp_daemon::{Daemon, DaemonConfig};
use qmp_findings::{QUESTIONS_BURST, QUESTIONS_SPAN};
use qmp_hub::SilentAfter;
use qmp_hub::relay::{RelayConfig, Role};
use qmp_journal::Globs;
use qmp_testing::{Monitor, event_line};
use qmp_wire::Body;
use serde_json::json;

fn querying_config(home: &Path) -> DaemonConfig {
    let mut config =
        DaemonConfig { findings: true, silent_after: SilentAfter::Off, ..config(home, &["vm1"]) };
    let mut relay = RelayConfig::new(home.join("relay.qmp"));
    relay.role = Role::Operate { allow: Globs::default() };
    config.relays.push(("vm1".parse().expect("a name"), relay));
    config
}

#[tokio::test]
async fn stop_without_a_cause_is_followed_by_a_recorded_query() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(querying_config(home.path())).await.expect("starts");
    let session = monitor.accept().await;
    let mut journal = Watcher::new(&hub);
    journal.until("vm1 1.0 attached").await;
    let (mut client, _) = RawClient::open(&home.path().join("relay.qmp")).await;

    session.emit("STOP", "");
    let (summary, causes, data) = journal.finding("query").await;
    assert_eq!(summary, "query-status: running");
    assert_eq!(causes, [(1, 1)], "the record that led to the query");
    assert_eq!(data, json!({"execute": "query-status", "return": {"status": "running", "running": true}}));
    // The client received the event, and its next line is the reply to its own command.
    assert_eq!(client.value().await["event"], "STOP");
    let replies = client.ask(r#""execute": "query-name""#).await;
    assert_eq!(replies, [json!({"return": {}, "id": "ask"})]);
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn stop_by_a_client_command_leads_to_no_query() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(querying_config(home.path())).await.expect("starts");
    let mut session = monitor.accept().await;
    let mut journal = Watcher::new(&hub);
    journal.until("vm1 1.0 attached").await;
    let (mut client, _) = RawClient::open(&home.path().join("relay.qmp")).await;

    client.send(r#"{"execute": "silence", "id": "slow"}"#).await;
    assert_eq!(session.command().await, "silence");
    // A command in progress may be the explanation, so the VM is not queried; then its record explains the stop.
    assert_eq!(execute(home.path(), "vm1", r#"{"execute": "stop"}"#).await.0, 200);
    let mut seen = Vec::new();
    while !seen.iter().any(|record: &String| record.ends_with("finding why-paused")) {
        seen.push(short(&journal.next().await));
    }
    assert!(!seen.iter().any(|record| record.ends_with("finding query")), "{seen:?}");
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn flapping_vm_is_queried_at_a_limited_rate_and_about_its_last_stop() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(querying_config(home.path())).await.expect("starts");
    let session = monitor.accept().await;
    let mut journal = Watcher::new(&hub);
    journal.until("vm1 1.0 attached").await;

    let began = Instant::now();
    session.send(event_line("STOP", "").repeat(500));
    let mut queries = 0;
    let (mut last_stop, mut queried) = (None, None);
    while queried.is_none() || queried != last_stop {
        let record = journal.next().await;
        match &record.body {
            Body::Event { .. } => last_stop = Some((record.epoch, record.seq)),
            Body::Finding { finding, causes, .. } if finding == "query" => {
                queries += 1;
                queried = causes.first().copied();
            }
            _ => {}
        }
    }
    let each = QUESTIONS_SPAN / QUESTIONS_BURST;
    let most = u64::from(QUESTIONS_BURST) + began.elapsed().as_secs() / each.as_secs() + 1;
    assert!(queries <= most, "{queries} queries, limit {most}");
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn query_without_an_answer_does_not_delay_the_stop() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(querying_config(home.path())).await.expect("starts");
    let session = monitor.accept().await;
    let mut journal = Watcher::new(&hub);
    journal.until("vm1 1.0 attached").await;
    session.emit("STOP", "");
    session.hang();
    journal.until("vm1 1.1 STOP").await;
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn migration_without_events_is_learned_from_a_query() {
    if crate::support::qemu::is_missing() {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let monitor = format!("unix:{},server=on,wait=off", home.path().join("vm1.sock").display());
    let mut qemu = tokio::process::Command::new(crate::support::qemu::PROGRAM)
        .args(["-nodefaults", "-display", "none", "-accel", "tcg", "-m", "16", "-qmp", &monitor])
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("QEMU starts");
    let hub = Daemon::start(querying_config(home.path())).await.expect("starts");
    let mut journal = Watcher::new(&hub);
    journal.until("vm1 1.0 attached").await;

    let migrate = json!({"execute": "migrate", "arguments": {"uri": "exec:cat>/dev/null"}}).to_string();
    let (_, answer) = execute(home.path(), "vm1", &migrate).await;
    assert_eq!(answer["return"], json!({}), "{answer}");
    // The first answer may arrive before the migration completes.
    loop {
        let (_, _, data) = journal.finding("query").await;
        match data["return"]["status"].as_str() {
            Some("finish-migrate") => {}
            status => break assert_eq!(status, Some("postmigrate"), "{data}"),
        }
    }
    let (status, _) = execute(home.path(), "vm1", r#"{"execute": "quit"}"#).await;
    assert_eq!(status, 200);
    assert!(qemu.wait().await.expect("ends").success());
    hub.stop().await.expect("stops");
}
