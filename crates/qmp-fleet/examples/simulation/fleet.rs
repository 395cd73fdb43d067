//! A fleet in steps of one second: hosts with records that wait, a stream of each site, and a fleet hub that reads all streams.

use crate::Assumptions;
use crate::random::Random;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outage {
    /// Nothing.
    None,
    /// A site has no power, and boots.
    PowerOfOneSite,
    /// Every site has no power at the same time, and boots.
    PowerOfAllSites,
    /// The hosts of a site do not reach their stream, because its servers are down.
    StreamOfOneSite,
    /// The fleet hub does not reach one site.
    LinkOfOneSite,
    /// The fleet hub is down.
    FleetHub,
}

/// The figures of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// The most records of a site in one second.
    pub site_peak: u64,
    /// The most records of the fleet in one second.
    pub fleet_peak: u64,
    /// The most records that waited on one host.
    pub host_backlog: u64,
    /// The most records that waited in the streams for the fleet hub.
    pub stream_backlog: u64,
    /// Seconds from the end of the outage until no record waited longer than a second.
    pub catch_up: u64,
}

/// The fleet and what is assumed about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fleet {
    pub assumed: Assumptions,
    pub sites: usize,
    pub hosts: usize,
}

/// Undisturbed seconds before an outage, and the longest run after it.
const BEFORE: u64 = 60;
const AFTER_MAX: u64 = 86_400;

#[derive(Clone, Debug)]
struct Site {
    /// Records that wait on each host.
    waiting: Vec<u64>,
    /// The hosts with such records.
    busy: Vec<usize>,
    /// Records in the stream that the fleet hub has not committed.
    stream: u64,
    random: Random,
}

impl Fleet {
    pub(crate) fn new(assumed: Assumptions, sites: usize, hosts: usize) -> Self {
        Self { assumed, sites, hosts }
    }

    /// Simulates an outage; the first site has it, if only one does.
    pub(crate) fn run(&self, outage: Outage) -> Figures {
        let mut sites: Vec<Site> = (0..self.sites).map(|index| Site::new(index, self.hosts)).collect();
        let mut figures = Figures::default();
        let (from, to) = (BEFORE, BEFORE + self.assumed.outage_seconds);
        for second in 0..to + AFTER_MAX {
            let is_outage = outage != Outage::None && (from..to).contains(&second);
            let mut in_fleet = 0;
            for (index, site) in sites.iter_mut().enumerate() {
                let is_hit = |of_one| is_outage && (outage == of_one && index == 0);
                let is_dark =
                    is_hit(Outage::PowerOfOneSite) || (is_outage && outage == Outage::PowerOfAllSites);
                let is_booting = second.checked_sub(to).filter(|_| is_powered_again(outage, index));
                let records = if is_dark { 0 } else { self.arrive(site, is_booting) };
                figures.site_peak = figures.site_peak.max(records);
                in_fleet += records;
                figures.host_backlog = figures.host_backlog.max(site.most_waiting());
                if !is_hit(Outage::StreamOfOneSite) {
                    self.publish(site);
                }
            }
            figures.fleet_peak = figures.fleet_peak.max(in_fleet);
            let reached = if is_outage && outage == Outage::LinkOfOneSite { 1 } else { 0 };
            let backlog = sites.iter().map(|site| site.stream).sum();
            figures.stream_backlog = figures.stream_backlog.max(backlog);
            if !(is_outage && outage == Outage::FleetHub) {
                self.commit(&mut sites[reached..]);
            }
            let is_empty = sites.iter().all(|site| site.stream == 0 && site.busy.is_empty());
            let booted = if matches!(outage, Outage::PowerOfOneSite | Outage::PowerOfAllSites) {
                to + self.assumed.boot_seconds
            } else {
                to
            };
            if second >= booted && is_empty {
                figures.catch_up = second - to;
                break;
            }
        }
        figures
    }

    /// Adds the records of one second; returns how many.
    fn arrive(&self, site: &mut Site, seconds_of_power: Option<u64>) -> u64 {
        let Assumptions { vms_per_host, records_per_vm_hour, records_per_vm_start, boot_seconds, .. } =
            self.assumed;
        let hosts = site.waiting.len() as u64;
        let usual = site.random.events(hosts * vms_per_host * records_per_vm_hour, 3_600);
        for _ in 0..usual {
            let host = site.random.below(hosts);
            site.add(host, 1);
        }
        let booting = match seconds_of_power {
            // The hosts come up evenly, and the VMs of a host together: the end of the former epoch, the new one, and the
            // records of the start.
            Some(second) if second < boot_seconds => {
                let records = vms_per_host * (2 + records_per_vm_start);
                let (from, to) = (hosts * second / boot_seconds, hosts * (second + 1) / boot_seconds);
                (from..to).for_each(|host| site.add(host, records));
                (to - from) * records
            }
            _ => 0,
        };
        usual + booting
    }

    /// Moves records from the hosts to the stream: each host as fast as it can, within the rate of the stream.
    fn publish(&self, site: &mut Site) {
        let mut left = self.assumed.stream_per_second;
        let mut busy = std::mem::take(&mut site.busy);
        let mut share = left / (busy.len() as u64).max(1);
        share = share.clamp(1, self.assumed.host_per_second);
        // Another host begins each second, so that none waits longer than the others.
        if !busy.is_empty() {
            let turn = site.random.below(busy.len() as u64);
            busy.rotate_left(usize::try_from(turn).unwrap_or(0));
        }
        for host in busy {
            let moved = site.waiting[host].min(share).min(left);
            site.waiting[host] -= moved;
            site.stream += moved;
            left -= moved;
            if site.waiting[host] > 0 {
                site.busy.push(host);
            }
        }
    }

    /// Commits what the fleet hub reads in one second: each site the same share, and the rest where more waits.
    fn commit(&self, sites: &mut [Site]) {
        let mut left = self.assumed.fleet_hub_per_second;
        loop {
            let waiting = sites.iter().filter(|site| site.stream > 0).count() as u64;
            if waiting == 0 || left == 0 {
                return;
            }
            let share = (left / waiting).max(1);
            for site in sites.iter_mut() {
                let read = site.stream.min(share).min(left);
                site.stream -= read;
                left -= read;
            }
        }
    }
}

impl Site {
    fn new(index: usize, hosts: usize) -> Self {
        Self { waiting: vec![0; hosts], busy: Vec::new(), stream: 0, random: Random::new(index as u64) }
    }

    fn add(&mut self, host: u64, records: u64) {
        let host = usize::try_from(host).unwrap_or(0);
        if self.waiting[host] == 0 {
            self.busy.push(host);
        }
        self.waiting[host] += records;
    }

    fn most_waiting(&self) -> u64 {
        self.busy.iter().map(|host| self.waiting[*host]).max().unwrap_or(0)
    }
}

/// Whether a site boots after the outage.
fn is_powered_again(outage: Outage, index: usize) -> bool {
    outage == Outage::PowerOfAllSites || (outage == Outage::PowerOfOneSite && index == 0)
}
