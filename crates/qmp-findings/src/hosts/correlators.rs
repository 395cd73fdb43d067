//! The VMs of all hosts by their UUIDs, and what is concluded about them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use qmp_wire::{QualifiedName, Record, UnixMicros};

use crate::correlators::Correlators;
use crate::finding::{Finding, Id};
use crate::kinds::TWO_HOSTS;
use crate::limits::{HOST_VMS_MAX, VMS_OF_UUID_MAX};
use crate::members::assert_listed;

use super::evidence::{Evidence, FindingIdentity, host, qualified_host, recorded};
use super::host_findings;
use super::host_vm::{HostVm, HostVmChange};
use super::overlap::{Overlap, ReportedOverlap};
use super::run::{Run, RunEnd};

/// Records of untracked VMs after which room is looked for again: a look visits all VMs.
const MAKE_ROOM_EVERY: u32 = 4_096;

/// What the VMs of all hosts do together.
#[derive(Debug, Default)]
pub struct HostCorrelators {
    /// By `HOST/VM`.
    vms: HashMap<Box<str>, HostVm>,
    /// The names of each VM that has a UUID, one for each host that has it.
    by_uuid: HashMap<u128, Vec<Box<str>>>,
    /// Until when everything that was received at a host was taken, by the host's clock.
    heard: HashMap<Box<str>, UnixMicros>,
    /// The VMs whose overlap can be decided when the host was heard further.
    waiting: HashMap<Box<str>, BTreeSet<u128>>,
    /// The last overlap of a VM on two hosts that was reported.
    overlaps: BTreeMap<[Box<str>; 2], ReportedOverlap>,
    /// Findings of an earlier run of the hub.
    recorded: HashSet<FindingIdentity>,
    /// The overlaps of an earlier run of the hub that were not over.
    restored: BTreeMap<[Box<str>; 2], ReportedOverlap>,
    /// Records of VMs for which there was no room.
    untracked: u32,
}

impl HostCorrelators {
    /// Creates correlators without any state.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a finding over hosts that is in the journal already. Other records are skipped.
    pub fn restore(&mut self, record: &Record<'_>) {
        let Some((identity, data)) = recorded(record) else { return };
        if let Some((pair, overlap)) = host_findings::restored_overlap(&identity, &data) {
            match &*identity.0 {
                TWO_HOSTS => _ = self.restored.insert(pair, overlap),
                _ => _ = self.restored.remove(&pair),
            }
        }
        self.recorded.insert(identity);
    }

    /// Takes the state of a VM whose records up to now were not taken.
    pub fn adopt(&mut self, vm: &str, correlators: &Correlators) {
        if QualifiedName::parse(vm).is_none() || !self.add(vm) {
            return;
        }
        let Some(host_vm) = self.vms.get_mut(vm) else { return };
        let before = host_vm.uuid;
        host_vm.adopt(vm, correlators);
        let uuid = host_vm.uuid;
        self.regroup(vm, before, uuid);
    }

    /// Takes a record of a VM of another host, which `correlators` have taken. Other records are skipped.
    pub fn record(&mut self, record: &Record<'_>, correlators: &Correlators, found: &mut Vec<Finding>) {
        let vm = record.vm.as_ref();
        if record.seq.is_added() || QualifiedName::parse(vm).is_none() || !self.add(vm) {
            return;
        }
        let Some(host_vm) = self.vms.get_mut(vm) else { return };
        let before = host_vm.uuid;
        let change = host_vm.take(record, correlators);
        let after = host_vm.uuid;
        let HostVmChange { uuid, run, migration } = change;
        if uuid {
            // What was reported of the other VM of this name is over.
            before.into_iter().for_each(|before| self.examine(before, found));
            self.regroup(vm, before, after);
        }
        let Some(after) = after else { return };
        if uuid || migration {
            self.match_sides(after, vm, found);
        }
        if uuid || run {
            self.examine(after, found);
        }
    }

    /// Takes the time at a host: everything that was received there before `upto` was taken.
    pub fn heard(&mut self, host: &str, upto: UnixMicros, found: &mut Vec<Finding>) {
        if let Some(heard) = self.heard.get_mut(host) {
            *heard = upto;
        } else if self.heard.len() < HOST_VMS_MAX {
            self.heard.insert(host.into(), upto);
        }
        for uuid in self.waiting.remove(host).unwrap_or_default() {
            self.examine(uuid, found);
        }
    }

    /// Ends the restoring: what was reported and is over is reported as over.
    pub fn restored(&mut self, found: &mut Vec<Finding>) {
        for (pair, overlap) in std::mem::take(&mut self.restored) {
            let uuid = self.vms.get(&pair[0]).and_then(|host_vm| host_vm.uuid);
            self.overlaps.entry(pair).or_insert(overlap);
            uuid.into_iter().for_each(|uuid| self.examine(uuid, found));
        }
    }

    /// Until when everything that was received at a host was taken; `None` for a host that was not heard.
    #[must_use]
    pub fn heard_upto(&self, host: &str) -> Option<UnixMicros> {
        self.heard.get(host).copied()
    }

    /// The overlaps that were reported and are not over: the VM on each of the two hosts, as `HOST/VM`, and since when.
    pub fn open_overlaps(&self) -> impl Iterator<Item = (&[Box<str>; 2], UnixMicros)> {
        let open = self.overlaps.iter().filter(|(_, overlap)| !overlap.is_over);
        open.map(|(pair, overlap)| (pair, overlap.since))
    }

    /// The number of VMs, one for each host that has it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.vms.len()
    }

    /// Whether no VM is tracked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vms.is_empty()
    }

    /// Adds a VM of a host unless it is there. Returns whether it is there afterwards.
    fn add(&mut self, vm: &str) -> bool {
        if self.vms.contains_key(vm) {
            return true;
        }
        if self.vms.len() >= HOST_VMS_MAX {
            self.untracked = self.untracked.wrapping_add(1);
            if self.untracked % MAKE_ROOM_EVERY != 1 {
                return false;
            }
            self.drop_idle();
        }
        if self.vms.len() < HOST_VMS_MAX {
            self.vms.insert(vm.into(), HostVm::default());
        }
        self.vms.contains_key(vm)
    }

    /// Drops the VMs that do not run, of which nothing is to be concluded.
    fn drop_idle(&mut self) {
        self.vms.retain(|_, host_vm| !host_vm.is_idle());
        let known = &self.vms;
        self.by_uuid.retain(|_, vms| {
            vms.retain(|vm| known.contains_key(vm));
            !vms.is_empty()
        });
        self.overlaps
            .retain(|pair, overlap| !overlap.is_over && pair.iter().all(|vm| known.contains_key(vm)));
    }

    fn regroup(&mut self, vm: &str, before: Option<u128>, after: Option<u128>) {
        if let Some(before) = before.filter(|before| Some(*before) != after)
            && let Some(vms) = self.by_uuid.get_mut(&before)
        {
            vms.retain(|other| **other != *vm);
            if vms.is_empty() {
                self.by_uuid.remove(&before);
            }
        }
        let Some(after) = after else { return };
        let known = &self.vms;
        let vms = self.by_uuid.entry(after).or_default();
        if vms.iter().any(|other| **other == *vm) {
            return;
        }
        let is_idle = |vm: &str| known.get(vm).is_none_or(HostVm::is_idle);
        if vms.len() < VMS_OF_UUID_MAX {
            vms.push(vm.into());
        } else if let Some(idle) = vms.iter_mut().find(|vm| is_idle(vm)) {
            *idle = vm.into();
        }
    }

    /// Reports the migration of which this VM has one side, if the other side is there.
    fn match_sides(&mut self, uuid: u128, vm: &str, found: &mut Vec<Finding>) {
        let others = self.by_uuid.get(&uuid).cloned().unwrap_or_default();
        for other in others.iter().filter(|other| host(other) != host(vm)) {
            for (source, destination) in [(vm, &**other), (&**other, vm)] {
                let left = self.vms.get(source).and_then(|host_vm| host_vm.migrations.left.as_ref());
                let arrived =
                    self.vms.get(destination).and_then(|host_vm| host_vm.migrations.arrived.as_ref());
                let (Some(left), Some(arrived)) = (left, arrived) else { continue };
                let Some(finding) = host_findings::migrated(uuid, (source, left), (destination, arrived))
                else {
                    continue;
                };
                if let Some(host_vm) = self.vms.get_mut(source) {
                    host_vm.migrations.left = None;
                }
                if let Some(host_vm) = self.vms.get_mut(destination) {
                    host_vm.migrations.arrived = None;
                }
                self.report(finding, found);
            }
        }
    }

    /// Compares the runs of a VM on different hosts.
    fn examine(&mut self, uuid: u128, found: &mut Vec<Finding>) {
        let vms = self.by_uuid.get(&uuid).cloned().unwrap_or_default();
        for (index, one) in vms.iter().enumerate() {
            for other in vms[index + 1..].iter().filter(|other| host(other) != host(one)) {
                let mut pair = [one.clone(), other.clone()];
                pair.sort_unstable();
                self.compare(uuid, &pair, found);
            }
        }
    }

    /// Compares the last runs of a VM on two hosts.
    fn compare(&mut self, uuid: u128, pair: &[Box<str>; 2], found: &mut Vec<Finding>) {
        let overlap = self.overlap(pair);
        let is_reported = self.overlaps.get(pair).is_some_and(|reported| !reported.is_over);
        let last = self.overlaps.get(pair).map(|reported| reported.runs);
        let same = overlap.filter(|(causes, _)| Some(*causes) == last).map(|(_, overlap)| overlap);
        if is_reported {
            self.follow_overlap(uuid, pair, same, found);
        }
        let Some((runs, overlap)) = overlap.filter(|_| same.is_none()) else { return };
        if overlap.is_long() {
            let Overlap { since, until, .. } = overlap;
            let reported = ReportedOverlap { runs, since, until, is_over: false };
            self.report(host_findings::two_hosts(uuid, pair, &reported), found);
            self.overlaps.insert(pair.clone(), reported);
            self.follow_overlap(uuid, pair, Some(overlap), found);
        } else if overlap.may_be_long() {
            let hosts = pair.iter().filter(|vm| self.heard_of(vm) <= overlap.deadline());
            let waits: Vec<Box<str>> = hosts.map(|vm| qualified_host(vm).into()).collect();
            waits.into_iter().for_each(|host| _ = self.waiting.entry(host).or_default().insert(uuid));
        }
    }

    /// Reports the end of an overlap that was reported. `overlap` is what the runs on both hosts show of it.
    fn follow_overlap(
        &mut self,
        uuid: u128,
        pair: &[Box<str>; 2],
        overlap: Option<Overlap>,
        found: &mut Vec<Finding>,
    ) {
        let Some(reported) = self.overlaps.get(pair) else { return };
        let of_runs = |heard: &dyn Fn(&str) -> UnixMicros| {
            let ends = pair.iter().zip(reported.runs).filter_map(|(vm, run)| self.until(vm, run, heard(vm)));
            ends.min().unwrap_or(reported.until)
        };
        let (until, latest) = match overlap {
            Some(overlap) => (overlap.until, overlap.latest),
            None => (of_runs(&|vm| self.heard_of(vm)), of_runs(&|_| UnixMicros(i64::MAX))),
        };
        let Some(reported) = self.overlaps.get_mut(pair) else { return };
        reported.until = reported.until.max(until);
        if overlap.is_none_or(|overlap| !overlap.may_go_on) {
            reported.is_over = true;
            let reported = reported.clone();
            // Of two runs that were replaced, neither may have an end.
            let latest = if latest == UnixMicros(i64::MAX) { reported.until } else { latest };
            let over = host_findings::over(uuid, pair, &reported, latest, &self.running(pair));
            self.report(over, found);
        }
    }

    /// The overlap of the last runs on two hosts, and the causes of these runs.
    fn overlap(&self, pair: &[Box<str>; 2]) -> Option<([Id; 2], Overlap)> {
        let run = |vm: &str| self.vms.get(vm)?.run.as_ref();
        let (one, other) = run(&pair[0]).zip(run(&pair[1]))?;
        let overlap = Overlap::of([(one, self.heard_of(&pair[0])), (other, self.heard_of(&pair[1]))]);
        Some(([one.cause, other.cause], overlap))
    }

    /// Until when a run of a VM, which may be the one before the last, went on for certain, if its host was heard up to `heard`.
    fn until(&self, vm: &str, run: Id, heard: UnixMicros) -> Option<UnixMicros> {
        let last = self.vms.get(vm)?.run.as_ref()?;
        Some(if last.cause == run { last.certain_until(heard) } else { last.earlier_until })
    }

    /// Until when everything that was received at the host of a VM was taken.
    fn heard_of(&self, vm: &str) -> UnixMicros {
        self.heard.get(qualified_host(vm)).copied().unwrap_or(UnixMicros(i64::MIN))
    }

    /// The hosts of this pair on which the VM runs.
    fn running(&self, pair: &[Box<str>; 2]) -> Vec<Box<str>> {
        let run = |vm: &str| self.vms.get(vm).and_then(|host_vm| host_vm.run.as_ref());
        let runs = |vm: &str| run(vm).is_some_and(|run: &Run| run.end == RunEnd::Open);
        pair.iter().filter(|vm| runs(vm)).map(|vm| qualified_host(vm).into()).collect()
    }

    /// Passes on a finding that an earlier run of the hub has not recorded.
    fn report(&mut self, (finding, evidence): (Finding, Vec<Evidence>), found: &mut Vec<Finding>) {
        assert_listed(finding.kind, &finding.data);
        if !self.recorded.remove(&(finding.kind.into(), evidence)) {
            found.push(finding);
        }
    }
}
