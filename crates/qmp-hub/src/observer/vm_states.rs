//! The states of the VMs, for queries: what the observer has read so far.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use qmp_findings::state::VmState;
use qmp_findings::{Correlators, GONE, HostCorrelators, Id, OpenAlert, Question, StateAlerts, UnendedVm};
use qmp_host::{blocking, lock};
use qmp_journal::Reader;
use qmp_wire::{Offset, QualifiedName, UnixMicros};
use tokio::sync::{Notify, watch};

use super::finding_counts::FindingCounts;
use super::hosts::{self, HostSigns, VmOnTwoHosts};
use super::resume;
use crate::vm::is_of_other_host;

/// VMs kept in memory, in states of one to two KiB. Beyond that, a VM is evicted when it detaches, and read again from the
/// journal when it attaches.
pub(super) const VMS_KNOWN_MAX: usize = 20_000;

/// How long a query for a VM's state waits until the state is up to date. The observer is behind only while it starts on a
/// long journal.
const UP_TO_DATE_MAX: Duration = Duration::from_secs(1);

/// The states of the VMs as the observer reads on, for queries. Cheap to clone.
#[derive(Clone, Debug)]
pub struct VmStates {
    pub(super) shared: Arc<ObserverState>,
    pub(super) reader: Reader,
}

/// The VMs that the hub follows.
pub(crate) trait FollowedVms: fmt::Debug + Send + Sync {
    /// Whether there is a VM of that name.
    fn contains(&self, name: &str) -> bool;

    /// Notifies one task after VMs were removed.
    fn removed(&self) -> Arc<Notify>;
}

#[derive(Debug, Default)]
pub(super) struct ObserverState {
    pub(super) correlators: Mutex<Correlators>,
    /// Locked after `correlators`.
    pub(super) alerts: Mutex<StateAlerts>,
    /// Locked after `alerts`.
    pub(super) hosts: Mutex<HostCorrelators>,
    /// The VMs of the hub; `None` without one.
    pub(super) followed: OnceLock<Box<dyn FollowedVms>>,
    /// How far hosts were heard, besides by their records.
    pub(super) host_signs: HostSigns,
    pub(super) finding_counts: FindingCounts,
    /// Everything up to here was read.
    pub(super) position: watch::Sender<Offset>,
}

impl VmStates {
    /// Everything up to here was read.
    pub fn position(&self) -> Offset {
        *self.shared.position.borrow()
    }

    /// Waits until everything up to `head` was read.
    pub async fn has_read(&self, head: Offset) {
        // The sender is shared with this.
        let _ = self.shared.position.subscribe().wait_for(|position| *position >= head).await;
    }

    /// Whether the correlators would still use the answer to this question.
    pub(crate) fn is_open(&self, question: &Question) -> bool {
        self.shared.lock().is_open(question)
    }

    /// The last record of a VM that was read, except findings.
    pub(crate) fn last(&self, vm: &str) -> Option<Id> {
        self.shared.lock().last(vm)
    }

    /// The VMs of this host without a recorded end and without an open epoch.
    pub(crate) fn unended(&self) -> Vec<UnendedVm> {
        let mut unended = self.shared.lock().unended();
        unended.retain(|vm| !is_of_other_host(&vm.vm));
        unended
    }

    /// Takes that everything which was received at another host before `upto` is in the journal, up to `committed`.
    #[cfg_attr(not(feature = "fleet"), allow(dead_code, reason = "for the sources of a fleet hub"))]
    pub(crate) fn host_heard(&self, host: &str, upto: UnixMicros, committed: Offset) {
        self.shared.host_signs.push(host, upto, committed);
    }

    /// For each of these hosts with VMs whose epoch is open, the names on their host of those that run, as far as the observer
    /// has read.
    #[cfg_attr(not(feature = "fleet"), allow(dead_code, reason = "for the sources of a fleet hub"))]
    pub(crate) fn running_on<'h>(
        &self,
        hosts: impl Iterator<Item = &'h str>,
    ) -> HashMap<Box<str>, Vec<Box<str>>> {
        let hosts: HashSet<&str> = hosts.collect();
        let mut running: HashMap<Box<str>, Vec<Box<str>>> = HashMap::new();
        let correlators = self.shared.lock();
        for vm in correlators.vms() {
            let Some(name) = QualifiedName::parse(vm).filter(|name| hosts.contains(name.host)) else {
                continue;
            };
            if correlators.state(vm).is_some_and(|state| state.attached) {
                let of_host = running.entry(name.host.into()).or_default();
                of_host.extend((correlators.run_state(vm) == Some("running")).then(|| name.vm.into()));
            }
        }
        running.values_mut().for_each(|vms| vms.sort_unstable());
        running
    }

    /// Applies `read` to the run state of each VM, as far as the observer has read.
    pub fn run_states<'v, T>(
        &self,
        vms: impl Iterator<Item = &'v str>,
        read: impl Fn(Option<&str>) -> T,
    ) -> Vec<T> {
        let correlators = self.shared.lock();
        vms.map(|vm| read(correlators.run_state(vm))).collect()
    }

    /// The VMs whose QEMU ended without an announcement at or after `since`, as far as the observer has read.
    #[must_use]
    pub fn gone_since(&self, since: UnixMicros) -> Vec<Box<str>> {
        let correlators = self.shared.lock();
        let is_gone = |vm: &&str| {
            correlators.run_state(vm) == Some(GONE)
                && correlators.condition(vm).is_some_and(|condition| condition.since >= since)
        };
        correlators.vms().filter(is_gone).map(Box::from).collect()
    }

    /// The alerts of the rules on states that are raised after all records up to `head`, or after `UP_TO_DATE_MAX` those so far.
    pub async fn alerts(&self, head: Offset) -> Vec<OpenAlert> {
        let _ = tokio::time::timeout(UP_TO_DATE_MAX, self.has_read(head)).await;
        lock(&self.shared.alerts).raised().collect()
    }

    /// The VMs that run on several hosts at once, by `HOST/VM`, as far as the observer has read.
    #[must_use]
    pub fn on_two_hosts(&self) -> HashMap<Box<str>, VmOnTwoHosts> {
        hosts::on_two_hosts(&lock(&self.shared.hosts))
    }

    /// Applies `read` to the name and the UUID that each VM reported, as far as the observer has read.
    pub fn identities<'v, T>(
        &self,
        vms: impl Iterator<Item = &'v str>,
        read: impl Fn(Option<&str>, Option<&str>) -> T,
    ) -> Vec<T> {
        let correlators = self.shared.lock();
        let identities = vms.map(|vm| correlators.identity(vm));
        identities.map(|(name, uuid)| read(name, uuid)).collect()
    }

    /// The addresses of the monitors of these VMs, as their last epoch began.
    pub fn addresses<'v>(&self, vms: impl Iterator<Item = &'v str>) -> Vec<Option<Box<str>>> {
        let correlators = self.shared.lock();
        vms.map(|vm| correlators.address(vm).map(Into::into)).collect()
    }

    /// Reads the VMs among these that have had no record since the hub started, as far as they are kept in memory. Blocks on
    /// the disk.
    pub fn recall<'v>(&self, vms: impl Iterator<Item = &'v str>) {
        let mut correlators = self.shared.lock();
        let upto = self.position();
        for vm in vms {
            if !correlators.has_vm(vm) && correlators.len() < VMS_KNOWN_MAX {
                recall(&mut correlators, &self.reader, vm, upto);
            }
        }
    }

    /// How many findings of each kind a VM has had since the hub started.
    #[must_use]
    pub fn findings(&self, vm: &str) -> Vec<(&'static str, u64)> {
        self.shared.finding_counts.of(vm)
    }

    /// How many findings over hosts of each kind there were since the hub started.
    #[must_use]
    pub fn findings_over_hosts(&self) -> Vec<(&'static str, u64)> {
        self.shared.finding_counts.over_hosts()
    }

    /// The states of these VMs after all records up to `head`, or after those that the observer reads within
    /// `UP_TO_DATE_MAX`.
    pub async fn states(&self, vms: Vec<Box<str>>, head: Offset) -> Vec<Option<VmState>> {
        let mut position = self.shared.position.subscribe();
        // After the timeout, the state so far is returned.
        let _ = tokio::time::timeout(UP_TO_DATE_MAX, position.wait_for(|position| *position >= head)).await;
        let (shared, reader) = (Arc::clone(&self.shared), self.reader.clone());
        blocking(move || {
            let mut correlators = shared.lock();
            // No record of an unknown VM was read after this position.
            let upto = *shared.position.borrow();
            let mut state = |vm: &str| {
                if !correlators.has_vm(vm) {
                    recall(&mut correlators, &reader, vm, upto);
                }
                correlators.state(vm)
            };
            vms.iter().map(|vm| state(vm)).collect()
        })
        .await
    }
}

impl ObserverState {
    /// Whether the hub follows a VM. One of another host counts as followed from its first record in the journal until its
    /// hub has removed it; one that is not kept in memory, too.
    pub(super) fn is_followed(&self, vm: &str, correlators: &Correlators) -> bool {
        if is_of_other_host(vm) {
            let is_in_journal = correlators.position(vm).is_some() || !correlators.has_vm(vm);
            return is_in_journal && !correlators.is_removed(vm);
        }
        self.followed.get().is_none_or(|followed| followed.contains(vm))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Correlators> {
        // A correlator that panicked has left only its own VM inconsistent.
        lock(&self.correlators)
    }
}

/// Reads earlier records of a VM that attached again. Their findings are recorded already.
pub(super) fn recall(correlators: &mut Correlators, reader: &Reader, vm: &str, upto: Offset) {
    // Marked as known, so that it is not searched for again.
    correlators.add_vm(vm);
    if let Err(error) = resume::recall(correlators, reader, vm, upto) {
        tracing::warn!(vm, "cannot read the past of {vm}: {error}");
    }
}
