//! Rules on states of a running hub, with VMs of other hosts whose clocks are another day's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use qmp_findings::{ALERT, OpenAlert, RESOLVED, StateRule, StateRuleScope};
use qmp_hub::{Hub, HubConfig, SilentAfter};
use qmp_journal::{ForeignBatch, Journal, JournalOptions, Query, Reader};
use qmp_testing::poll_until;
use qmp_wire::{Body, DetachReason, Epoch, Offset, Record, Seq, UnixMicros};

/// A day in microseconds.
const DAY_US: i64 = 86_400_000_000;

/// All VMs, never silenced.
#[derive(Debug)]
struct AllVms;

impl StateRuleScope for AllVms {
    fn selects(&self, _vm: &str) -> bool {
        true
    }

    fn silenced_until(&self, _vm: &str, _at: UnixMicros) -> Option<UnixMicros> {
        None
    }
}

fn config(open_alerts: Vec<OpenAlert>) -> HubConfig {
    let held = StateRule {
        name: "held".into(),
        states: vec!["paused".into()],
        lasts: Duration::ZERO,
        scope: Arc::new(AllVms),
    };
    HubConfig {
        attach: Vec::new(),
        origins: HashMap::new(),
        findings: true,
        relays: Vec::new(),
        silent_after: SilentAfter::Off,
        silent_after_of: HashMap::new(),
        state_rules: vec![held],
        open_alerts,
        silences_changed: Arc::default(),
    }
}

/// Waits until the hub applies its rules. It has read the journal by then.
async fn applies_rules(hub: &Hub) {
    poll_until("the alert from before the start", async || {
        (!hub.vm_states().alerts(Offset(0)).await.is_empty()).then_some(())
    })
    .await;
}

/// Appends records of a VM of another host. Returns when the hub has read them.
async fn take(hub: &Hub, journal: &Journal, vm: &str, records: Vec<(UnixMicros, Body<'static>)>) {
    let mut batch = ForeignBatch::new();
    for ((received, body), seq) in records.into_iter().zip(0..) {
        let record = Record { offset: None, vm: vm.into(), epoch: Epoch(3), seq: Seq(seq), received, body };
        batch.push(&record).expect("in order");
    }
    let appender = journal.appender();
    let ticket = appender.append_foreign(&mut batch).expect("room");
    let head = appender.committed(ticket).await.expect("commits");
    hub.vm_states().has_read(head).await;
}

fn paused() -> Body<'static> {
    Body::Attached { snapshot: r#"{"query-status": {"status": "paused", "running": false}}"#.into() }
}

fn removed() -> Body<'static> {
    Body::Detached { reason: DetachReason::Removed, detail: None, certain_until: None }
}

/// The alerts and their ends, each with its VM and the time from `began` on in seconds.
fn alerts(reader: &Reader, began: UnixMicros) -> Vec<String> {
    let records = reader.cursor(Query::default(), Offset(0)).next_batch(100).expect("reads");
    let of_rules = records.iter().filter_map(|record| match &record.body {
        Body::Finding { finding, .. } if *finding == ALERT || *finding == RESOLVED => {
            Some(format!("{finding} {} {}", record.vm, (record.received.0 - began.0) / 1_000_000))
        }
        _ => None,
    });
    of_rules.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removal_at_another_host_resolves_the_alert_of_that_vm_alone_at_once() {
    for ahead_us in [DAY_US, -DAY_US] {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("journal.db");
        let journal = Journal::open(&path, JournalOptions::default()).expect("opens");
        let began = UnixMicros(qmp_host::clock::now().0 + ahead_us);
        let after = |seconds: i64| UnixMicros(began.0 + seconds * 1_000_000);
        // The hub has to find this VM of its own host first.
        let own = OpenAlert { rule: "held".into(), vm: "db1".into(), state: "paused".into(), since: began };
        let mut hub = Hub::start(config(vec![own]), &journal).await.expect("starts");
        applies_rules(&hub).await;
        take(&hub, &journal, "node2/web1", vec![(after(1), paused())]).await;
        take(&hub, &journal, "node1/web1", vec![(after(0), paused()), (after(400), removed())]).await;
        hub.stop().await;
        drop(hub);
        journal.close().expect("closes");
        let reader = Reader::open(&path).expect("opens");
        assert_eq!(
            alerts(&reader, began),
            ["alert node2/web1 1", "alert node1/web1 0", "resolved node1/web1 400"],
            "{ahead_us}"
        );
    }
}
