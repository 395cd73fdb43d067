//! The events of 1,000 VMs through one connection of libvirt, beside the direct path with 1,000 monitors.
//!
//! `cargo bench -p qmp-daemon --bench libvirt -- [VMS]`. A burst with one event for each VM in turn is emitted; the clock runs until
//! the hub has committed the last of them. The daemon is a fake one (frames only): a real libvirtd passes on some 1,300 events
//! a second. Both sides write as fast as the hub reads: the monitors one event at a time, the daemon many in one write.

use std::path::Path;
use std::time::Instant;

use qmp_client::Address;
use qmp_daemon::{Daemon, DaemonConfig};
use qmp_hub::discovery::{DiscoveryRule, Source};
use qmp_testing::{LibvirtDaemon, LibvirtDomain, LibvirtSocket};

mod load;
use load::{Part, order, report, run, socket};

/// Events in one burst.
const BURST: usize = 100_000;
const ROUNDS: usize = 5;

/// Data of typical size, as libvirt prints it.
const DATA: &str = r#"{"offset":1795856600000001,"qom-path":"/machine/unattached/device[17]/rtc"}"#;

fn main() {
    load::raise_open_files();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["monitors", home, vms] => run(load::vms::play(Path::new(home), number(vms))),
        ["libvirt", home, vms] => run(libvirt(Path::new(home), number(vms))),
        ["hub", home, vms, how] => run(hub(Path::new(home), number(vms), how)),
        [] => compare(1_000),
        [vms] => compare(number(vms)),
        _ => panic!("usage: libvirt [NUMBER OF VMS]"),
    }
}

fn compare(vms: usize) {
    println!("{vms} VMs, bursts of {BURST} events, median of {ROUNDS}");
    for how in ["monitors", "libvirt"] {
        let home = tempfile::tempdir().expect("a directory");
        let (path, vms) = (home.path().to_str().expect("UTF-8"), vms.to_string());
        let mut source = Part::start(&[how, path, &vms]);
        let mut hub = Part::start(&["hub", path, &vms, how]);
        let mut rounds: Vec<(f64, f64)> = (0..ROUNDS).map(|_| round(&mut source, &mut hub)).collect();
        rounds.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (seconds, processor_seconds) = rounds[ROUNDS / 2];
        let events = BURST as f64;
        println!(
            "{how:<12}{:>9.0} events/s {:>7.2} µs of the hub's processor time an event",
            events / seconds,
            processor_seconds / events * 1e6
        );
    }
}

/// Seconds and the hub's processor seconds of one burst.
fn round(source: &mut Part, hub: &mut Part) -> (f64, f64) {
    source.send("prepare");
    assert_eq!(source.receive(), "prepared");
    let (start, before) = (Instant::now(), hub.processor_seconds());
    hub.send(&BURST.to_string());
    // As fast as the hub reads.
    source.send(&format!("tick {BURST} 1000000000"));
    assert_eq!(hub.receive(), "all");
    let result = (start.elapsed().as_secs_f64(), hub.processor_seconds() - before);
    assert_eq!(source.receive(), "done");
    result
}

/// A daemon with that many domains. Orders: `prepare` encodes a burst; `tick` sends it.
async fn libvirt(home: &Path, vms: usize) {
    let domain = |vm: usize| {
        let mut uuid = [0; 16];
        uuid[..8].copy_from_slice(&(vm as u64).to_be_bytes());
        LibvirtDomain::running(&format!("vm{vm}"), uuid, i32::try_from(vm).expect("few"))
    };
    let daemon =
        LibvirtSocket::bind(&home.join("libvirt-sock"), LibvirtDaemon::new((0..vms).map(domain).collect()));
    report("ready");
    let mut burst = Vec::new();
    while let Some(order) = tokio::task::spawn_blocking(order).await.expect("no panic") {
        if order == "prepare" {
            let mut encoder = LibvirtDaemon::new((0..vms).map(domain).collect());
            for _ in 0..BURST / vms {
                (0..vms).for_each(|vm| encoder.emit(&format!("vm{vm}"), "RTC_CHANGE", Some(DATA)));
            }
            burst = encoder.take_output();
            report("prepared");
        } else {
            daemon.with(|daemon| daemon.send(&burst));
            report("done");
        }
    }
}

/// A hub that follows all VMs. An order is the number of records to wait for.
async fn hub(home: &Path, vms: usize, how: &str) {
    let mut config = DaemonConfig::new(home.join("journal.db"));
    if how == "libvirt" {
        let daemon = format!("unix:{}", home.join("libvirt-sock").display());
        config.discover.push(DiscoveryRule::new(Source::Libvirt(daemon.parse().expect("a source"))));
    } else {
        for vm in 0..vms {
            let name = format!("vm{vm}").parse().expect("a name");
            config.attach.push((name, Address::Unix { path: socket(home, vm, "sock"), listen: false }));
        }
    }
    let hub = Daemon::start(config).await.expect("starts");
    let mut head = hub.journal().watch_head();
    let mut expected = vms as u64;
    head.wait_for(|head| head.0 >= expected).await.expect("an open journal");
    report("ready");
    while let Some(order) = tokio::task::spawn_blocking(order).await.expect("no panic") {
        expected = head.borrow().0 + number(&order) as u64;
        head.wait_for(|head| head.0 >= expected).await.expect("an open journal");
        report("all");
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}
