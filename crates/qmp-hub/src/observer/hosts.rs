//! Findings over hosts at a fleet hub: the records of other hosts' VMs, and how far each host was heard.

use std::collections::HashMap;
use std::sync::Mutex;

use qmp_findings::{Correlators, Finding, HostCorrelators};
use qmp_host::lock;
use qmp_journal::{Globs, JournalError, Query, Reader, RecordKind};
use qmp_wire::{Offset, QualifiedName, Record, UnixMicros};
use tokio::sync::Notify;

/// Findings over hosts that are read from the journal at the start, the last ones: an earlier one is not concluded again.
const RECORDED_MAX: usize = 4_096;

/// Takes a record, which `correlators` have taken, with the time at its host.
pub(super) fn observe(
    hosts: &mut HostCorrelators,
    correlators: &Correlators,
    record: &Record<'_>,
    found: &mut Vec<Finding>,
) {
    if let Some(host) = sender(record) {
        // What other VMs of the host did before is known.
        hosts.heard(host, record.received, found);
        hosts.record(record, correlators, found);
    }
}

/// Takes the findings over hosts that are recorded.
pub(super) fn restore(hosts: &mut HostCorrelators, reader: &Reader) -> Result<(), JournalError> {
    let vm = Globs::parse(["/*"]).unwrap_or_default();
    let query = Query { vm, kind: vec![RecordKind::Finding], ..Query::default() };
    reader.last(&query, RECORDED_MAX)?.records.iter().for_each(|record| hosts.restore(record));
    Ok(())
}

/// A VM that runs on several hosts at once, as seen from one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmOnTwoHosts {
    /// Since when.
    pub since: UnixMicros,
    /// The other hosts.
    pub also_on: Vec<Box<str>>,
}

/// The VMs that run on several hosts at once, by `HOST/VM`.
pub(super) fn on_two_hosts(hosts: &HostCorrelators) -> HashMap<Box<str>, VmOnTwoHosts> {
    let mut vms: HashMap<Box<str>, VmOnTwoHosts> = HashMap::new();
    for ([one, other], since) in hosts.open_overlaps() {
        for (vm, elsewhere) in [(one, other), (other, one)] {
            let Some(QualifiedName { host, .. }) = QualifiedName::parse(elsewhere) else { continue };
            let of_vm = vms.entry(vm.clone()).or_insert(VmOnTwoHosts { since, also_on: Vec::new() });
            of_vm.since = of_vm.since.min(since);
            of_vm.also_on.push(host.into());
        }
    }
    vms
}

/// The host whose hub published the record; `None` for a record of this hub.
pub(super) fn sender<'r>(record: &'r Record<'_>) -> Option<&'r str> {
    QualifiedName::parse(&record.vm).filter(|_| !record.seq.is_added()).map(|name| name.host)
}

/// How far hosts were heard, besides by their records, until the observer has read these.
#[derive(Debug, Default)]
pub(super) struct HostSigns {
    /// By host: everything that was received there before the time is in the journal up to the offset.
    pending: Mutex<HashMap<Box<str>, (UnixMicros, Offset)>>,
    changed: Notify,
}

impl HostSigns {
    #[cfg_attr(not(feature = "fleet"), allow(dead_code, reason = "for the sources of a fleet hub"))]
    pub(super) fn push(&self, host: &str, upto: UnixMicros, committed: Offset) {
        lock(&self.pending).insert(host.into(), (upto, committed));
        self.changed.notify_one();
    }

    /// Waits for signs.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Passes on the signs of hosts whose records were read.
    pub(super) fn apply(&self, position: Offset, mut heard: impl FnMut(&str, UnixMicros)) {
        let mut pending = lock(&self.pending);
        for (host, (upto, _)) in pending.extract_if(|_, (_, committed)| *committed <= position) {
            heard(&host, upto);
        }
    }
}

/// How far each host was heard, while its records are read again: one VM after the other.
#[derive(Debug, Default)]
pub(super) struct Rereading {
    pub(super) hosts: HostCorrelators,
    heard: HashMap<Box<str>, UnixMicros>,
    found: Vec<Finding>,
}

impl Rereading {
    /// Takes a record, which `correlators` have taken.
    pub(super) fn record(&mut self, record: &Record<'_>, correlators: &Correlators) {
        let Some(host) = sender(record) else { return };
        self.hosts.record(record, correlators, &mut self.found);
        match self.heard.get_mut(host) {
            Some(heard) => *heard = record.received.max(*heard),
            None => drop(self.heard.insert(host.into(), record.received)),
        }
    }

    /// Takes the state of a VM that was restored.
    pub(super) fn adopt(&mut self, vm: &str, correlators: &Correlators) {
        self.hosts.adopt(vm, correlators);
    }

    /// Ends the reading. Returns the findings that are not recorded.
    pub(super) fn end(mut self) -> (HostCorrelators, Vec<Finding>) {
        for (host, heard) in self.heard {
            self.hosts.heard(&host, heard, &mut self.found);
        }
        self.hosts.restored(&mut self.found);
        (self.hosts, self.found)
    }
}
