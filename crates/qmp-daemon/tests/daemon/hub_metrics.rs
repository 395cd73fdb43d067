//! `GET /metrics`: the counters, under names that Prometheus' own tool accepts.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::client::{execute, get, get_json, get_lines};
use crate::support::qmp::RawClient;
use crate::support::{Watcher, config};
use http_body_util::BodyExt as _;
use qmp_daemon::Daemon;
use qmp_hub::discovery::DiscoveryRule;
use qmp_hub::relay::RelayConfig;
use qmp_journal::Health;
use qmp_testing::{Monitor, poll_until};
use rusqlite::Connection;
use serde_json::json;

/// The samples of one moment, by name and labels.
struct Scrape {
    text: String,
    samples: BTreeMap<String, f64>,
}

impl Scrape {
    async fn of(home: &Path) -> Self {
        let answer = get(home, "/metrics").await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        let bytes = answer.into_body().collect().await.expect("a complete response").to_bytes();
        let text = String::from_utf8(bytes.into()).expect("UTF-8");
        let mut samples = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').expect("a sample");
            let again = samples.insert(name.to_owned(), value.parse().expect("a number"));
            assert_eq!(again, None, "{name} occurs once");
        }
        Self { text, samples }
    }

    fn expect(&self, expected: &[(&str, f64)]) {
        for (name, value) in expected {
            assert_eq!(self.samples.get(*name), Some(value), "{name} in\n{}", self.text);
        }
    }

    /// Names and labels of the metric, in order.
    fn series(&self, metric: &str) -> Vec<&str> {
        let begin = format!("{metric}{{");
        self.samples.keys().filter(|name| name.starts_with(&begin)).map(String::as_str).collect()
    }
}

#[tokio::test]
async fn events_epochs_and_records_are_counted() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let mut with_a_rule = config(home.path(), &["vm1", "absent"]);
    let log = home.path().join("log");
    with_a_rule.rules =
        crate::support::rules(&format!("[[rule]]\nname = 'log'\nevent = 'STOP'\nfile = '{}'", log.display()));
    let hub = Daemon::start(with_a_rule).await.expect("starts");
    let mut journal = Watcher::new(&hub);
    let session = monitor.accept().await;
    for event in ["STOP", "RESUME", "STOP", "X_MADE_UP\\n\\\"", "X_2"] {
        session.emit(event, "");
    }
    journal.until("vm1 1.5 X_2").await;
    session.close().await;
    let again = monitor.accept().await;
    journal.until("vm1 2.0 attached").await;
    let reader = get_lines(home.path(), "/v1/records?follow=true").await;

    while hub.sinks()[0].delivered < 2 || hub.sinks()[0].lag_records > 0 {
        tokio::task::yield_now().await;
    }
    let scrape = Scrape::of(home.path()).await;
    scrape.expect(&[
        (r#"qmp_sink_delivered_total{rule="log",kind="file"}"#, 2.0),
        (r#"qmp_sink_failures_total{rule="log",kind="file"}"#, 0.0),
        (r#"qmp_sink_lag_records{rule="log",kind="file"}"#, 0.0),
        (r#"qmp_sink_retrying{rule="log",kind="file"}"#, 0.0),
        (r#"qmp_vm_attached{vm="vm1"}"#, 1.0),
        (r#"qmp_vm_attached{vm="absent"}"#, 0.0),
        (r#"qmp_epochs_total{vm="vm1"}"#, 2.0),
        (r#"qmp_epochs_total{vm="absent"}"#, 0.0),
        (r#"qmp_gaps_total{vm="vm1",reason="peer closed"}"#, 1.0),
        (r#"qmp_gaps_total{vm="vm1",reason="overrun"}"#, 0.0),
        (r#"qmp_events_total{vm="vm1",event="STOP"}"#, 2.0),
        (r#"qmp_events_total{vm="vm1",event="RESUME"}"#, 1.0),
        (r#"qmp_events_total{vm="vm1",event="other"}"#, 2.0),
        (r#"qmp_events_discarded_total{vm="vm1"}"#, 0.0),
        (r#"qmp_journal_records_total{kind="event"}"#, 5.0),
        (r#"qmp_journal_records_total{kind="attached"}"#, 2.0),
        (r#"qmp_journal_records_total{kind="detached"}"#, 1.0),
        (r#"qmp_journal_records_total{kind="finding"}"#, 0.0),
        ("qmp_journal_head_offset", 8.0),
        ("qmp_journal_commit_failures_total", 0.0),
        ("qmp_journal_stalled", 0.0),
        ("qmp_journal_queue_limit_bytes", f64::from(64 << 20)),
        ("qmp_http_readers", 1.0),
        (concat!("qmp_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
    ]);
    assert_eq!(scrape.series("qmp_events_total").len(), 3, "unknown names of events do not become labels");
    assert!(scrape.samples[r#"qmp_vm_attach_failures_total{vm="absent"}"#] >= 1.0);
    assert!(scrape.samples[r#"qmp_journal_size_bytes{file="journal"}"#] >= 8_192.0);
    assert!(scrape.samples["qmp_journal_commits_total"] >= 1.0);
    assert!(scrape.samples["qmp_start_time_seconds"] > 1.7e9);
    assert!(scrape.samples["qmp_findings_lag_records"] <= 8.0);
    promtool_accepts(&scrape.text);

    drop((reader, again));
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn run_state_has_a_series_for_each_known_state() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(config(home.path(), &["vm1", "absent"])).await.expect("starts");
    let session = monitor.accept().await;
    let mut journal = Watcher::new(&hub);
    journal.until("vm1 1.0 attached").await;
    let of = |vm: &str, state: &str| format!("qmp_vm_run_state{{vm=\"{vm}\",state=\"{state}\"}}");
    let present = |scrape: &Scrape| -> Vec<String> {
        let all = scrape.series("qmp_vm_run_state");
        assert_eq!(all.len(), 2 * 21, "{all:?}");
        all.into_iter().filter(|name| scrape.samples[*name] == 1.0).map(str::to_owned).collect()
    };
    // A request for the state of a VM brings it up to date.
    get_json(home.path(), "/v1/vms").await;
    let scrape = Scrape::of(home.path()).await;
    assert_eq!(present(&scrape), [of("absent", "unknown"), of("vm1", "running")]);
    promtool_accepts(&scrape.text);

    let quit = r#"{"guest": false, "reason": "host-qmp-quit"}"#;
    session.emit("SHUTDOWN", quit);
    session.close().await;
    journal.until("vm1 1.2 detached PeerClosed").await;
    get_json(home.path(), "/v1/vms").await;
    let scrape = Scrape::of(home.path()).await;
    assert_eq!(present(&scrape), [of("absent", "unknown"), of("vm1", "ended")]);
    hub.stop().await.expect("stops");
}

/// A VM that was killed leaves the hub with its socket: its series stay for an alert, and go when its name is followed again.
#[tokio::test]
async fn series_of_a_vm_that_left_without_an_announcement_stays() {
    let home = tempfile::tempdir().expect("a directory");
    let mut discovers = config(home.path(), &[]);
    let pattern = format!("{}/vm*.sock", home.path().display());
    discovers.discover = vec![DiscoveryRule::new(pattern.parse().expect("a source"))];
    let hub = Daemon::start(discovers).await.expect("starts");
    let mut journal = Watcher::new(&hub);
    let (killed, quits) = (Monitor::bind(home.path(), "vm1"), Monitor::bind(home.path(), "vm2"));
    let (first, second) = (killed.accept().await, quits.accept().await);
    journal.take(2).await;
    second.emit("SHUTDOWN", r#"{"guest": false, "reason": "host-qmp-quit"}"#);
    drop((killed, quits));
    first.close().await;
    second.close().await;
    poll_until("both leave", async || hub.registry().vms().all().is_empty().then_some(())).await;
    get_json(home.path(), "/v1/vms").await;
    let scrape = Scrape::of(home.path()).await;
    scrape.expect(&[(r#"qmp_vm_run_state{vm="vm1",state="gone"}"#, 1.0)]);
    assert!(!scrape.text.contains("vm2"), "{}", scrape.text);
    promtool_accepts(&scrape.text);

    let again = Monitor::bind(home.path(), "vm1");
    let _session = again.accept().await;
    journal.until("vm1 2.0 attached").await;
    get_json(home.path(), "/v1/vms").await;
    Scrape::of(home.path()).await.expect(&[(r#"qmp_vm_run_state{vm="vm1",state="gone"}"#, 0.0)]);
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn findings_are_counted_by_kind() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let mut with_findings = config(home.path(), &["vm1", "absent"]);
    with_findings.findings = true;
    let hub = Daemon::start(with_findings).await.expect("starts");
    let session = monitor.accept().await;
    let mut journal = Watcher::new(&hub);
    let failed = r#"{"device": "d", "operation": "write", "action": "stop", "reason": "x"}"#;
    session.emit("BLOCK_IO_ERROR", failed);
    session.emit("STOP", "");
    journal.finding("why-paused").await;
    // A request for the state of a VM brings the counts up to date.
    get_json(home.path(), "/v1/vms/vm1").await;
    let scrape = Scrape::of(home.path()).await;
    scrape.expect(&[
        (r#"qmp_findings_total{vm="vm1",finding="why-paused"}"#, 1.0),
        (r#"qmp_findings_total{vm="vm1",finding="storm"}"#, 0.0),
        (r#"qmp_findings_total{vm="absent",finding="storm"}"#, 0.0),
    ]);
    assert!(!scrape.text.contains(r#"vm="absent",finding="why-paused""#));
    assert_eq!(scrape.series("qmp_vm_info"), [""; 0], "this VM reports neither name nor UUID");
    promtool_accepts(&scrape.text);
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn clients_of_relays_are_counted() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let mut config = config(home.path(), &["vm1"]);
    let (observed, own) = (home.path().join("vm1.qmp"), home.path().join("own.qmp"));
    let uid = rustix::process::getuid().as_raw();
    let closed = RelayConfig { uids: vec![uid + 1], ..RelayConfig::new(own.clone()) };
    for relay in [RelayConfig::new(observed.clone()), closed] {
        config.relays.push(("vm1".parse().expect("a name"), relay));
    }
    let hub = Daemon::start(config).await.expect("starts");
    let _session = monitor.accept().await;
    Watcher::new(&hub).until("vm1 1.0 attached").await;
    let (mut raw, _) = RawClient::open(&observed).await;
    raw.ask(r#""execute": "query-status""#).await;
    raw.ask(r#""execute": "stop""#).await;
    let mut refused = RawClient::connect(&own).await;
    let reason = refused.value().await["error"]["desc"].to_string();
    assert!(reason.contains("does not serve this client"), "{reason}");
    refused.ended().await;

    let scrape = Scrape::of(home.path()).await;
    let of =
        |name: &str, relay: &Path| format!("qmp_relay_{name}{{vm=\"vm1\",relay=\"{}\"}}", relay.display());
    let expected = [
        (of("clients", &observed), 1.0),
        (of("clients_accepted_total", &observed), 1.0),
        (of("clients_turned_away_total", &observed), 0.0),
        (of("clients_slow_closed_total", &observed), 0.0),
        (of("commands_total", &observed), 1.0),
        (of("commands_refused_total", &observed), 1.0),
        (of("clients", &own), 0.0),
        (of("clients_accepted_total", &own), 0.0),
        (of("clients_turned_away_total", &own), 1.0),
    ];
    for (name, value) in &expected {
        scrape.expect(&[(name, *value)]);
    }
    promtool_accepts(&scrape.text);

    let (_, relays) = get_json(home.path(), "/v1/relays").await;
    let connected = &relays[0]["connected"][0];
    assert_eq!((&connected["pid"], &connected["commands"]), (&json!(std::process::id()), &json!(1)));
    let first = json!({
        "vm": "vm1", "path": observed, "role": "observe", "clients": 1, "connected": [connected], "accepted": 1,
        "turned_away": 0, "closed_slow": 0, "commands": 1, "refused": 1
    });
    assert_eq!((&relays[0], &relays[1]["turned_away"]), (&first, &json!(1)));
    let (_, vm) = get_json(home.path(), "/v1/vms/vm1").await;
    assert_eq!(vm["relays"], relays);
    hub.stop().await.expect("stops");
}

#[tokio::test]
async fn stalled_disk_is_shown_by_metrics_and_health() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let mut small = config(home.path(), &["vm1"]);
    small.journal_options.queue_max_bytes = 32 << 10;
    let hub = Daemon::start(small).await.expect("starts");
    let _session = monitor.accept().await;
    let mut journal = Watcher::new(&hub);
    journal.until("vm1 1.0 attached").await;
    assert_eq!(get_json(home.path(), "/v1/health").await, (200, json!({"status": "ok"})));

    let other = Connection::open(home.path().join("journal.db")).expect("opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("no other writer");
    let kept = crate::support::fill(&hub);
    let (_, answer) =
        execute(home.path(), "vm1", r#"{"execute": "query-burst", "arguments": {"count": 5000}}"#).await;
    assert_eq!(answer["overrun"], json!(true));
    let mut health = hub.journal().health();
    health.wait_for(|health| *health != Health::Writing).await.expect("a change of health");
    let scrape = Scrape::of(home.path()).await;
    scrape.expect(&[
        ("qmp_journal_stalled", 1.0),
        (r#"qmp_vm_attached{vm="vm1"}"#, 0.0),
        (r#"qmp_events_total{vm="vm1",event="RTC_CHANGE"}"#, 5_000.0),
        (r#"qmp_events_discarded_total{vm="vm1"}"#, 5_000.0),
        ("qmp_journal_head_offset", 1.0),
    ]);
    assert!(scrape.samples["qmp_journal_commit_failures_total"] >= 1.0);
    assert!(scrape.samples["qmp_journal_queue_bytes"] > 16_384.0, "{}", scrape.text);
    let (status, answer) = get_json(home.path(), "/v1/health").await;
    assert_eq!((status, &answer["error"]["class"]), (503, &json!("JournalOverrun")));
    let desc = answer["error"]["desc"].as_str().expect("a text");
    assert!(desc.contains("events of 1 VMs are discarded"), "{desc}");
    assert!(desc.contains("another program holds a lock: end its transaction"), "{desc}");

    other.execute_batch("ROLLBACK").expect("ends");
    journal.until("vm1 2.0 attached").await;
    let scrape = Scrape::of(home.path()).await;
    scrape.expect(&[
        ("qmp_journal_stalled", 0.0),
        (r#"qmp_vm_attached{vm="vm1"}"#, 1.0),
        (r#"qmp_gaps_total{vm="vm1",reason="overrun"}"#, 1.0),
        (r#"qmp_events_discarded_total{vm="vm1"}"#, 5_000.0),
        (r#"qmp_journal_records_total{kind="event"}"#, f64::from(kept)),
    ]);
    assert_eq!(get_json(home.path(), "/v1/health").await.0, 200);
    hub.stop().await.expect("stops");
}

/// Prometheus' own tool checks the names and parses the format.
fn promtool_accepts(text: &str) {
    let check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut check = match check {
        Ok(check) => check,
        Err(error) if std::env::var_os("CI").is_none() => {
            eprintln!("not checked: cannot run promtool ({error}); Debian has it in the package prometheus");
            return;
        }
        Err(error) => panic!("cannot run promtool: {error}; install the package prometheus"),
    };
    check.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("reads");
    let output = check.wait_with_output().expect("ends");
    let messages = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && messages.is_empty(), "{messages}\n{text}");
}
