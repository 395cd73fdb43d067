//! Rules on states of a fleet hub, for VMs of other hosts.

use std::path::Path;

use crate::support::client::get_json;
use crate::support::fleet_host::{Host, fleet_hub};
use qmp_testing::{NatsServer, poll_until};
use serde_json::{Value, json};

/// Waits for that many deliveries. Returns them in the order of their text: VMs of one moment have no order.
async fn deliveries(file: &Path, count: usize) -> Vec<String> {
    poll_until("the deliveries", async || {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = |line: &str| {
            let record: Value = serde_json::from_str(line).expect("JSON");
            let Value::String(summary) = &record["summary"] else { panic!("{record}") };
            format!("{}/{} {summary}", record["host"], record["vm"]).replace('"', "")
        };
        let mut lines: Vec<String> = text.lines().map(line).collect();
        lines.sort_unstable();
        (lines.len() >= count).then_some(lines)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_on_states_is_about_vms_of_the_hosts_that_it_selects() {
    for program in NatsServer::programs() {
        let home = tempfile::tempdir().expect("a directory");
        let server = NatsServer::start(program, &home.path().join("nats"), "");
        let delivered = home.path().join("delivered.jsonl");
        let rule = format!(
            "[[rule]]\nname = 'held'\nstate = ['paused']\nfor = '30s'\nhost = 'node1'\nfile = '{}'",
            delivered.display()
        );
        let (node1, node2) = (Host::start(&server, "node1").await, Host::start(&server, "node2").await);
        let hub = fleet_hub(home.path(), &server, &rule).await;
        for host in [&node1, &node2] {
            host.records(&[(0.0, "attached paused"), (40.0, r#"RTC_CHANGE {"offset": 1}"#)]).await;
        }
        node1.records_of("db1", &[(0.0, "attached paused")]).await;
        node1.records_of("db2", &[(41.0, "attached running")]).await;
        let raised = [
            "node1/db1 It has been paused for 30 s (rule held). It was paused when this epoch began, and no record says by whom.",
            "node1/web1 It has been paused for 30 s (rule held). It was paused when this epoch began, and no record says by whom.",
        ];
        assert_eq!(deliveries(&delivered, 2).await, raised);
        let listed = |vm: &str| {
            let since = node1.began.to_string();
            json!({"host": "node1", "vm": vm, "rule": "held", "state": "paused", "since": since})
        };
        let (_, alerts) = get_json(home.path(), "/v1/alerts").await;
        assert_eq!(alerts, json!([listed("db1"), listed("web1")]));
        hub.stop().await.expect("stops");

        let hub = fleet_hub(home.path(), &server, &rule).await;
        poll_until("the alerts", async || {
            let (_, alerts) = get_json(home.path(), "/v1/alerts").await;
            (alerts == json!([listed("db1"), listed("web1")])).then_some(())
        })
        .await;
        node1.records(&[(60.0, "RESUME")]).await;
        let resolved = deliveries(&delivered, 3).await;
        assert_eq!(resolved[2], "node1/web1 It is running, after 60 s paused (rule held).");
        node1.records_of("db1", &[(70.0, "removed")]).await;
        let resolved = deliveries(&delivered, 4).await;
        assert!(
            resolved.iter().any(|line| line.starts_with("node1/db1 The hub does not follow it any more, ")),
            "{resolved:?}"
        );
        let (_, alerts) = get_json(home.path(), "/v1/alerts").await;
        assert_eq!(alerts, json!([]));
        hub.stop().await.expect("stops");
        for host in [node1, node2] {
            host.hub.stop().await.expect("stops");
        }
        assert_eq!(deliveries(&delivered, 4).await.len(), 4, "each once");
    }
}
