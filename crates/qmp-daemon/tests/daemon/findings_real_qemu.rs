//! Findings of a real QEMU: the run state before, the step that ended or reset it, and its answers. Skipped without
//! QEMU, unless `CI` is set.
//!
//! A second monitor acts on the VM, so that no recorded command is an explanation.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::client::get_json;
use crate::support::qmp::RawClient;
use crate::support::{Watcher, config};
use qmp_daemon::{Daemon, DaemonConfig};
use qmp_hub::discovery::{DiscoveryRule, Source};
use qmp_testing::poll_until;
use serde_json::{Value, json};

/// A QEMU with two monitors: `vm1.sock` for the hub, `second.sock` for the test.
struct Qemu(Child);

impl Qemu {
    fn start(home: &Path, options: &str) -> Self {
        let monitor = |name: &str| format!("unix:{},server=on,wait=off", home.join(name).display());
        let mut command = Command::new(crate::support::qemu::PROGRAM);
        command.args(["-nodefaults", "-display", "none", "-accel", "tcg", "-m", "32"]);
        command.args(options.split_whitespace());
        command.args(["-qmp", &monitor("vm1.sock"), "-qmp", &monitor("second.sock")]);
        Self(command.stdin(Stdio::null()).spawn().expect("QEMU starts"))
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.0.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // The process has ended unless the test failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A QEMU, the attached hub, its journal, and the second monitor.
async fn start(home: &Path, options: &str) -> (Qemu, Daemon, Watcher, RawClient) {
    let qemu = Qemu::start(home, options);
    let mut config = config(home, &["vm1"]);
    config.findings = true;
    let hub = Daemon::start(config).await.expect("starts");
    let mut journal = Watcher::new(&hub);
    journal.until("vm1 1.0 attached").await;
    let (monitor, _) = RawClient::open(&home.join("second.sock")).await;
    (qemu, hub, journal, monitor)
}

/// The request of a write to a port by the human monitor, or of a command.
fn request(act: &str) -> String {
    match act.split_once(' ') {
        Some(("port", line)) => {
            let arguments = json!({"command-line": format!("o{line}")});
            format!("\"execute\": \"human-monitor-command\", \"arguments\": {arguments}")
        }
        Some((execute, arguments)) => format!("\"execute\": \"{execute}\", \"arguments\": {arguments}"),
        None => format!("\"execute\": \"{act}\""),
    }
}

const POWER_OFF: &str = "port /w 0x604 0x2000";
const SLEEP: &str = "port /w 0x604 0x2400";
const PANIC: &str = "port /b 0x505 1";
const CRASH_KERNEL: &str = "port /b 0x505 2";
const EXPIRE: &str = "port /b 0x443 0x0f";
const MIGRATE: &str = r#"migrate {"uri": "exec:cat>/dev/null"}"#;

/// The firmware sets up the power port a moment after the start; earlier writes have no effect.
const ACT_AGAIN: Duration = Duration::from_millis(500);

/// Acts on the VM until the journal has this event or finding.
async fn act_until_shown(journal: &mut Watcher, monitor: &mut RawClient, act: &str, shown: &str) {
    let is_shown = |record: &str| {
        record.ends_with(&format!("finding {shown}")) || record.split(' ').nth(2) == Some(shown)
    };
    let mut next_act = tokio::time::Instant::now();
    loop {
        match tokio::time::timeout_at(next_act, journal.next()).await {
            Ok(record) if is_shown(&crate::support::short(&record)) => return,
            Ok(_) => {}
            Err(_) => {
                monitor.ask(&request(act)).await;
                next_act += ACT_AGAIN;
            }
        }
    }
}

#[tokio::test]
async fn run_state_before_the_end_determines_the_cause() {
    if crate::support::qemu::is_missing() {
        return;
    }
    //  options, act, sign of the state, end, then: kind, cause, by, ended by, state before
    type Case = (&'static str, &'static str, &'static str, &'static str, [&'static str; 5]);
    let cases: [Case; 11] = [
        (
            "-no-shutdown",
            POWER_OFF,
            "why-paused",
            "-TERM",
            ["why-ended", "guest-shutdown", "guest", "host-signal", "shutdown"],
        ),
        (
            "-no-shutdown",
            POWER_OFF,
            "why-paused",
            "quit",
            ["why-ended", "guest-shutdown", "guest", "host-qmp-quit", "shutdown"],
        ),
        (
            "-no-shutdown",
            POWER_OFF,
            "why-paused",
            "system_reset",
            ["why-reset", "guest-shutdown", "guest", "host-qmp-system-reset", "shutdown"],
        ),
        (
            "-device pvpanic -action panic=pause",
            PANIC,
            "why-paused",
            "quit",
            ["why-ended", "guest-panic", "guest", "host-qmp-quit", "guest-panicked"],
        ),
        (
            "-device pvpanic -action panic=pause",
            PANIC,
            "why-paused",
            "system_reset",
            ["why-reset", "guest-panic", "guest", "host-qmp-system-reset", "guest-panicked"],
        ),
        (
            "-device pvpanic -action panic=none",
            PANIC,
            "GUEST_PANICKED",
            "quit",
            ["why-ended", "guest-panic", "guest", "host-qmp-quit", "running"],
        ),
        (
            "-device pvpanic",
            CRASH_KERNEL,
            "GUEST_CRASHLOADED",
            "-INT",
            ["why-ended", "guest-panic", "guest", "host-signal", "running"],
        ),
        (
            "-device ib700 -action watchdog=pause",
            EXPIRE,
            "why-paused",
            "-HUP",
            ["why-ended", "watchdog", "guest", "host-signal", "watchdog"],
        ),
        (
            "-global PIIX4_PM.disable_s3=0",
            SLEEP,
            "why-suspended",
            "quit",
            ["why-ended", "guest-suspend", "guest", "host-qmp-quit", "suspended"],
        ),
        (
            "",
            MIGRATE,
            "why-paused",
            "quit",
            ["why-ended", "migration", "unknown", "host-qmp-quit", "postmigrate"],
        ),
        ("", "stop", "why-paused", "quit", ["why-ended", "host-qmp-quit", "host", "host-qmp-quit", "paused"]),
    ];
    for (options, act, shown, end, [kind, cause, by, ended_by, before]) in cases {
        let home = tempfile::tempdir().expect("a directory");
        let (qemu, hub, mut journal, mut monitor) = start(home.path(), options).await;
        act_until_shown(&mut journal, &mut monitor, act, shown).await;
        if end.starts_with('-') {
            qemu.signal(end);
        } else {
            monitor.send(&format!("{{{}}}", request(end))).await;
        }
        let (summary, causes, data) = journal.finding(kind).await;
        let found = ["cause", "by", "ended_by", "run_state_before"].map(|member| data[member].clone());
        assert_eq!(found, [cause, by, ended_by, before].map(Value::from), "{options} {act} {end}: {summary}");
        assert!(causes.len() >= 2, "{summary} {causes:?}");
        hub.stop().await.expect("stops");
    }
}

/// A QEMU that is killed while the hub is down, and possibly started again: its end is found afterwards, once.
#[tokio::test]
async fn qemu_that_ended_while_the_hub_was_down_is_explained() {
    if crate::support::qemu::is_missing() {
        return;
    }
    for is_started_again in [true, false] {
        let home = tempfile::tempdir().expect("a directory");
        let (qemu, hub, _, _) = start(home.path(), "").await;
        hub.stop().await.expect("stops");
        let pid = qemu.0.id();
        drop(qemu);
        let again = is_started_again.then(|| Qemu::start(home.path(), ""));
        if again.is_some() {
            wait_until_listening(home.path()).await;
        }
        let with_findings = || DaemonConfig { findings: true, ..config(home.path(), &["vm1"]) };
        let hub = Daemon::start(with_findings()).await.expect("starts");
        let mut journal = Watcher::new(&hub);
        if is_started_again {
            let (summary, _, data) = journal.finding("state-changed-unseen").await;
            assert_eq!(data["process"]["before"], pid, "{summary}");
        }
        let (summary, _, data) = journal.finding("why-ended").await;
        let found = ["cause", "by", "ended_by", "run_state_before"].map(|member| data[member].clone());
        assert_eq!(found, ["unknown", "unknown", "unknown", "running"].map(Value::from), "{summary}");
        assert!(summary.contains(&pid.to_string()), "{pid}: {summary}");
        assert!(data["ended_after"].as_str() < data["ended_before"].as_str(), "{data}");
        hub.stop().await.expect("stops");
        drop(again);
        // The next hub finds nothing more about the first QEMU, and the end of the second.
        let hub = Daemon::start(with_findings()).await.expect("starts");
        let mut journal = Watcher::new(&hub);
        for _ in 0..=usize::from(is_started_again) {
            journal.finding("why-ended").await;
        }
        let (_, vm) = get_json(home.path(), "/v1/vms/vm1").await;
        assert_eq!((&vm["run_state"], &vm["why"]["cause"]), (&"gone".into(), &"unknown".into()), "{vm}");
        hub.stop().await.expect("stops");
    }
}

/// Waits until the second monitor of a QEMU accepts connections: the first monitor is created before it.
async fn wait_until_listening(home: &Path) {
    let socket = home.join("second.sock");
    poll_until("the second monitor", async || tokio::net::UnixStream::connect(&socket).await.ok()).await;
}

/// A discovered VM whose socket vanished with its QEMU is not found again; its end is explained nevertheless.
#[tokio::test]
async fn discovered_qemu_that_ended_while_the_hub_was_down_is_explained() {
    if crate::support::qemu::is_missing() {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let qemu = Qemu::start(home.path(), "");
    let discovery_config = || {
        let source =
            Source::Paths(home.path().join("vm1.sock").to_str().expect("text").parse().expect("a pattern"));
        DaemonConfig {
            findings: true,
            discover: vec![DiscoveryRule::new(source)],
            ..config(home.path(), &[])
        }
    };
    let hub = Daemon::start(discovery_config()).await.expect("starts");
    Watcher::new(&hub).until("vm1 1.0 attached").await;
    hub.stop().await.expect("stops");
    drop(qemu);
    std::fs::remove_file(home.path().join("vm1.sock")).expect("removes");
    let hub = Daemon::start(discovery_config()).await.expect("starts");
    let (summary, _, data) = Watcher::new(&hub).finding("why-ended").await;
    assert_eq!((&data["cause"], &data["ended_by"]), (&"unknown".into(), &"unknown".into()), "{summary}");
    assert!(hub.registry().list().is_empty(), "not discovered again");
    hub.stop().await.expect("stops");
}

/// QEMU sends no event for a snapshot that cannot be loaded: it only stops the VM.
#[tokio::test]
async fn load_of_a_missing_snapshot_explains_its_job_and_the_pause() {
    if crate::support::qemu::is_missing() {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let options = "-blockdev driver=null-co,node-name=n0,size=1048576";
    let (_qemu, hub, mut journal, mut monitor) = start(home.path(), options).await;
    let arguments = json!({"job-id": "load", "tag": "nope", "vmstate": "n0", "devices": ["n0"]});
    monitor.ask(&request(&format!("snapshot-load {arguments}"))).await;
    // The two come in either order.
    let (mut job, mut paused) = (None, None);
    while job.is_none() || paused.is_none() {
        let record = journal.next().await;
        let qmp_wire::Body::Finding { finding, data: Some(data), .. } = &record.body else { continue };
        let data: Value = serde_json::from_str(data).expect("JSON");
        match &**finding {
            "job" => job = Some(data),
            "why-paused" => paused = Some(data),
            _ => {}
        }
    }
    let (job, paused) = (job.expect("a finding about the job"), paused.expect("a finding about the VM"));
    assert_eq!(
        (&job["job"], &job["result"], &job["type"]),
        (&"load".into(), &"failed".into(), &"snapshot-load".into())
    );
    assert!(job["error"].as_str().is_some_and(|error| !error.is_empty()), "{job}");
    assert_eq!((&paused["cause"], &paused["by"]), (&"restore-vm".into(), &"unknown".into()), "{paused}");
    let (_, vm) = get_json(home.path(), "/v1/vms/vm1").await;
    assert_eq!(
        (&vm["run_state"], &vm["jobs"][0]["status"]),
        (&"restore-vm".into(), &"concluded".into()),
        "{vm}"
    );
    assert_eq!(vm["jobs"][0]["error"], job["error"], "{vm}");
    let dismissed = monitor.ask(&request(r#"job-dismiss {"id": "load"}"#)).await;
    assert_eq!(dismissed.last().map(|reply| reply["return"].clone()), Some(json!({})));
    monitor.send(&format!("{{{}}}", request("quit"))).await;
    let (_, _, data) = journal.finding("why-ended").await;
    assert_eq!(
        (&data["cause"], &data["run_state_before"]),
        (&"host-qmp-quit".into(), &"restore-vm".into()),
        "{data}"
    );
    hub.stop().await.expect("stops");
}
