//! The tables, in Markdown.

use std::fmt::{Arguments, Write as _};

use crate::Assumptions;
use crate::fleet::{Figures, Fleet, Outage};
use crate::message_size::{sent_bytes, stored_bytes};

const OUTAGES: [(Outage, &str); 6] = [
    (Outage::None, "none"),
    (Outage::PowerOfOneSite, "one site without power"),
    (Outage::PowerOfAllSites, "all sites without power at once"),
    (Outage::StreamOfOneSite, "the servers of one site"),
    (Outage::LinkOfOneSite, "the link of one site"),
    (Outage::FleetHub, "the fleet hub"),
];

/// What is assumed.
pub(crate) fn assumptions(assumed: &Assumptions) -> String {
    let mut text = String::new();
    line(&mut text, format_args!("| assumed | |"));
    line(&mut text, format_args!("|---|---|"));
    line(&mut text, format_args!("| VMs of a host | {} |", assumed.vms_per_host));
    line(&mut text, format_args!("| records of a VM, an hour | {} |", assumed.records_per_vm_hour));
    line(&mut text, format_args!("| records of a VM's start | {} |", assumed.records_per_vm_start));
    line(&mut text, format_args!("| a site boots within | {} |", time(assumed.boot_seconds)));
    line(&mut text, format_args!("| duration of an outage | {} |", time(assumed.outage_seconds)));
    line(
        &mut text,
        format_args!("| messages that a stream takes | {} /s |", grouped(assumed.stream_per_second)),
    );
    line(
        &mut text,
        format_args!("| messages that a host publishes | {} /s |", grouped(assumed.host_per_second)),
    );
    line(
        &mut text,
        format_args!("| records that the fleet hub commits | {} /s |", grouped(assumed.fleet_hub_per_second)),
    );
    line(&mut text, format_args!("| replicas, days kept | {}, {} |", assumed.replicas, assumed.kept_days));
    line(
        &mut text,
        format_args!("| bytes of a message, sent and stored | {}, {} |", sent_bytes(), stored_bytes()),
    );
    text
}

/// Rates and bytes, which need no simulation.
pub(crate) fn rates(assumed: &Assumptions, fleets: &[(usize, usize)]) -> String {
    let mut text = String::new();
    line(
        &mut text,
        format_args!(
            "| hosts | VMs | records a second | sent a second | stored a day | kept by the streams |"
        ),
    );
    line(&mut text, format_args!("|---:|---:|---:|---:|---:|---:|"));
    for (sites, hosts) in fleets {
        let hosts = (sites * hosts) as u64;
        let vms = hosts * assumed.vms_per_host;
        let an_hour = vms * assumed.records_per_vm_hour;
        let a_day = an_hour * 24 * stored_bytes();
        let row = format!(
            "| {} | {} | {} | {} | {} | {} |",
            grouped(hosts),
            grouped(vms),
            tenths(an_hour, 3_600),
            bytes(an_hour * sent_bytes() / 3_600),
            bytes(a_day),
            bytes(a_day * assumed.kept_days * assumed.replicas),
        );
        line(&mut text, format_args!("{row}"));
    }
    text
}

/// What each outage causes.
pub(crate) fn outages(fleet: &Fleet) -> String {
    let mut text = String::new();
    let (sites, hosts) = (fleet.sites as u64, fleet.hosts as u64);
    line(&mut text, format_args!("{} hosts at {}:", grouped(sites * hosts), count(sites, "site")));
    line(&mut text, format_args!(""));
    line(
        &mut text,
        format_args!(
            "| outage | most records a second: a site, the fleet | most waiting: a host, the streams | caught up after |"
        ),
    );
    line(&mut text, format_args!("|---|---:|---:|---:|"));
    for (outage, name) in OUTAGES {
        let Figures { site_peak, fleet_peak, host_backlog, stream_backlog, catch_up } = fleet.run(outage);
        let row = format!(
            "| {name} | {}, {} | {}, {} | {} |",
            grouped(site_peak),
            grouped(fleet_peak),
            grouped(host_backlog),
            grouped(stream_backlog),
            time(catch_up),
        );
        line(&mut text, format_args!("{row}"));
    }
    text
}

fn line(text: &mut String, line: Arguments<'_>) {
    let _ = writeln!(text, "{line}");
}

fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{} {noun}s", grouped(number)) }
}

/// With a comma before each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A quotient with one decimal.
fn tenths(number: u64, divisor: u64) -> String {
    let tenths = number * 10 / divisor;
    format!("{}.{}", grouped(tenths / 10), tenths % 10)
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", tenths(bytes, 1_000)),
        1_000_000..1_000_000_000 => format!("{} MB", tenths(bytes, 1_000_000)),
        1_000_000_000..1_000_000_000_000 => format!("{} GB", tenths(bytes, 1_000_000_000)),
        _ => format!("{} TB", tenths(bytes, 1_000_000_000_000)),
    }
}

fn time(seconds: u64) -> String {
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, 0, 0) => format!("{hours} h"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}
