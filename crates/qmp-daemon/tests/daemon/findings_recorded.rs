//! Findings in the journal: recorded once across restarts and crashes of the hub; the state of VMs over HTTP.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::client::get_json;
use crate::support::{Watcher, config};
use qmp_daemon::{Daemon, DaemonConfig};
use qmp_findings::{Correlators, Finding};
use qmp_journal::{Batch, Draft, Journal, JournalOptions, Query, Reader, RecordKind};
use qmp_testing::Monitor;
use qmp_wire::{Body, Causes, DetachReason, Offset, Record, UnixMicros};

const SHUTDOWN: &str = r#"{"guest": true, "reason": "guest-shutdown"}"#;

/// A configuration with findings, the default of a hub.
fn with_findings(home: &Path, vms: &[&str]) -> DaemonConfig {
    let mut config = config(home, vms);
    config.findings = true;
    config
}

/// The next finding: its kind and its causes.
async fn next_finding(journal: &mut Watcher) -> (String, Causes) {
    loop {
        if let Body::Finding { finding, causes, .. } = journal.next().await.body {
            return (finding.into_owned(), causes);
        }
    }
}

fn causes(pairs: &[(u32, u64)]) -> Causes {
    pairs.iter().map(|(epoch, seq)| (qmp_wire::Epoch(*epoch), qmp_wire::Seq(*seq))).collect()
}

#[tokio::test]
async fn shutdown_is_explained_and_in_the_state_of_the_vm() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(with_findings(home.path(), &["vm1"])).await.expect("starts");
    let session = monitor.accept().await;
    let mut journal = Watcher::new(&hub);
    journal.until("vm1 1.0 attached").await;
    let (status, vm) = get_json(home.path(), "/v1/vms/vm1").await;
    assert_eq!(
        (status, &vm["run_state"], &vm["why"]["cause"]),
        (200, &"running".into(), &"found-running".into())
    );
    assert_eq!((&vm["state"], &vm["qemu"], &vm["epoch"]), (&"attached".into(), &"7.2.22".into(), &1.into()));

    session.emit("SHUTDOWN", SHUTDOWN);
    session.close().await;
    let found = next_finding(&mut journal).await;
    assert_eq!(found, ("why-ended".to_owned(), causes(&[(1, 1), (1, 2)])));
    let (_, vm) = get_json(home.path(), "/v1/vms/vm1").await;
    assert_eq!((&vm["run_state"], &vm["why"]["cause"]), (&"ended".into(), &"guest-shutdown".into()), "{vm}");
    assert_eq!(vm["last_events"][0]["event"], "SHUTDOWN", "{vm}");
    let (_, vms) = get_json(home.path(), "/v1/vms").await;
    assert_eq!((&vms[0]["run_state"], &vms[0]["last_event"]["event"]), (&"ended".into(), &"SHUTDOWN".into()));
    let (status, error) = get_json(home.path(), "/v1/vms/vm2").await;
    assert_eq!((status, &error["error"]["class"]), (404, &"VmNotFound".into()));

    // A restarted hub has the same state without queries.
    hub.stop().await.expect("stops");
    drop(monitor);
    let hub = Daemon::start(with_findings(home.path(), &["vm1"])).await.expect("starts");
    let (_, vm) = get_json(home.path(), "/v1/vms/vm1").await;
    assert_eq!((&vm["run_state"], &vm["why"]["cause"]), (&"ended".into(), &"guest-shutdown".into()), "{vm}");
    hub.stop().await.expect("stops");
    assert_eq!(kinds(home.path()), ["why-ended"], "found once");
}

#[tokio::test]
async fn stop_without_a_cause_is_queried_and_explained() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let hub = Daemon::start(with_findings(home.path(), &["vm1"])).await.expect("starts");
    let session = monitor.accept().await;
    let mut journal = Watcher::new(&hub);
    journal.until("vm1 1.0 attached").await;
    session.emit("STOP", "");
    // No recorded command explains the stop, so the hub queries the VM.
    assert_eq!(next_finding(&mut journal).await, ("query".to_owned(), causes(&[(1, 1)])));
    let (kind, found_from) = next_finding(&mut journal).await;
    assert_eq!((&*kind, found_from.first()), ("why-paused", causes(&[(1, 1)]).first()));
    hub.stop().await.expect("stops");
    session.left().await;
}

/// A VM whose socket refuses connections has ended; a VM without a socket may still run.
#[tokio::test]
async fn absent_vm_after_a_restart_has_ended_if_its_socket_refuses() {
    let home = tempfile::tempdir().expect("a directory");
    let monitors = ["vm1", "vm2"].map(|name| Monitor::bind(home.path(), name));
    let hub = Daemon::start(with_findings(home.path(), &["vm1", "vm2"])).await.expect("starts");
    let sessions = [monitors[0].accept().await, monitors[1].accept().await];
    let mut journal = Watcher::new(&hub);
    let mut attached = 0;
    while attached < 2 {
        attached += usize::from(matches!(journal.next().await.body, Body::Attached { .. }));
    }
    hub.stop().await.expect("stops");
    // A `Monitor` removes its socket file on drop; a killed process leaves it.
    drop((sessions, monitors));
    drop(std::os::unix::net::UnixListener::bind(home.path().join("vm1.sock")).expect("binds"));
    for _ in 0..2 {
        let hub = Daemon::start(with_findings(home.path(), &["vm1", "vm2"])).await.expect("starts");
        let mut journal = Watcher::new(&hub);
        journal.finding("why-ended").await;
        let (_, vm) = get_json(home.path(), "/v1/vms/vm1").await;
        assert_eq!((&vm["run_state"], &vm["why"]["cause"]), (&"gone".into(), &"unknown".into()), "{vm}");
        let (_, vm) = get_json(home.path(), "/v1/vms/vm2").await;
        assert_eq!(
            (&vm["run_state"], &vm["why"]["cause"]),
            (&"running".into(), &"found-running".into()),
            "{vm}"
        );
        hub.stop().await.expect("stops");
    }
    assert_eq!(kinds(home.path()), ["process-ended", "why-ended"]);
}

#[tokio::test]
async fn hub_without_findings_records_none_and_knows_the_state() {
    let home = tempfile::tempdir().expect("a directory");
    let monitor = Monitor::bind(home.path(), "vm1");
    let mut config = with_findings(home.path(), &["vm1"]);
    config.findings = false;
    let hub = Daemon::start(config).await.expect("starts");
    let session = monitor.accept().await;
    let mut journal = Watcher::new(&hub);
    journal.until("vm1 1.0 attached").await;
    session.emit("SHUTDOWN", SHUTDOWN);
    session.close().await;
    journal.until("vm1 1.2 detached PeerClosed").await;
    let (_, vm) = get_json(home.path(), "/v1/vms/vm1").await;
    assert_eq!(vm["why"]["cause"], "guest-shutdown", "the state is known");
    hub.stop().await.expect("stops");
    assert_eq!(kinds(home.path()), [""; 0]);
}

/// A hub that was killed between a record and its finding records the finding at the next start; a hub that was killed
/// after it does not record it twice.
#[tokio::test]
async fn finding_is_recorded_once_for_any_moment_of_a_kill() {
    let (_, all) = journal_with(usize::MAX);
    assert!(all.len() > 8, "too few findings: {}", all.len());
    // The hub was killed after `recorded` findings.
    for recorded in 0..=all.len() {
        let home = tempfile::tempdir().expect("a directory");
        let (records, found) = journal_with(recorded);
        write(home.path(), &records);
        let mut expected: Vec<_> = found.iter().map(identity).collect();
        expected.sort();
        for start in 0..2 {
            let hub = Daemon::start(with_findings(home.path(), &[])).await.expect("starts");
            hub.stop().await.expect("stops");
            let mut found = recorded_in(home.path());
            found.sort();
            assert_eq!(found, expected, "killed after {recorded}, start {start}");
        }
    }
}

type Identity = (String, String, Causes);

fn identity(finding: &Finding) -> Identity {
    (finding.vm.to_string(), finding.kind.to_owned(), finding.causes.clone())
}

/// Two VMs of two epochs each, with events that lead to findings.
fn records() -> Vec<(&'static str, i64, Body<'static>)> {
    let event = |name: &'static str, data: &'static str| Body::Event {
        name: name.into(),
        sent_name: None,
        timestamp: None,
        data: (!data.is_empty()).then(|| data.into()),
    };
    let attached = || {
        Body::Attached {
        snapshot: r#"{"greeting": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}}, "query-status": {"status": "running", "running": true}}"#.into(),
    }
    };
    let closed = |reason| Body::Detached { reason, detail: None, certain_until: None };
    let mut records = Vec::new();
    for vm in ["a", "b"] {
        let mut at = 1_767_323_045_000_000;
        for epoch in 0..2 {
            let story = [
                (0, attached()),
                (10, event("WATCHDOG", r#"{"action": "reset"}"#)),
                (11, event("STOP", "")),
                (12, event("RESUME", "")),
                (13, event("GUEST_PANICKED", r#"{"action": "pause"}"#)),
                (13, event("STOP", "")),
                (14, event("NEVER_HEARD", "")),
                (40, event("SHUTDOWN", r#"{"guest": false, "reason": "host-qmp-quit"}"#)),
                (41, closed(if epoch == 0 { DetachReason::HubStopped } else { DetachReason::PeerClosed })),
            ];
            for (seconds, body) in story {
                records.push((vm, at + seconds * 1_000_000, body));
            }
            at += 100_000_000;
        }
    }
    records
}

/// A VM, a time of receipt, and the body of a record.
type RecordParts = (String, i64, Body<'static>);

/// The journal of a hub that recorded the first `recorded` findings, each as early as possible, and all findings.
fn journal_with(recorded: usize) -> (Vec<RecordParts>, Vec<Finding>) {
    let records = records();
    let mut numbers: BTreeMap<&str, (u32, u64)> = BTreeMap::new();
    let (mut correlators, mut found, mut written) = (Correlators::new(), Vec::new(), Vec::new());
    for (index, (vm, received, body)) in records.iter().enumerate() {
        let (epoch, seq) = numbers.entry(vm).or_default();
        match body {
            Body::Attached { .. } => (*epoch, *seq) = (*epoch + 1, 0),
            _ => *seq += 1,
        }
        let record = Record {
            offset: None,
            vm: (*vm).into(),
            epoch: qmp_wire::Epoch(*epoch),
            seq: qmp_wire::Seq(*seq),
            received: UnixMicros(*received),
            body: body.clone(),
        };
        written.push(((*vm).to_owned(), *received, body.clone()));
        let before = found.len();
        correlators.record(&record, &mut found);
        // By its clock, the hub detects missing events.
        let next = records.get(index + 1).filter(|(next, ..)| next == vm);
        let by = next.map_or(received + 3_600_000_000, |(_, next, _)| *next);
        correlators.time_passed(UnixMicros(by), &mut found);
        let appended: Vec<_> =
            found[before..].iter().take(recorded.saturating_sub(before)).cloned().collect();
        for finding in appended {
            *seq += 1;
            let (received, body) = (finding.at, finding.body().into_owned());
            written.push((finding.vm.to_string(), received.0, body.clone()));
            // The observer reads its own findings, too: without them, records of the VM would be missing.
            let record = Record { seq: qmp_wire::Seq(*seq), received, body, ..record.clone() };
            correlators.record(&record, &mut found);
        }
    }
    (written, found)
}

/// A journal with these records.
fn write(home: &Path, records: &[RecordParts]) {
    let journal = Journal::open(&home.join("journal.db"), JournalOptions::default()).expect("opens");
    let mut batch = Batch::new();
    for (vm, received, body) in records {
        batch.push(&Draft { vm, received: UnixMicros(*received), body: body.clone() });
    }
    journal.appender().append(&mut batch).expect("there is room");
    journal.close().expect("closes");
}

fn findings_in(home: &Path) -> Vec<Record<'static>> {
    let reader = Reader::open(&home.join("journal.db")).expect("opens");
    let query = Query { kind: vec![RecordKind::Finding], ..Query::default() };
    reader.cursor(query, Offset(0)).next_batch(10_000).expect("readable")
}

fn kinds(home: &Path) -> Vec<String> {
    recorded_in(home).into_iter().map(|(_, kind, _)| kind).collect()
}

fn recorded_in(home: &Path) -> Vec<Identity> {
    let identity = |record: Record<'static>| match record.body {
        Body::Finding { finding, causes, .. } => (record.vm.into_owned(), finding.into_owned(), causes),
        _ => unreachable!("the query selects findings"),
    };
    findings_in(home).into_iter().map(identity).collect()
}
