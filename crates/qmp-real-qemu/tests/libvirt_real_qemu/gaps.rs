//! What libvirtd does not pass on: while it is away, while it has no monitor, and after it lost one.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use qmp_testing::{DomainXml, Libvirt, poll_until};
use qmp_wire::{Body, DetachReason, Record, UnixMicros};
use rustix::process::{Signal, kill_process};
use serde_json::json;

use crate::proxy::{Proxy, monitor_socket};
use crate::raw::RawMonitor;
use crate::watched_hub::{PlainEvent, WatchedHub, events, is_attached, is_detached, snapshot, why, words};

/// Restarts of libvirtd under load.
const RESTARTS: usize = 10;

/// The pause between two commands, each of which causes one event: 400 events a second.
const COMMAND_INTERVAL: Duration = Duration::from_micros(2500);

/// A thread that stops and resumes a domain until the test has had enough.
struct Load {
    raw: std::thread::JoinHandle<RawMonitor>,
    is_over: Arc<AtomicBool>,
}

impl Load {
    fn start(mut raw: RawMonitor) -> Self {
        let is_over = Arc::<AtomicBool>::default();
        let over = Arc::clone(&is_over);
        let raw = std::thread::spawn(move || {
            let mut next = Instant::now();
            while !over.load(Ordering::Relaxed) {
                for command in ["stop", "cont"] {
                    raw.send(command, &json!({}));
                    next += COMMAND_INTERVAL;
                    // The test needs this rate; the pause waits for no condition.
                    std::thread::sleep(next.saturating_duration_since(Instant::now()));
                }
            }
            raw
        });
        Self { raw, is_over }
    }

    fn end(self) -> RawMonitor {
        self.is_over.store(true, Ordering::Relaxed);
        self.raw.join().expect("no panic")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_under_load_leave_whole_epochs_and_true_gaps() {
    let Some(mut libvirt) = Libvirt::start(&DomainXml::with_raw_monitor()) else { return };
    let mut hub = WatchedHub::start(&libvirt).await;
    libvirt.virsh(&["start", "vm1"]);
    let mut records = hub.until(is_attached).await;
    let load = Load::start(RawMonitor::connect(&libvirt));
    let mut ends = Vec::new();
    for round in 0..RESTARTS {
        // A hundred events within the epoch.
        for _ in 0..100 {
            records.extend(hub.until(|record| matches!(record.body, Body::Event { .. })).await);
        }
        libvirt.stop_daemon(if round % 2 == 0 { Signal::TERM } else { Signal::KILL });
        ends.push(now());
        records.extend(hub.until(is_detached).await);
        libvirt.start_daemon();
        records.extend(hub.until(is_attached).await);
    }
    let mut raw = load.end();
    // libvirtd 9.0 reports a domain that it destroys with such a backlog of events as not running.
    raw.send("system_powerdown", &json!({}));
    records.extend(hub.until(|record| words(record).is_some_and(|words| words == "POWERDOWN")).await);
    libvirt.virsh(&["destroy", "vm1"]);
    records.extend(hub.until(is_detached).await);
    let sent = raw.end();
    let epochs = epochs(&records);
    assert_eq!(epochs.len(), RESTARTS + 1);
    // The raw monitor was connected after the first events of the run.
    let mut behind = 0;
    for (number, epoch) in epochs.iter().enumerate() {
        let found = events(epoch);
        let begin = if number == 0 { found.iter().position(|event| *event == sent[0]) } else { Some(0) };
        let found = &found[begin.expect("the first event")..];
        let begin =
            behind + sent[behind..].iter().position(|event| *event == found[0]).expect("an event of QEMU");
        assert_eq!(found, &sent[begin..begin + found.len()], "epoch {number}");
        if number > 0 {
            check_gap(epochs[number - 1], epoch, &sent[behind..begin], ends[number - 1]);
        }
        behind = begin + found.len();
    }
    assert_eq!(behind, sent.len());
    hub.hub.stop().await.expect("stops");
}

fn now() -> UnixMicros {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    UnixMicros(i64::try_from(since.as_micros()).expect("before 2262"))
}

/// The records of each epoch.
fn epochs<'r>(records: &'r [Record<'static>]) -> Vec<&'r [Record<'static>]> {
    let begins: Vec<usize> = (0..records.len()).filter(|place| is_attached(&records[*place])).collect();
    let ends = begins[1..].iter().copied().chain([records.len()]);
    begins.iter().zip(ends).map(|(begin, end)| &records[*begin..end]).collect()
}

/// The gap between two epochs has its reason and its true length: it begins behind the last record, at most 2 s (which libvirtd may
/// take to pass an event on) before the end of libvirtd, and the events that are missing happened before it ends.
fn check_gap(
    before: &[Record<'_>],
    after: &[Record<'_>],
    missing: &[PlainEvent],
    libvirtd_ended: UnixMicros,
) {
    let closing = before.iter().position(is_detached).expect("a closed epoch");
    let Body::Detached { reason, certain_until, .. } = &before[closing].body else { unreachable!() };
    assert_eq!(*reason, DetachReason::SourceLost);
    assert_eq!(snapshot(&after[0])["libvirt"]["same_process"], true);
    let gap = certain_until.expect("a moment")..after[0].received;
    assert!(gap.start >= before[closing - 1].received && gap.start <= libvirtd_ended, "{gap:?}");
    let (_, seconds, micros, _) = missing.last().expect("the load went on");
    let last_missing = UnixMicros(seconds * 1_000_000 + i64::from(*micros));
    assert!(last_missing < gap.end, "missing at {last_missing:?}, outside of {gap:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn monitor_in_use_opens_no_epoch() {
    let Some(mut libvirt) = Libvirt::start(&DomainXml::default()) else { return };
    libvirt.virsh(&["start", "vm1"]);
    let mut hub = WatchedHub::start(&libvirt).await;
    hub.until(is_attached).await;
    libvirt.stop_daemon(Signal::KILL);
    hub.until(is_detached).await;
    let mut holder = UnixStream::connect(monitor_socket(&libvirt)).expect("QEMU listens");
    holder.read_exact(&mut [0; 8]).expect("QEMU greets");
    libvirt.start_daemon();
    poll_until("the status", async || {
        hub.error("vm1").is_some_and(|error| error.contains("another client may hold it")).then_some(())
    })
    .await;
    drop(holder);
    let records = hub.until(is_attached).await;
    let states: Vec<_> = records.iter().filter_map(words).collect();
    assert_eq!(states, ["attached found -: running booted"]);
    libvirt.virsh(&["suspend", "vm1"]);
    hub.until(|record| words(record).is_some_and(|words| words == "STOP")).await;
    hub.hub.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_that_libvirt_cannot_parse_closes_the_epoch() {
    let Some(mut libvirt) = Libvirt::start(&DomainXml::default()) else { return };
    libvirt.virsh(&["start", "vm1"]);
    let mut hub = WatchedHub::start(&libvirt).await;
    hub.until(is_attached).await;
    libvirt.stop_daemon(Signal::KILL);
    let proxy = Proxy::insert(&libvirt);
    let proxied = std::thread::spawn(move || proxy.accept());
    libvirt.start_daemon();
    hub.until(is_attached).await;
    proxied.join().expect("libvirtd connects").inject(b"{\"event\": no JSON}\r\n");
    let records = hub.until(is_detached).await;
    let words: Vec<_> = records.iter().filter_map(words).collect();
    let lost = "detached ProtocolError: libvirt can no longer read the VM's monitor; restart libvirtd";
    assert_eq!(words, [lost]);
    assert!(hub.error("vm1").is_some_and(|error| error.contains("restart libvirtd")));

    libvirt.stop_daemon(Signal::KILL);
    std::fs::remove_file(monitor_socket(&libvirt)).expect("removes");
    let socket = find_renamed(&libvirt);
    std::fs::rename(&socket, socket.with_file_name("monitor.sock")).expect("renames");
    libvirt.start_daemon();
    let records = hub.until(is_attached).await;
    assert!(records.iter().filter_map(why).next().is_none(), "{records:?}");
    hub.hub.stop().await.expect("stops");
}

fn find_renamed(libvirt: &Libvirt) -> std::path::PathBuf {
    let domains = std::fs::read_dir(libvirt.path("config/libvirt/qemu/lib")).expect("a directory");
    let mut sockets = domains.map(|domain| domain.expect("reads").path().join("monitor.qemu"));
    sockets.find(|socket| socket.exists()).expect("a monitor")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn end_of_qemu_is_recorded_while_libvirtd_is_away() {
    let Some(mut libvirt) = Libvirt::start(&DomainXml::default()) else { return };
    libvirt.virsh(&["start", "vm1"]);
    let mut hub = WatchedHub::start(&libvirt).await;
    hub.until(is_attached).await;
    libvirt.stop_daemon(Signal::KILL);
    hub.until(is_detached).await;
    kill_process(libvirt.qemu(), Signal::KILL).expect("permitted");
    let records = hub.until(|record| why(record).is_some_and(|why| why.starts_with("why-ended"))).await;
    let ended = why(&records[records.len() - 1]).expect("a finding");
    assert!(ended.contains("SIGKILL"), "{ended}");
    libvirt.start_daemon();
    poll_until("the domain's state", async || {
        (libvirt.virsh(&["domstate", "vm1", "--reason"]) == "shut off (crashed)").then_some(())
    })
    .await;
    libvirt.virsh(&["start", "vm1"]);
    let records = hub.until(is_attached).await;
    assert_eq!(records.iter().filter(|record| is_detached(record)).count(), 0);
    hub.hub.stop().await.expect("stops");
}
