//! A live migration between two real QEMUs on one machine, each followed by the hub of a host of its own, as a fleet hub tells it.
//! Skipped without QEMU, unless `CI` is set.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::qmp::RawClient;
use crate::support::{Watcher, config, rules};
use qmp_daemon::Daemon;
use qmp_hub::FleetSourceConfig;
use qmp_journal::Query;
use qmp_testing::NatsServer;
use qmp_wire::{Body, Offset};
use serde_json::json;
use tempfile::TempDir;

const UUID: &str = "12345678-9abc-def0-1234-56789abcdef0";

/// A QEMU on a host, with the hub of the host and a second monitor for the test.
struct Host {
    _home: TempDir,
    qemu: Child,
    _hub: Daemon,
    monitor: RawClient,
}

impl Host {
    async fn start(server: &NatsServer, name: &str, options: &[&str]) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let socket = |name: &str| format!("unix:{},server=on,wait=off", home.path().join(name).display());
        let mut command = Command::new(crate::support::qemu::PROGRAM);
        command
            .args(["-nodefaults", "-display", "none", "-accel", "tcg", "-m", "32", "-uuid", UUID])
            .args(options);
        command.args(["-qmp", &socket("web1.sock"), "-qmp", &socket("second.sock")]);
        let qemu = command.stdin(Stdio::null()).spawn().expect("QEMU starts");
        let mut config = config(home.path(), &["web1"]);
        config.findings = true;
        config.host = Some(name.into());
        config.rules = rules(&format!("[[rule]]\nname = 'fleet'\nfrom = 'start'\nnats = '{}'", server.url()));
        let hub = Daemon::start(config).await.expect("starts");
        Watcher::new(&hub).until("web1 1.0 attached").await;
        let (monitor, _) = RawClient::open(&home.path().join("second.sock")).await;
        Self { _home: home, qemu, _hub: hub, monitor }
    }

    /// Lets QEMU send the events of migrations.
    async fn enable_events(&mut self) {
        let capabilities = json!({"capabilities": [{"capability": "events", "state": true}]});
        self.execute("migrate-set-capabilities", &capabilities).await;
    }

    async fn execute(&mut self, command: &str, arguments: &serde_json::Value) {
        let replies =
            self.monitor.ask(&format!("\"execute\": \"{command}\", \"arguments\": {arguments}")).await;
        let reply = replies.last().expect("a reply");
        assert!(reply["return"].is_object(), "{command}: {reply}");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

async fn fleet_hub(home: &Path, server: &NatsServer) -> Daemon {
    let mut config = config(home, &[]);
    config.findings = true;
    config.from = vec![server.url().parse::<FleetSourceConfig>().expect("a source")];
    Daemon::start(config).await.expect("starts")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_migration_is_one_story_of_both_hosts() {
    let Some(program) = NatsServer::programs().first().filter(|_| !crate::support::qemu::is_missing()) else {
        return;
    };
    for with_events in [true, false] {
        let home = tempfile::tempdir().expect("a directory");
        let server = NatsServer::start(program, &home.path().join("nats"), "");
        let uri = format!("unix:{}", home.path().join("migration.sock").display());
        let hub = fleet_hub(home.path(), &server).await;
        let mut source = Host::start(&server, "node1", &[]).await;
        let mut destination = Host::start(&server, "node2", &["-incoming", "defer"]).await;
        if with_events {
            source.enable_events().await;
            destination.enable_events().await;
        }
        destination.execute("migrate-incoming", &json!({"uri": uri})).await;
        source.execute("migrate", &json!({"uri": uri})).await;

        let (summary, causes, data) = Watcher::new(&hub).finding("migrated").await;
        assert!(summary.starts_with("web1 was migrated from node1 to node2"), "{summary}");
        assert!(summary.contains(", and stood still for "), "{summary}");
        assert_eq!((causes.len(), &data["hosts"]), (0, &json!(["node1", "node2"])), "{data}");
        assert_eq!((&data["uuid"], &data["result"]), (&UUID.into(), &"completed".into()), "{data}");
        let seconds = |member: &str| data[member].as_f64();
        // The clocks of both hosts are that of this machine.
        assert!(
            seconds("downtime_seconds").is_some_and(|downtime| (0.0..10.0).contains(&downtime)),
            "{data}"
        );
        assert_eq!(seconds("duration_seconds").is_some(), with_events, "{data}");

        // The evidence is in the journal: the stop, the end at the source, and the VM that runs at the destination.
        for (evidence, expected) in
            data["evidence"].as_array().into_iter().flatten().zip(["node1", "node1", "node2"])
        {
            assert_eq!(evidence["host"], expected, "{data}");
            let vm = format!("{expected}/web1");
            let records =
                hub.journal().reader().cursor(Query::default(), Offset(0)).next_batch(1_000).expect("reads");
            let is_it = |epoch: u32, seq: u64| evidence["epoch"] == epoch && evidence["seq"] == seq;
            let found = records.iter().find(|record| record.vm == vm && is_it(record.epoch.0, record.seq.0));
            let found = found.unwrap_or_else(|| panic!("{evidence} is in the journal"));
            assert!(!matches!(found.body, Body::Attached { .. } | Body::Detached { .. }), "{found:?}");
        }
        let records =
            hub.journal().reader().cursor(Query::default(), Offset(0)).next_batch(1_000).expect("reads");
        let is_double = |body: &Body<'_>| matches!(body, Body::Finding { finding, .. } if finding.starts_with("two-hosts"));
        assert!(!records.iter().any(|record| is_double(&record.body)), "{records:?}");
        hub.stop().await.expect("stops");
    }
}
