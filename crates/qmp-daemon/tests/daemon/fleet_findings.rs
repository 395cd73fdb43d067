//! Findings over hosts: two emulated hosts, whose hubs publish what their journals get, a real server, and a fleet hub.

use std::path::Path;

use crate::support::client::get_json;
use crate::support::{Watcher, config, rules};
use qmp_daemon::Daemon;
use qmp_hub::FleetSourceConfig;
use qmp_journal::{Batch, Draft};
use qmp_testing::{NatsServer, poll_until};
use qmp_wire::{Body, DetachReason, UnixMicros};
use serde_json::json;
use tempfile::TempDir;

const UUID: &str = "12345678-9abc-def0-1234-56789abcdef0";

/// The hub of a host without VMs. Its records come from the test, with times of the past.
struct Host {
    _home: TempDir,
    hub: Daemon,
    began: UnixMicros,
}

impl Host {
    async fn start(server: &NatsServer, name: &str) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let mut config = config(home.path(), &[]);
        config.host = Some(name.into());
        config.rules = rules(&format!("[[rule]]\nname = 'fleet'\nfrom = 'start'\nnats = '{}'", server.url()));
        let hub = Daemon::start(config).await.expect("starts");
        // All hosts begin at the same hour.
        let hour = 3_600_000_000;
        let began = UnixMicros(qmp_host::clock::now().0.div_euclid(hour) * hour - 24 * hour);
        Self { _home: home, hub, began }
    }

    /// Records lines about the VM `web1`, each with its second: `attached STATE`, `detached`, or an event.
    async fn records(&self, lines: &[(f64, &'static str)]) {
        let mut batch = Batch::new();
        for (second, line) in lines {
            let (word, data) = line.split_once(' ').unwrap_or((line, ""));
            let body = match word {
                "attached" => Body::Attached { snapshot: snapshot(data).into() },
                "detached" => {
                    Body::Detached { reason: DetachReason::PeerClosed, detail: None, certain_until: None }
                }
                name => Body::Event {
                    name: name.into(),
                    sent_name: None,
                    timestamp: None,
                    data: (!data.is_empty()).then(|| data.into()),
                },
            };
            #[expect(clippy::cast_possible_truncation, reason = "seconds of a test")]
            let received = UnixMicros(self.began.0 + (second * 1e6) as i64);
            batch.push(&Draft { vm: "web1", received, body });
        }
        self.hub.journal().appender().append_when_room(&mut batch).await.expect("an open journal");
    }
}

fn snapshot(state: &str) -> String {
    let status = json!({"status": state, "running": state == "running"});
    json!({"query-status": status, "query-uuid": {"UUID": UUID}, "query-name": {"name": "web1"}}).to_string()
}

async fn fleet_hub(home: &Path, server: &NatsServer, rule: &str) -> Daemon {
    let mut config = config(home, &[]);
    config.findings = true;
    config.from = vec![server.url().parse::<FleetSourceConfig>().expect("a source")];
    config.rules = rules(rule);
    Daemon::start(config).await.expect("starts")
}

/// Waits until the fleet hub has no record to read.
async fn has_read(hub: &Daemon, records: u64) {
    let is_read = |hub: &Daemon| {
        hub.sources().iter().any(|status| status.records >= records && status.lag_records == 0)
    };
    poll_until("the records", async || is_read(hub).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migration_between_two_hosts_is_one_finding() {
    for program in NatsServer::programs() {
        let home = tempfile::tempdir().expect("a directory");
        let server = NatsServer::start(program, &home.path().join("nats"), "");
        let (node1, node2) = (Host::start(&server, "node1").await, Host::start(&server, "node2").await);
        let hub = fleet_hub(home.path(), &server, "").await;
        node1
            .records(&[
                (0.0, "attached running"),
                (2.0, r#"MIGRATION {"status": "setup"}"#),
                (2.1, r#"MIGRATION {"status": "active"}"#),
                (14.0, "STOP"),
                (14.2, r#"MIGRATION {"status": "completed"}"#),
            ])
            .await;
        has_read(&hub, 5).await;
        hub.stop().await.expect("stops");
        // What is not complete is read again at the next start.
        node2.records(&[(1.0, "attached inmigrate"), (14.25, "RESUME")]).await;
        let hub = fleet_hub(home.path(), &server, "").await;
        let (summary, causes, data) = Watcher::new(&hub).finding("migrated").await;
        assert_eq!(summary, "web1 was migrated from node1 to node2 within 12 s, and stood still for 250 ms.");
        assert_eq!((causes.len(), &data["uuid"]), (0, &UUID.into()), "{data}");
        let evidence = json!([
            {"host": "node1", "vm": "web1", "epoch": 1, "seq": 3},
            {"host": "node1", "vm": "web1", "epoch": 1, "seq": 4},
            {"host": "node2", "vm": "web1", "epoch": 1, "seq": 1},
        ]);
        assert_eq!((&data["hosts"], &data["evidence"]), (&json!(["node1", "node2"]), &evidence), "{data}");
        assert_eq!(
            (&data["downtime_seconds"], &data["duration_seconds"]),
            (&0.25.into(), &12.2.into()),
            "{data}"
        );

        // It is a record of the fleet hub itself, and no VM.
        let (_, vms) = get_json(home.path(), "/v1/vms?left=864000").await;
        let names: Vec<_> =
            vms.as_array().into_iter().flatten().map(|vm| (&vm["host"], &vm["run_state"])).collect();
        assert_eq!(
            names,
            [(&"node1".into(), &"postmigrate".into()), (&"node2".into(), &"running".into())],
            "{vms}"
        );
        let (_, listed) =
            get_json(home.path(), "/v1/findings?finding=migrated&since=2000-01-01T00:00:00Z").await;
        assert_eq!(
            (&listed["findings"][0]["vm"], &listed["findings"][0]["host"]),
            (&"web1".into(), &serde_json::Value::Null),
            "{listed}"
        );
        for host in [node1, node2] {
            host.hub.stop().await.expect("stops");
        }
        hub.stop().await.expect("stops");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vm_on_two_hosts_is_reported_once_over_restarts() {
    for program in NatsServer::programs() {
        let home = tempfile::tempdir().expect("a directory");
        let server = NatsServer::start(program, &home.path().join("nats"), "");
        let delivered = home.path().join("delivered.jsonl");
        let rule =
            format!("[[rule]]\nname = 'double'\nfinding = 'two-hosts*'\nfile = '{}'", delivered.display());
        let (node1, node2) = (Host::start(&server, "node1").await, Host::start(&server, "node2").await);
        let hub = fleet_hub(home.path(), &server, &rule).await;
        node1.records(&[(0.0, "attached running"), (90.0, r#"RTC_CHANGE {"offset": 1}"#)]).await;
        node2.records(&[(5.0, "attached running"), (80.0, r#"RTC_CHANGE {"offset": 1}"#)]).await;
        let (summary, _, data) = Watcher::new(&hub).finding("two-hosts").await;
        assert_eq!(
            summary,
            "web1 has been running on node1 and on node2 at once for more than 10 s: two QEMUs may write to its disks."
        );
        assert_eq!((&data["hosts"], &data["uuid"]), (&json!(["node1", "node2"]), &UUID.into()), "{data}");
        hub.stop().await.expect("stops");

        let hub = fleet_hub(home.path(), &server, &rule).await;
        node2.records(&[(105.0, r#"RTC_CHANGE {"offset": 2}"#)]).await;
        has_read(&hub, 1).await;
        node1.records(&[(95.0, r#"RTC_CHANGE {"offset": 2}"#), (100.0, "STOP")]).await;
        let mut journal = Watcher::new(&hub);
        let mut kinds = Vec::new();
        while kinds.last().is_none_or(|kind| kind != "two-hosts-over") {
            if let Body::Finding { finding, .. } = journal.next().await.body {
                kinds.push(finding.into_owned());
            }
        }
        assert_eq!(kinds, ["two-hosts", "two-hosts-over"]);
        has_read(&hub, 3).await;
        hub.stop().await.expect("stops");

        let hub = fleet_hub(home.path(), &server, &rule).await;
        node1.records(&[(110.0, "RESUME"), (130.0, r#"RTC_CHANGE {"offset": 3}"#)]).await;
        node2.records(&[(119.0, "STOP")]).await;
        has_read(&hub, 3).await;
        hub.stop().await.expect("stops");
        let text = std::fs::read_to_string(&delivered).expect("deliveries");
        let kinds: Vec<String> = text
            .lines()
            .map(|line| {
                let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
                format!("{} {}", record["finding"].as_str().expect("a kind"), record["data"]["seconds"])
            })
            .collect();
        assert_eq!(kinds, ["two-hosts null", "two-hosts-over 95.0"], "{text}");
        for host in [node1, node2] {
            host.hub.stop().await.expect("stops");
        }
    }
}
