//! A monitor that does not answer: the probes, states and records of the hub, and its behaviour for quiet monitors.

use std::path::Path;
use std::time::Duration;

use crate::support::client::{execute, get, get_json};
use crate::support::qmp::RawClient;
use crate::support::{Watcher, config};
use http_body_util::BodyExt;
use qmp_daemon::{Daemon, DaemonConfig};
use qmp_hub::relay::{RelayConfig, Role};
use qmp_hub::{SilentAfter, VmOrigin};
use qmp_journal::Globs;
use qmp_testing::Monitor;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// The silence limit of the monitors. Short, because the tests wait for it; no result depends on its length.
const SPAN: Duration = Duration::from_millis(100);

fn probing_config(home: &Path) -> DaemonConfig {
    DaemonConfig { findings: true, silent_after: SilentAfter::Span(SPAN), ..config(home, &["vm1"]) }
}

async fn metric(home: &Path, name: &str) -> String {
    let text = get(home, "/metrics").await.into_body().collect().await.expect("a text").to_bytes();
    let text = String::from_utf8(text.to_vec()).expect("UTF-8");
    text.lines().find_map(|line| line.strip_prefix(name)).expect(name).trim().to_owned()
}

#[tokio::test]
async fn monitor_that_hangs_is_silent_until_it_answers() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(probing_config(home.path())).await.expect("starts");
    let session = monitor.accept().await;
    let mut journal = Watcher::new(&hub);
    journal.until("vm1 1.0 attached").await;
    assert_eq!(metric(home.path(), r#"qmp_vm_silent{vm="vm1"}"#).await, "0");

    session.hang();
    let (summary, causes, silent) = journal.finding("silent").await;
    assert!(summary.starts_with("The monitor has not answered for "), "{summary}");
    assert_eq!((causes, &silent["asked"]), (vec![(1, 0)], &json!("query-status")));
    for path in ["/v1/vms", "/v1/vms/vm1"] {
        let (_, vm) = get_json(home.path(), path).await;
        let vm = vm.get(0).unwrap_or(&vm);
        assert_eq!(
            (&vm["silent_since"], &vm["state"]),
            (&silent["silent_since"], &json!("attached")),
            "{vm}"
        );
    }
    assert_eq!(metric(home.path(), r#"qmp_vm_silent{vm="vm1"}"#).await, "1");

    session.go_on();
    let (summary, causes, again) = journal.finding("answers-again").await;
    assert!(summary.starts_with("The monitor answers again, after "), "{summary}");
    assert_eq!((causes, &again["silent_since"]), (vec![(1, 0)], &silent["silent_since"]));
    assert!(again["seconds"].as_f64() >= Some(2.0 * SPAN.as_secs_f64()), "{again}");
    let (_, vm) = get_json(home.path(), "/v1/vms/vm1").await;
    assert_eq!(vm.get("silent_since"), None, "{vm}");
    assert_eq!(metric(home.path(), r#"qmp_vm_silent{vm="vm1"}"#).await, "0");
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn quiet_monitor_that_answers_probes_leaves_no_record_and_no_reply_to_clients() {
    let home = tempfile::tempdir().expect("a directory");
    let mut config = probing_config(home.path());
    let relay = home.path().join("relay.qmp");
    config.relays.push(("vm1".parse().expect("a name"), RelayConfig::new(&relay)));
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(config).await.expect("starts");
    let mut session = monitor.accept().await;
    let mut journal = Watcher::new(&hub);
    journal.until("vm1 1.0 attached").await;
    let (mut client, _) = RawClient::open(&relay).await;

    session.wait_for_queries(4).await;
    let head = hub.journal().head();
    session.wait_for_queries(3).await;
    assert_eq!(hub.journal().head(), head, "probes are not recorded");
    let replies = client.ask(r#""execute": "query-status""#).await;
    assert_eq!(replies.len(), 1, "no reply but the client's own: {replies:?}");
    session.emit("STOP", "");
    assert_eq!(client.value().await["event"], "STOP");
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn run_state_without_an_event_is_learned_from_the_reply_to_a_probe() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(probing_config(home.path())).await.expect("starts");
    let session = monitor.accept().await;
    let mut journal = Watcher::new(&hub);
    journal.until("vm1 1.0 attached").await;

    session.run_state("paused");
    let (summary, causes, answer) = journal.finding("query").await;
    assert_eq!((summary.as_str(), causes), ("query-status: paused", vec![(1, 0)]));
    assert_eq!(answer["return"]["status"], "paused");
    let (_, vm) = get_json(home.path(), "/v1/vms/vm1").await;
    assert_eq!(
        (&vm["run_state"], &vm["why"]["causes"]),
        (&json!("paused"), &json!([[1, 0], [1, 1]])),
        "{vm}"
    );
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn finding_has_the_command_without_a_reply() {
    let home = tempfile::tempdir().expect("a directory");
    let mut config = probing_config(home.path());
    let relay = home.path().join("relay.qmp");
    let mut operate = RelayConfig::new(&relay);
    operate.role = Role::Operate { allow: Globs::default() };
    config.relays.push(("vm1".parse().expect("a name"), operate));
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(config).await.expect("starts");
    let mut session = monitor.accept().await;
    let mut journal = Watcher::new(&hub);
    journal.until("vm1 1.0 attached").await;

    let (mut client, _) = RawClient::open(&relay).await;
    client.send(r#"{"execute": "silence", "id": "slow"}"#).await;
    assert_eq!(session.command().await, "silence");
    session.hang();
    let (summary, _, silent) = journal.finding("silent").await;
    assert_eq!(silent["pending"]["execute"], "silence");
    assert!(
        silent["pending"]["client"].as_str().is_some_and(|client| client.contains("relay.qmp")),
        "{silent}"
    );
    assert!(summary.contains("; silence by uid ") && summary.contains(" has had no reply for "), "{summary}");
    // The second command is answered at once when the monitor continues: it is not part of the next silence.
    session.go_on();
    journal.finding("answers-again").await;
    drop(client);
    let (status, _) = execute(home.path(), "vm1", r#"{"execute": "query-name"}"#).await;
    assert_eq!(status, 200);
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn closed_epoch_ends_the_silence() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(probing_config(home.path())).await.expect("starts");
    let session = monitor.accept().await;
    let mut journal = Watcher::new(&hub);
    journal.until("vm1 1.0 attached").await;
    session.hang();
    journal.finding("silent").await;
    session.go_on();
    session.close().await;
    // The monitor may have answered before it closed.
    let session = monitor.accept().await;
    journal.until("vm1 2.0 attached").await;
    let (_, vm) = get_json(home.path(), "/v1/vms/vm1").await;
    assert_eq!(vm.get("silent_since"), None, "{vm}");
    session.hang();
    let (_, causes, _) = journal.finding("silent").await;
    assert_eq!(causes, [(2, 0)]);
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn reload_changes_the_span_within_an_epoch() {
    let home = tempfile::tempdir().expect("a directory");
    let file_config = |silent_after| {
        let mut config = DaemonConfig { silent_after, ..probing_config(home.path()) };
        config.origins.insert("vm1".parse().expect("a name"), VmOrigin::Configuration);
        config
    };
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(file_config(SilentAfter::Off)).await.expect("starts");
    let mut session = monitor.accept().await;
    let mut journal = Watcher::new(&hub);
    journal.until("vm1 1.0 attached").await;

    assert!(hub.reload(file_config(SilentAfter::Off)).await.is_nothing());
    let done = hub.reload(file_config(SilentAfter::Span(SPAN))).await;
    assert!(done.silence && !done.is_nothing(), "{done:?}");
    session.wait_for_queries(2).await;

    let mut own = file_config(SilentAfter::Span(SPAN));
    own.silent_after_of.insert("vm1".parse().expect("a name"), SilentAfter::Off);
    assert!(hub.reload(own.clone()).await.silence, "the VM has its own setting");
    assert!(hub.reload(own).await.is_nothing());
    session.hang();
    assert!(hub.reload(file_config(SilentAfter::Span(SPAN))).await.silence);
    journal.finding("silent").await;
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn stopped_qemu_is_silent_until_it_continues() {
    if crate::support::qemu::is_missing() {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let monitor = format!("unix:{},server=on,wait=off", home.path().join("vm1.sock").display());
    let mut qemu = tokio::process::Command::new(crate::support::qemu::PROGRAM)
        .args(["-nodefaults", "-display", "none", "-accel", "tcg", "-qmp", &monitor])
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("QEMU starts");
    let hub = Daemon::start(probing_config(home.path())).await.expect("starts");
    let mut journal = Watcher::new(&hub);
    journal.until("vm1 1.0 attached").await;
    let pid = qemu.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).expect("a running process");
    let stopped = format!("its process {} is stopped, by SIGSTOP or a debugger", pid.as_raw_pid());
    let (_, vm) = get_json(home.path(), "/v1/vms/vm1").await;
    assert_eq!(vm.get("unresponsive"), None, "{vm}");
    kill_process(pid, Signal::STOP).expect("permitted");
    let status = format!("/proc/{}/status", pid.as_raw_pid());
    while !std::fs::read_to_string(&status).expect("a running process").contains("State:\tT") {
        tokio::task::yield_now().await;
    }
    let (_, vm) = get_json(home.path(), "/v1/vms/vm1").await;
    assert_eq!(vm["unresponsive"], stopped, "silent or not: {vm}");
    let (summary, causes, silent) = journal.finding("silent").await;
    assert_eq!(causes, [(1, 0)]);
    assert!(summary.ends_with(&format!(": {stopped}.")), "{summary}");
    assert_eq!(silent["process"], json!({"pid": pid.as_raw_pid(), "state": "T"}));
    let (_, vm) = get_json(home.path(), "/v1/vms/vm1").await;
    assert_eq!((&vm["silent_since"], &vm["state"]), (&silent["silent_since"], &json!("attached")), "{vm}");
    assert_eq!(vm["unresponsive"], stopped, "{vm}");
    let (_, vms) = get_json(home.path(), "/v1/vms").await;
    assert_eq!(vms[0]["unresponsive"], stopped, "{vms}");

    kill_process(pid, Signal::CONT).expect("permitted");
    let (_, _, again) = journal.finding("answers-again").await;
    assert_eq!(again["silent_since"], silent["silent_since"]);
    let (status, _) = execute(home.path(), "vm1", r#"{"execute": "quit"}"#).await;
    assert_eq!(status, 200);
    assert!(qemu.wait().await.expect("ends").success());
    hub.stop().await.expect("stops");
}
