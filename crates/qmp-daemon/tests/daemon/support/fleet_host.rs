//! The hub of an emulated host, which publishes what its journal gets, and a fleet hub that reads it.

use std::path::Path;
use std::time::Duration;

use qmp_daemon::Daemon;
use qmp_hub::{FleetSourceConfig, HOST_SILENT_AFTER};
use qmp_journal::{Batch, Draft};
use qmp_testing::{NatsServer, poll_until};
use qmp_wire::{Body, DetachReason, UnixMicros};
use serde_json::json;
use tempfile::TempDir;

use super::{config, rules};

/// The UUID of `web1`, on each host.
pub(crate) const UUID: &str = "12345678-9abc-def0-1234-56789abcdef0";

/// The hub of a host without VMs. Its records come from the test, with times of the past.
pub(crate) struct Host {
    pub(crate) home: TempDir,
    pub(crate) hub: Daemon,
    pub(crate) began: UnixMicros,
}

impl Host {
    pub(crate) async fn start(server: &NatsServer, name: &str) -> Self {
        Self::start_in(tempfile::tempdir().expect("a directory"), server, name).await
    }

    /// The same with the journal in a directory.
    pub(crate) async fn start_in(home: TempDir, server: &NatsServer, name: &str) -> Self {
        let mut config = config(home.path(), &[]);
        config.host = Some(name.into());
        config.rules = rules(&format!("[[rule]]\nname = 'fleet'\nfrom = 'start'\nnats = '{}'", server.url()));
        let hub = Daemon::start(config).await.expect("starts");
        // All hosts begin at the same hour.
        let hour = 3_600_000_000;
        let began = UnixMicros(qmp_host::clock::now().0.div_euclid(hour) * hour - 24 * hour);
        Self { home, hub, began }
    }

    /// Records lines about the VM `web1`, each with its second: `attached STATE`, `detached`, `removed`, or an event.
    pub(crate) async fn records(&self, lines: &[(f64, &'static str)]) {
        self.records_of("web1", lines).await;
    }

    /// The same of another VM, or a finding, `finding KIND`.
    pub(crate) async fn records_of(&self, vm: &str, lines: &[(f64, &'static str)]) {
        let mut batch = Batch::new();
        for (second, line) in lines {
            let (word, data) = line.split_once(' ').unwrap_or((line, ""));
            let body = match word {
                "attached" => Body::Attached { snapshot: snapshot(data).into() },
                "detached" => {
                    Body::Detached { reason: DetachReason::PeerClosed, detail: None, certain_until: None }
                }
                "removed" => {
                    Body::Detached { reason: DetachReason::Removed, detail: None, certain_until: None }
                }
                "finding" => Body::Finding {
                    finding: data.into(),
                    summary: "as it was".into(),
                    causes: Vec::new(),
                    data: Some("{}".into()),
                },
                name => Body::Event {
                    name: name.into(),
                    sent_name: None,
                    timestamp: None,
                    data: (!data.is_empty()).then(|| data.into()),
                },
            };
            #[expect(clippy::cast_possible_truncation, reason = "seconds of a test")]
            let received = UnixMicros(self.began.0 + (second * 1e6) as i64);
            batch.push(&Draft { vm, received, body });
        }
        self.hub.journal().appender().append_when_room(&mut batch).await.expect("an open journal");
    }
}

fn snapshot(state: &str) -> String {
    let status = json!({"status": state, "running": state == "running"});
    json!({"query-status": status, "query-uuid": {"UUID": UUID}, "query-name": {"name": "web1"}}).to_string()
}

/// A fleet hub with rules.
pub(crate) async fn fleet_hub(home: &Path, server: &NatsServer, rule: &str) -> Daemon {
    fleet_hub_with(home, server, rule, HOST_SILENT_AFTER).await
}

/// The same with another time for which a host may be silent.
pub(crate) async fn fleet_hub_with(
    home: &Path,
    server: &NatsServer,
    rule: &str,
    silent_after: Duration,
) -> Daemon {
    let mut config = config(home, &[]);
    config.findings = true;
    config.host_silent_after = silent_after;
    config.from = vec![server.url().parse::<FleetSourceConfig>().expect("a source")];
    config.rules = rules(rule);
    Daemon::start(config).await.expect("starts")
}

/// Waits until the fleet hub has no record to read.
pub(crate) async fn has_read(hub: &Daemon, records: u64) {
    let is_read = |hub: &Daemon| {
        hub.sources().iter().any(|status| status.records >= records && status.lag_records == 0)
    };
    poll_until("the records", async || is_read(hub).then_some(())).await;
}
