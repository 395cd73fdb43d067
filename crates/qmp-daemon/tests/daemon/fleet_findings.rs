//! Findings over hosts: two emulated hosts, whose hubs publish what their journals get, a real server, and a fleet hub.

use std::time::Duration;

use crate::support::Watcher;
use crate::support::client::{get_json, get_lines};
use crate::support::fleet_host::{Host, UUID, fleet_hub, fleet_hub_with, has_read};
use qmp_daemon::Daemon;
use qmp_journal::Query;
use qmp_testing::{NatsServer, poll_until};
use qmp_wire::{Body, Offset, UnixMicros};
use serde_json::json;

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
        let listed = async || {
            let (_, vms) = get_json(home.path(), "/v1/vms").await;
            let vms = vms.as_array().cloned().unwrap_or_default();
            let (_, alone) = get_json(home.path(), "/v1/vms/node2%2Fweb1").await;
            assert_eq!(vms[1]["also_on"], alone["also_on"], "{alone}");
            vms.iter().map(|vm| json!([vm["host"], vm["two_hosts_since"], vm["also_on"]])).collect::<Vec<_>>()
        };
        let since = UnixMicros(node1.began.0 + 5_000_000).to_string();
        let on_both = [json!(["node1", since, ["node2"]]), json!(["node2", since, ["node1"]])];
        assert_eq!(listed().await, on_both);
        // The observer counts it when it reads the record.
        let counted = "qmp_fleet_findings_total{finding=\"two-hosts\"} 1";
        poll_until("the count", async || {
            let mut lines = get_lines(home.path(), "/metrics").await;
            let mut is_counted = false;
            while let Some(line) = lines.next().await {
                is_counted |= line == counted;
            }
            is_counted.then_some(())
        })
        .await;
        hub.stop().await.expect("stops");

        let hub = fleet_hub(home.path(), &server, &rule).await;
        node2.records(&[(105.0, r#"RTC_CHANGE {"offset": 2}"#)]).await;
        has_read(&hub, 1).await;
        assert_eq!(listed().await, on_both, "it is not over after a restart");
        node1.records(&[(95.0, r#"RTC_CHANGE {"offset": 2}"#), (100.0, "STOP")]).await;
        let mut journal = Watcher::new(&hub);
        let mut kinds = Vec::new();
        while kinds.last().is_none_or(|kind| kind != "two-hosts-over") {
            if let Body::Finding { finding, .. } = journal.next().await.body {
                kinds.push(finding.into_owned());
            }
        }
        assert_eq!(kinds, ["two-hosts", "two-hosts-over"]);
        assert_eq!(listed().await, [json!(["node1", null, null]), json!(["node2", null, null])]);
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

/// How long a host may be silent in a test. No other test may be that slow.
const SILENT_AFTER: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_host_is_reported_with_what_ran_there() {
    for program in NatsServer::programs() {
        let home = tempfile::tempdir().expect("a directory");
        let mut server = NatsServer::start(program, &home.path().join("nats"), "");
        let (node1, node2) = (Host::start(&server, "node1").await, Host::start(&server, "node2").await);
        node1.records(&[(0.0, "attached running")]).await;
        node2.records(&[(0.0, "attached running"), (1.0, "detached")]).await;
        let hub = fleet_hub_with(home.path(), &server, "", SILENT_AFTER).await;
        has_read(&hub, 3).await;
        // While the server is down no host is heard, and no host counts as silent.
        server.kill();
        tokio::time::sleep(2 * SILENT_AFTER).await;
        let records =
            hub.journal().reader().cursor(Query::default(), Offset(0)).next_batch(100).expect("reads");
        let is_silent =
            |body: &Body<'_>| matches!(body, Body::Finding { finding, .. } if *finding == "host-silent");
        assert!(!records.iter().any(|record| is_silent(&record.body)), "{records:?}");
        server.restart();
        // The hub of the host is killed, and that of the other one was stopped or has no VM.
        let Host { home: home1, hub: hub1, .. } = node1;
        drop(hub1);
        let mut journal = Watcher::new(&hub);
        let (summary, causes, data) = journal.finding("host-silent").await;
        assert_eq!(
            summary,
            "node1 has not been heard for 1.0 s: the host, its hub or its connection is down. One VM was running there: web1."
        );
        assert_eq!(
            (causes.len(), &data["hosts"], &data["running"], &data["running_count"]),
            (0, &json!(["node1"]), &json!(["web1"]), &1.into())
        );
        assert!(data["last_heard"].as_str().is_some_and(|at| at.parse::<UnixMicros>().is_ok()), "{data}");
        poll_until("the silence in the list", async || {
            let (_, vms) = get_json(home.path(), "/v1/vms").await;
            let of_node1 = vms.as_array()?.iter().find(|vm| vm["host"] == "node1")?.clone();
            of_node1["silent_since"]
                .as_str()
                .map(|_| assert_eq!(of_node1["unresponsive"], "its host is silent"))
        })
        .await;
        hub.stop().await.expect("stops");

        // It is recorded once, and over when the host gives a sign of life: its hub has closed the epoch.
        let hub = fleet_hub_with(home.path(), &server, "", SILENT_AFTER).await;
        tokio::time::sleep(2 * SILENT_AFTER).await;
        let node1 = Host::start_in(home1, &server, "node1").await;
        let mut journal = Watcher::new(&hub);
        let mut kinds = Vec::new();
        while kinds.last().is_none_or(|kind: &String| !kind.ends_with("host-answers-again")) {
            let record = journal.next().await;
            if let Body::Finding { finding, summary, .. } = &record.body {
                assert!(
                    *finding != "host-answers-again" || summary.starts_with("node1 is heard again, after "),
                    "{summary}"
                );
                kinds.push(format!("{} {finding}", record.vm));
            }
        }
        assert_eq!(kinds, ["node1 host-silent", "node1 host-answers-again"]);
        let (_, vms) = get_json(home.path(), "/v1/vms?left=864000").await;
        assert_eq!(vms.as_array().map(Vec::len), Some(2), "{vms}");
        hub.stop().await.expect("stops");
        for host in [node1, node2] {
            host.hub.stop().await.expect("stops");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quiet_hosts_are_compared_by_their_signs_of_life() {
    for program in NatsServer::programs() {
        let home = tempfile::tempdir().expect("a directory");
        let server = NatsServer::start(program, &home.path().join("nats"), "");
        let (mut node1, mut node2) =
            (Host::start(&server, "node1").await, Host::start(&server, "node2").await);
        // In the future: the rules of the hosts send signs of life, too, which are complete up to now only.
        for host in [&mut node1, &mut node2] {
            host.began.0 += 48 * 3_600_000_000;
        }
        let hosts = [("node1", &node1), ("node2", &node2)];
        for (_, host) in hosts {
            host.records(&[(0.0, "attached running")]).await;
        }
        let hub = fleet_hub(home.path(), &server, "").await;
        has_read(&hub, 2).await;
        let client = async_nats::connect(server.url()).await.expect("connects");
        let sign = async |host: &str, journal: &Daemon, offset: u64, seconds: i64| {
            let journal = journal.journal().reader().identity().expect("reads").expect("a name");
            let upto = node1.began.0 + seconds * 1_000_000;
            let sign = json!({"journal": journal, "offset": offset, "upto": upto});
            let subject = qmp_fleet::sign_of_life_subject(host);
            client.publish(subject, sign.to_string().into()).await.expect("publishes");
        };
        // Records are missing, the name is that of another host, and it is not for long enough.
        sign("node2", &node2.hub, 1, 62).await;
        sign("node1", &node1.hub, 1, 5).await;
        sign("node2", &node1.hub, 1, 61).await;
        sign("node1", &node1.hub, 2, 60).await;
        client.flush().await.expect("a connection");
        node2.records(&[(63.0, r#"RTC_CHANGE {"offset": 1}"#)]).await;
        has_read(&hub, 3).await;
        let mut journal = Watcher::new(&hub);
        journal.until(r#"node2/web1 1.1 RTC_CHANGE {"offset": 1}"#).await;
        node1.records(&[(9.0, r#"RTC_CHANGE {"offset": 1}"#)]).await;
        has_read(&hub, 4).await;
        assert_eq!(journal.take(1).await, [r#"node1/web1 1.1 RTC_CHANGE {"offset": 1}"#]);
        sign("node1", &node1.hub, 2, 64).await;
        let (_, _, data) = journal.finding("two-hosts").await;
        assert_eq!(data["hosts"], json!(["node1", "node2"]), "{data}");
        hub.stop().await.expect("stops");
        for host in [node1, node2] {
            host.hub.stop().await.expect("stops");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vm_that_was_quiet_for_hours_is_compared_after_a_restart() {
    for program in NatsServer::programs() {
        let home = tempfile::tempdir().expect("a directory");
        let server = NatsServer::start(program, &home.path().join("nats"), "");
        let (node1, node2) = (Host::start(&server, "node1").await, Host::start(&server, "node2").await);
        let hub = fleet_hub(home.path(), &server, "").await;
        node1.records(&[(0.0, "attached running")]).await;
        // What is older than the last finding by more than an hour is finished on one host.
        node2.records_of("db1", &[(20_000.0, "attached paused"), (20_001.0, "finding note")]).await;
        has_read(&hub, 3).await;
        hub.stop().await.expect("stops");

        let hub = fleet_hub(home.path(), &server, "").await;
        node1.records_of("db2", &[(20_100.0, "attached paused")]).await;
        node2.records(&[(20_050.0, "attached running"), (20_100.0, r#"RTC_CHANGE {"offset": 1}"#)]).await;
        let (_, _, data) = Watcher::new(&hub).finding("two-hosts").await;
        let evidence = json!([
            {"host": "node1", "vm": "web1", "epoch": 1, "seq": 0},
            {"host": "node2", "vm": "web1", "epoch": 1, "seq": 0},
        ]);
        assert_eq!(data["evidence"], evidence, "{data}");
        hub.stop().await.expect("stops");
        for host in [node1, node2] {
            host.hub.stop().await.expect("stops");
        }
    }
}
