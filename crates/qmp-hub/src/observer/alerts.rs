//! Rules on states: the observer passes on the state of each VM after each record, and the time.
//!
//! At a fleet hub they are also about the VMs of other hosts. The time of such a VM is how far its host was heard, and its
//! alerts are records that this hub adds to those of its host.

use std::sync::Arc;

use qmp_findings::{
    ALERT, Correlators, Finding, HostCorrelators, OpenAlert, RESOLVED, StateAlerts, StateRule,
};
use qmp_host::{blocking, lock};
use qmp_journal::JournalEnded;
use qmp_wire::{QualifiedName, Record, UnixMicros};
use tokio::sync::{Notify, watch};

use super::vm_states::FollowedVms;
use super::{Observer, ObserverState, RECEIPT_MAX, everything_by, hosts};
use crate::vm::is_of_other_host;

/// The rules on states, and their alerts that are not resolved by the records in the journal.
#[derive(Clone, Debug, Default)]
pub(crate) struct StateRules {
    pub(crate) rules: Vec<StateRule>,
    pub(crate) open: Vec<OpenAlert>,
}

impl Observer {
    /// Adds the rules on states for the VMs of the hub, as they change. `silences_changed` notifies of changes of the silences,
    /// by which alerts may be due.
    pub(crate) fn with_state_rules(
        mut self,
        rules: watch::Receiver<StateRules>,
        silences_changed: Arc<Notify>,
        vms: Box<dyn FollowedVms>,
    ) -> Self {
        (self.silences_changed, self.vm_removed) = (silences_changed, vms.removed());
        self.shared.followed.get_or_init(|| vms);
        self.state_rules = Some(rules);
        self
    }

    /// Reads the VMs of other hosts with an alert from before the start: those without recent records were not read again.
    async fn recall_alerted(&self) {
        let of_other_host = |vm: &&str| is_of_other_host(vm);
        let alerted: Vec<Box<str>> =
            lock(&self.shared.alerts).vms().filter(of_other_host).map(Box::from).collect();
        let states = self.vm_states();
        blocking(move || states.recall(alerted.iter().map(|vm| &**vm))).await;
    }

    /// Applies the present rules to the states so far.
    pub(super) async fn apply_state_rules(
        &self,
        rules: &mut Option<watch::Receiver<StateRules>>,
    ) -> Result<(), JournalEnded> {
        let Some(rules) = rules else { return Ok(()) };
        let StateRules { rules, open } = rules.borrow_and_update().clone();
        lock(&self.shared.alerts).set_rules(rules, open);
        self.recall_alerted().await;
        let mut found = Vec::new();
        self.shared.alerts_at(everything_by(self.clock), &mut found);
        self.append(&found, Vec::new()).await
    }
}

impl ObserverState {
    /// Passes the states of all VMs to the rules on states, and the time: everything received before `now` was read.
    pub(super) fn alerts_at(&self, now: UnixMicros, found: &mut Vec<Finding>) {
        let (correlators, mut alerts) = (self.lock(), lock(&self.alerts));
        if alerts.is_idle() {
            return;
        }
        let over_hosts = lock(&self.hosts);
        take_removed(&mut alerts, &correlators);
        alerts.take_followed(|vm| self.is_followed(vm, &correlators), now);
        for vm in correlators.vms().filter(|vm| self.is_followed(vm, &correlators)) {
            let Some(now) = time_of(vm, now, &correlators, &over_hosts) else { continue };
            alerts.observe(vm, correlators.condition(vm).as_deref(), now);
        }
        alerts.time_passed(now);
        found.extend(std::iter::from_fn(|| alerts.poll_output()));
    }
}

/// Resolves the alerts of VMs that were removed while the observer did not apply rules, as before a crash of the hub.
fn take_removed(alerts: &mut StateAlerts, correlators: &Correlators) {
    let is_removed = |vm: &&str| is_of_other_host(vm) && correlators.is_removed(vm);
    let removed: Vec<Box<str>> = alerts.vms().filter(is_removed).map(Box::from).collect();
    for vm in removed {
        // The hub has read a record of a VM that is removed.
        let last = correlators.position(&vm).map(|last| last.received);
        last.into_iter().for_each(|at| alerts.removed(&vm, at));
    }
}

/// The time of a VM, at `now` at this host; `None` if no record of the VM was read.
fn time_of(
    vm: &str,
    now: UnixMicros,
    correlators: &Correlators,
    over_hosts: &HostCorrelators,
) -> Option<UnixMicros> {
    let Some(QualifiedName { host, .. }) = QualifiedName::parse(vm) else { return Some(now) };
    let heard = over_hosts.heard_upto(host).map(certain_at);
    heard.or_else(|| correlators.position(vm).map(|last| last.received))
}

/// The time at a host by which everything that was received there is in the journal, if a record of `heard` is.
fn certain_at(heard: UnixMicros) -> UnixMicros {
    UnixMicros(heard.0.saturating_sub(i64::try_from(RECEIPT_MAX.as_micros()).unwrap_or(i64::MAX)))
}

/// Passes on how far a host was heard.
pub(super) fn heard(alerts: &mut StateAlerts, host: &str, upto: UnixMicros, found: &mut Vec<Finding>) {
    if !alerts.is_idle() {
        alerts.host_time_passed(host, certain_at(upto));
        found.extend(std::iter::from_fn(|| alerts.poll_output()));
    }
}

/// Whether a finding is about a VM of this host, or an alert about one of another host: the hub of that host records the
/// other findings.
pub(super) fn is_own(finding: &Finding) -> bool {
    !is_of_other_host(&finding.vm) || finding.kind == ALERT || finding.kind == RESOLVED
}

/// Passes the state of a VM after a record to the rules on states.
pub(super) fn observe(
    shared: &ObserverState,
    alerts: &mut StateAlerts,
    correlators: &Correlators,
    record: &Record<'_>,
    found: &mut Vec<Finding>,
) {
    if alerts.is_idle() {
        return;
    }
    if let Some(host) = hosts::sender(record) {
        heard(alerts, host, record.received, found);
    } else if is_of_other_host(&record.vm) {
        // It has the time of this host.
        return;
    }
    if shared.is_followed(&record.vm, correlators) {
        alerts.observe(&record.vm, correlators.condition(&record.vm).as_deref(), record.received);
    } else if is_of_other_host(&record.vm) && correlators.is_removed(&record.vm) {
        // Its own hub did it. The record has the time of that host, which says nothing about VMs of others.
        alerts.removed(&record.vm, record.received);
    }
    found.extend(std::iter::from_fn(|| alerts.poll_output()));
}

/// Waits until the rules change; without rules, for ever.
pub(super) async fn changed(rules: &mut Option<watch::Receiver<StateRules>>) {
    let Some(rules) = rules else { return std::future::pending().await };
    if rules.changed().await.is_err() {
        // The hub was dropped, and this task ends with it.
        std::future::pending::<()>().await;
    }
}
