//! Rules on states: the observer passes on the state of each VM of this host after each record, and the time.

use std::sync::Arc;

use qmp_findings::{Correlators, Finding, OpenAlert, StateAlerts, StateRule};
use qmp_host::lock;
use qmp_journal::JournalEnded;
use qmp_wire::{Record, UnixMicros};
use tokio::sync::{Notify, watch};

use super::vm_states::FollowedVms;
use super::{Observer, ObserverState, everything_by};
use crate::vm::is_of_other_host;

impl Observer {
    /// Adds the rules on states for the VMs of the hub, as they change, and the alerts that are not resolved. `silences_changed`
    /// notifies of changes of the silences, by which alerts may be due.
    pub(crate) fn with_state_rules(
        mut self,
        rules: watch::Receiver<Vec<StateRule>>,
        open: Vec<OpenAlert>,
        silences_changed: Arc<Notify>,
        vms: Box<dyn FollowedVms>,
    ) -> Self {
        (self.silences_changed, self.vm_removed) = (silences_changed, vms.removed());
        self.shared.followed.get_or_init(|| vms);
        let mut alerts = lock(&self.shared.alerts);
        // The alerts of other hosts' rules of the same name are among those in the journal.
        open.into_iter().filter(|alert| !is_of_other_host(&alert.vm)).for_each(|alert| alerts.restore(alert));
        drop(alerts);
        self.state_rules = Some(rules);
        self
    }

    /// Applies the present rules to the states so far.
    pub(super) async fn apply_state_rules(
        &self,
        rules: &mut Option<watch::Receiver<Vec<StateRule>>>,
    ) -> Result<(), JournalEnded> {
        let Some(rules) = rules else { return Ok(()) };
        lock(&self.shared.alerts).set_rules(rules.borrow_and_update().clone());
        let mut found = Vec::new();
        self.shared.alerts_at(everything_by(self.clock), &mut found);
        self.append(&found, Vec::new()).await
    }
}

impl ObserverState {
    /// Passes the states of all VMs of this host to the rules on states, and the time: everything received before `now` was read.
    pub(super) fn alerts_at(&self, now: UnixMicros, found: &mut Vec<Finding>) {
        let (correlators, mut alerts) = (self.lock(), lock(&self.alerts));
        if alerts.is_idle() {
            return;
        }
        alerts.take_followed(|vm| self.is_followed(vm), now);
        for vm in correlators.vms().filter(|vm| self.is_followed(vm)) {
            alerts.observe(vm, correlators.condition(vm).as_deref(), now);
        }
        alerts.time_passed(now);
        found.extend(std::iter::from_fn(|| alerts.poll_output()));
    }
}

/// Passes the state of a VM after a record to the rules on states.
pub(super) fn observe(
    shared: &ObserverState,
    alerts: &mut StateAlerts,
    correlators: &Correlators,
    record: &Record<'_>,
    found: &mut Vec<Finding>,
) {
    if alerts.is_idle() || !shared.is_followed(&record.vm) {
        return;
    }
    alerts.observe(&record.vm, correlators.condition(&record.vm).as_deref(), record.received);
    found.extend(std::iter::from_fn(|| alerts.poll_output()));
}

/// Waits until the rules change; without rules, for ever.
pub(super) async fn changed(rules: &mut Option<watch::Receiver<Vec<StateRule>>>) {
    let Some(rules) = rules else { return std::future::pending().await };
    if rules.changed().await.is_err() {
        // The hub was dropped, and this task ends with it.
        std::future::pending::<()>().await;
    }
}
