//! The hub is no burden for libvirtd, whatever happens to the hub.

use std::fs;
use std::time::{Duration, Instant};

use qmp_testing::{DomainXml, Libvirt, poll_until, wait_for};
use qmp_wire::{Body, DetachReason};
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::follower_process::{follower_process, said};
use crate::raw::RawMonitor;
use crate::watched_hub::{WatchedHub, is_attached};

/// Events while the journal stalls.
const STORM: usize = 20_000;

/// How much libvirtd's memory may grow meanwhile, in KiB.
const GROWTH_MAX_KIB: u64 = 5 << 10;

/// When libvirtd has dropped a client that hangs: it pings five times, every 5 s.
const DROPPED_WITHIN: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_journal_costs_libvirtd_nothing() {
    let Some(libvirt) = Libvirt::start(&DomainXml::with_raw_monitor()) else { return };
    let mut hub = WatchedHub::start_with(&[&libvirt], |config| {
        config.journal_options.queue_max_bytes = 64 << 10;
    })
    .await;
    libvirt.virsh(&["start", "vm1"]);
    hub.until(is_attached).await;
    let mut raw = RawMonitor::connect(&libvirt);
    let before = memory_kib(libvirt.daemon());
    let vm = hub.hub.registry().vms().get("vm1").expect("a VM");

    let stalled = Connection::open(libvirt.path("journal.db")).expect("opens");
    stalled.execute_batch("BEGIN IMMEDIATE").expect("no other writer");
    let storm = std::thread::spawn(move || {
        for _ in 0..STORM / 2 {
            raw.send("stop", &json!({}));
            raw.send("cont", &json!({}));
        }
        raw.wait_for_replies(STORM);
        raw
    });
    let mut longest = Duration::ZERO;
    while !storm.is_finished() {
        let asked = Instant::now();
        libvirt.virsh(&["list"]);
        longest = longest.max(asked.elapsed());
    }
    let _raw = storm.join().expect("no panic");
    poll_until("all events are read", async || {
        let read: u64 = vm.counts.events().map(|(_, count)| count).sum();
        let storm = STORM as u64;
        (read >= storm && vm.counts.events_discarded.get() > storm / 2).then_some(())
    })
    .await;
    let after = memory_kib(libvirt.daemon());
    assert!(after < before + GROWTH_MAX_KIB, "{before} KiB before, {after} KiB after");
    assert!(longest < Duration::from_secs(1), "virsh list took {longest:?}");

    stalled.execute_batch("ROLLBACK").expect("ends");
    let overrun = |body: &Body<'_>| matches!(body, Body::Detached { reason: DetachReason::Overrun, .. });
    hub.until(|record| overrun(&record.body)).await;
    hub.until(is_attached).await;
    hub.hub.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hub_leaves_no_trace_in_libvirt() {
    let Some(libvirt) = Libvirt::start(&DomainXml::default()) else { return };
    let run = || {
        libvirt.virsh(&["start", "vm1"]);
        libvirt.virsh(&["suspend", "vm1"]);
        libvirt.virsh(&["resume", "vm1"]);
        let info = libvirt.virsh(&["dominfo", "vm1"]);
        libvirt.virsh(&["destroy", "vm1"]);
        info.lines()
            .filter(|line| !line.starts_with("Id:") && !line.starts_with("CPU time:"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let domain_log = || fs::read_to_string(libvirt.path("cache/libvirt/qemu/log/vm1.log")).expect("reads");
    let info = run();
    // The log of a domain begins again with each run.
    let (log, lines) = (libvirt.log(), domain_log().lines().count());
    let mut hub = WatchedHub::start(&libvirt).await;
    assert_eq!(run(), info);
    hub.until(|record| matches!(record.body, Body::Detached { .. })).await;
    hub.hub.stop().await.expect("stops");
    // A call after the end of the hub's connection has its reply after libvirtd has handled that end.
    libvirt.virsh(&["list"]);
    assert_eq!(libvirt.log(), log, "libvirtd's log");
    assert_eq!(domain_log().lines().count(), lines, "{}", domain_log());
    assert!(!domain_log().contains("tainted"), "{}", domain_log());
}

#[test]
fn hub_that_is_stopped_is_dropped() {
    let Some(libvirt) = Libvirt::start_empty() else { return };
    let daemon = libvirt.daemon();
    let clients = || sockets(daemon);
    let says = libvirt.path("items");
    let mut child = follower_process(&libvirt.socket(), "qemu:///session", &says, false);
    wait_for("its registration", || said(&says, "listed"));
    let (with_child, stopped) = (clients(), Instant::now());
    kill_process(Pid::from_child(&child), Signal::STOP).expect("permitted");
    wait_for("libvirtd has dropped the client", || (clients() < with_child).then_some(()));
    assert!(stopped.elapsed() > Duration::from_secs(20), "that was another client");
    assert!(stopped.elapsed() < DROPPED_WITHIN, "{:?}", stopped.elapsed());
    kill_process(Pid::from_child(&child), Signal::KILL).expect("permitted");
    child.wait().expect("ends");
}

/// Number of sockets that a process has open.
fn sockets(process: Pid) -> usize {
    let files = fs::read_dir(format!("/proc/{}/fd", process.as_raw_nonzero())).expect("a process");
    let targets = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

/// Resident memory of a process, in KiB.
fn memory_kib(process: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
