//! Counts of the findings of each VM, for metrics.

use std::collections::HashMap;
use std::sync::Mutex;

use qmp_findings::{FindingSeverity, KINDS, OVER_HOSTS, is_evidence};
use qmp_host::lock;
use qmp_wire::{Body, Record};

/// The name for kinds that [`KINDS`] does not have.
const OTHER_KINDS: &str = "other";

/// The name in place of a VM's for findings over hosts, which are about VMs of other hosts, and about hosts.
const NO_VM: &str = "";

/// Counts by VM, and by the place of the kind in [`KINDS`]; the last one is for other kinds.
#[derive(Debug, Default)]
pub(super) struct FindingCounts(Mutex<HashMap<Box<str>, Box<[u64]>>>);

impl FindingCounts {
    /// Counts a record, if it is a finding. Evidence is no finding, though its records have the same form.
    pub(super) fn count(&self, record: &Record<'_>) {
        let Body::Finding { finding, .. } = &record.body else { return };
        if is_evidence(record) {
            return;
        }
        let place = KINDS.iter().position(|kind| kind.name == *finding).unwrap_or(KINDS.len());
        let vm = if OVER_HOSTS.contains(&&**finding) { NO_VM } else { &*record.vm };
        let mut counts = lock(&self.0);
        if !counts.contains_key(vm) {
            counts.insert(vm.into(), vec![0; KINDS.len() + 1].into());
        }
        if let Some(of_vm) = counts.get_mut(vm) {
            of_vm[place] += 1;
        }
    }

    /// Removes the counts of a VM.
    pub(super) fn forget(&self, vm: &str) {
        lock(&self.0).remove(vm);
    }

    /// The findings over hosts, by kind.
    pub(super) fn over_hosts(&self) -> Vec<(&'static str, u64)> {
        let counts = lock(&self.0);
        let counts = counts.get(NO_VM);
        let count = |place: usize| counts.map_or(0, |counts| counts[place]);
        let kinds = KINDS.iter().enumerate().filter(|(_, kind)| OVER_HOSTS.contains(&kind.name));
        kinds.map(|(place, kind)| (kind.name, count(place))).collect()
    }

    /// The kinds with a count, and all warnings about VMs: alerts compare a first warning with zero.
    pub(super) fn of(&self, vm: &str) -> Vec<(&'static str, u64)> {
        let counts = lock(&self.0);
        let of_vm = counts.get(vm);
        let count = |place: usize| of_vm.map_or(0, |counts| counts[place]);
        let is_warning =
            |name: &str, severity| severity == FindingSeverity::Warning && !OVER_HOSTS.contains(&name);
        let kinds = KINDS.iter().map(|kind| (kind.name, is_warning(kind.name, kind.severity)));
        let kinds = kinds.chain([(OTHER_KINDS, false)]).enumerate();
        let listed = kinds.filter(|(place, (_, is_warning))| *is_warning || count(*place) > 0);
        listed.map(|(place, (name, _))| (name, count(place))).collect()
    }
}

#[cfg(test)]
mod tests {
    use qmp_wire::{Epoch, Seq, UnixMicros};

    use super::*;

    #[test]
    fn findings_are_counted_by_vm_and_kind() {
        let counts = FindingCounts::default();
        let warnings = KINDS.iter().filter(|kind| kind.severity == FindingSeverity::Warning);
        let warnings = warnings.filter(|kind| !OVER_HOSTS.contains(&kind.name)).count();
        let records = [
            ("a", "storm"),
            ("a", "storm"),
            ("a", "why-paused"),
            ("a", "x"),
            ("a", "command"),
            ("b", "storm"),
            ("b", "two-hosts"),
            ("node1", "host-silent"),
            ("b", "process-ended"),
            ("b", "query"),
        ];
        for (vm, finding) in records {
            let (finding, summary) = (finding.to_owned().into(), "".into());
            let body = Body::Finding { finding, summary, causes: Vec::new(), data: Some("{}".into()) };
            let (epoch, seq, received) = (Epoch(1), Seq(1), UnixMicros(0));
            counts.count(&Record { offset: None, vm: vm.into(), epoch, seq, received, body });
        }
        let found = |vm: &str| {
            let all = counts.of(vm);
            let positive = all.iter().filter(|(_, count)| *count > 0).copied().collect::<Vec<_>>();
            (all.len(), positive)
        };
        assert_eq!(found("a"), (warnings + 2, vec![("storm", 2), ("why-paused", 1), ("other", 1)]));
        assert_eq!(found("b"), (warnings, vec![("storm", 1)]));
        let over_hosts = counts.over_hosts();
        assert_eq!(over_hosts.len(), OVER_HOSTS.len());
        assert!(
            over_hosts.contains(&("two-hosts", 1)) && over_hosts.contains(&("migrated", 0)),
            "{over_hosts:?}"
        );
        counts.forget("b");
        assert_eq!(found("b"), (warnings, vec![]));
    }
}
