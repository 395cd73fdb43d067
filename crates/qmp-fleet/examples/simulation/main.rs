//! A deterministic simulation of fleets: how many messages flow, what a power cut of a site causes, how long a site needs to
//! catch up, and how many bytes are kept.
//!
//! `cargo run --release -p qmp-fleet --example simulation` prints the tables of docs/fleet.md. The same program prints the same numbers on every machine: time is counted in seconds, and the
//! random numbers have a fixed seed.
//!
//! The sizes are those of real messages, encoded by this crate. The rates are assumptions, which the first lines print:
//! replace them in [`Assumptions`] by those of a fleet, which `qmp stats --by vm` shows.

mod fleet;
mod message_size;
mod random;
mod report;

use fleet::Fleet;
use report::{assumptions, outages, rates};

/// What is assumed about each VM, host and server.
#[derive(Clone, Copy, Debug)]
pub struct Assumptions {
    /// VMs of a host.
    pub vms_per_host: u64,
    /// Records of a VM that runs undisturbed, an hour.
    pub records_per_vm_hour: u64,
    /// Records of a VM that starts: those of its firmware and its guest's drivers.
    pub records_per_vm_start: u64,
    /// Within so many seconds all hosts of a site are up again after a power cut.
    pub boot_seconds: u64,
    /// The duration of a power cut, of a cut link and of a stopped fleet hub, in seconds.
    pub outage_seconds: u64,
    /// Messages that one stream acknowledges a second.
    pub stream_per_second: u64,
    /// Messages that one host publishes a second.
    pub host_per_second: u64,
    /// Records that a fleet hub commits a second.
    pub fleet_hub_per_second: u64,
    /// Copies of a stream in a cluster.
    pub replicas: u64,
    /// How long a stream keeps a message, in days.
    pub kept_days: u64,
}

/// The servers and the fleet hub are assumed at about a third of what docs/performance.md measures on two cores.
const ASSUMED: Assumptions = Assumptions {
    vms_per_host: 10,
    records_per_vm_hour: 6,
    records_per_vm_start: 20,
    boot_seconds: 300,
    outage_seconds: 3_600,
    stream_per_second: 10_000,
    host_per_second: 2_000,
    fleet_hub_per_second: 30_000,
    replicas: 3,
    kept_days: 7,
};

/// Fleets: sites, and hosts of each site.
const FLEETS: [(usize, usize); 3] = [(1, 10), (4, 250), (100, 1_000)];

fn main() {
    println!("{}", tables());
}

/// The tables of all fleets.
fn tables() -> String {
    let mut parts = vec![assumptions(&ASSUMED), rates(&ASSUMED, &FLEETS)];
    parts.extend(FLEETS.map(|(sites, hosts)| outages(&Fleet::new(ASSUMED, sites, hosts))));
    parts.join("\n").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn manual_has_the_tables_of_the_simulation() {
        let manual = include_str!("../../../../docs/fleet.md");
        assert!(manual.contains(&super::tables()), "paste the output of the simulation into docs/fleet.md");
    }
}
