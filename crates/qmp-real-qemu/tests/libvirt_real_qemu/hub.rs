//! A hub that follows a real libvirtd, beside a raw second monitor of the domain.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;

use qmp_daemon::{Daemon, DaemonConfig};
use qmp_hub::discovery::{DiscoveryRule, Source};
use qmp_journal::{Cursor, Query};
use qmp_real_qemu::Libvirt;
use qmp_wire::{Body, DetachReason, Offset, Record};
use rustix::process::{Signal, kill_process};
use serde_json::Value;

/// A hub with one rule.
struct Hub {
    hub: Daemon,
    cursor: Cursor,
    ready: Vec<Record<'static>>,
}

impl Hub {
    async fn start(libvirt: &Libvirt) -> Self {
        let mut config = DaemonConfig::new(libvirt.path("journal.db"));
        let daemon = format!("unix:{}", libvirt.socket().display());
        config.discover = vec![DiscoveryRule::new(Source::Libvirt(daemon.parse().expect("a source")))];
        let hub = Daemon::start(config).await.expect("starts");
        let cursor = hub.journal().reader().cursor(Query::default(), Offset(0));
        Self { hub, cursor, ready: Vec::new() }
    }

    /// Reads up to the record that `is_last` accepts.
    async fn until(&mut self, is_last: impl Fn(&Body<'_>) -> bool) -> Vec<Record<'static>> {
        let mut taken = Vec::new();
        loop {
            while !self.ready.is_empty() {
                taken.push(self.ready.remove(0));
                if taken.last().is_some_and(|record| is_last(&record.body)) {
                    return taken;
                }
            }
            self.ready = self.cursor.next_batch(1000).expect("readable").into_iter().collect();
            if self.ready.is_empty() {
                self.cursor.wait().await.expect("an open journal");
            }
        }
    }
}

fn is_attached(body: &Body<'_>) -> bool {
    matches!(body, Body::Attached { .. })
}

fn is_detached(body: &Body<'_>) -> bool {
    matches!(body, Body::Detached { .. })
}

/// The events among records: name, time and data.
fn events(records: &[Record<'_>]) -> Vec<(String, i64, u32, Value)> {
    let event = |record: &Record<'_>| match &record.body {
        Body::Event { name, timestamp, data, .. } => {
            let data = data.as_deref().map(|data| serde_json::from_str(data).expect("JSON"));
            let at = timestamp.expect("a time");
            Some((name.to_string(), at.seconds(), at.microseconds(), data.unwrap_or_default()))
        }
        _ => None,
    };
    records.iter().filter_map(event).collect()
}

/// The events in lines of QMP.
fn raw_events(lines: &[String]) -> Vec<(String, i64, u32, Value)> {
    let event = |line: &String| {
        let message: Value = serde_json::from_str(line).expect("JSON");
        let name = message["event"].as_str()?.to_owned();
        let at = |member: &str| message["timestamp"][member].as_i64().expect("a number");
        let micros = u32::try_from(at("microseconds")).expect("microseconds");
        Some((name, at("seconds"), micros, message["data"].clone()))
    };
    lines.iter().filter_map(event).collect()
}

/// What QEMU says on its second monitor until it ends.
fn read_raw(libvirt: &Libvirt) -> (UnixStream, std::thread::JoinHandle<Vec<String>>) {
    let mut stream = UnixStream::connect(libvirt.path("raw.sock")).expect("a monitor");
    stream.write_all(b"{\"execute\": \"qmp_capabilities\"}\n").expect("writes");
    let reader = BufReader::new(stream.try_clone().expect("clones"));
    let lines = std::thread::spawn(move || reader.lines().map_while(Result::ok).collect());
    (stream, lines)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_a_run_equal_those_of_a_raw_monitor() {
    let Some(libvirt) = Libvirt::start(true) else { return };
    let mut hub = Hub::start(&libvirt).await;
    libvirt.virsh(&["start", "vm1", "--paused"]);
    hub.until(is_attached).await;
    let (mut raw, lines) = read_raw(&libvirt);
    libvirt.virsh(&["resume", "vm1"]);
    for command in ["stop", "cont", "system_reset", "stop", "rtc-reset-reinjection", "cont", "inject-nmi"] {
        raw.write_all(format!("{{\"execute\": \"{command}\"}}\n").as_bytes()).expect("writes");
    }
    libvirt.virsh(&["suspend", "vm1"]);
    libvirt.virsh(&["destroy", "vm1"]);
    let records = hub.until(is_detached).await;
    let raw = raw_events(&lines.join().expect("reads"));
    assert!(raw.len() >= 8, "{raw:?}");
    assert_eq!(events(&records), raw);
    let Some(Record { body: Body::Detached { reason, detail, .. }, .. }) = records.last() else { panic!() };
    assert_eq!((reason, detail.as_deref()), (&DetachReason::PeerClosed, Some("libvirt: destroyed")));

    let ended =
        hub.until(|body| matches!(body, Body::Finding { finding, .. } if finding == "why-ended")).await;
    let Some(Record { body: Body::Finding { summary, .. }, .. }) = ended.last() else { panic!() };
    assert!(summary.contains("destroyed through libvirt"), "{summary}");
    hub.hub.stop().await.expect("stops");
    let log = std::fs::read_to_string(libvirt.path("libvirtd.log")).expect("reads");
    assert!(!log.contains("End of file"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_of_libvirtd_is_a_gap_with_its_reason() {
    let Some(mut libvirt) = Libvirt::start(false) else { return };
    libvirt.virsh(&["start", "vm1"]);
    let mut hub = Hub::start(&libvirt).await;
    hub.until(is_attached).await;
    for signal in [Signal::TERM, Signal::KILL] {
        libvirt.stop_daemon(signal);
        let records = hub.until(is_detached).await;
        let Some(Record { body: Body::Detached { reason, .. }, .. }) = records.last() else { panic!() };
        assert_eq!(*reason, DetachReason::SourceLost);
        libvirt.start_daemon();
        let records = hub.until(is_attached).await;
        let Some(Record { body: Body::Attached { snapshot }, .. }) = records.last() else { panic!() };
        let snapshot: Value = serde_json::from_str(snapshot).expect("JSON");
        assert_eq!(snapshot["libvirt"]["same_process"], true, "{snapshot}");
        assert_eq!(snapshot["libvirt"]["state"], "running", "{snapshot}");
        assert!(
            !records.iter().any(
                |record| matches!(&record.body, Body::Finding { finding, .. } if finding == "why-ended")
            )
        );
    }
    libvirt.virsh(&["suspend", "vm1"]);
    hub.until(|body| matches!(body, Body::Event { name, .. } if name == "STOP")).await;
    kill_process(libvirt.qemu(), Signal::KILL).expect("permitted");
    let records = hub.until(is_detached).await;
    let Some(Record { body: Body::Detached { detail, .. }, .. }) = records.last() else { panic!() };
    assert_eq!(detail.as_deref(), Some("libvirt: failed"));
    hub.hub.stop().await.expect("stops");
}
