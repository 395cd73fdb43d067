//! Findings over hosts at a fleet hub: the records of other hosts' VMs, and how far each host was heard.

use std::collections::HashMap;

use qmp_findings::{Correlators, Finding, HostCorrelators};
use qmp_journal::{Globs, JournalError, Query, Reader, RecordKind};
use qmp_wire::{QualifiedName, Record, UnixMicros};

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

/// The host whose hub published the record; `None` for a record of this hub.
fn sender<'r>(record: &'r Record<'_>) -> Option<&'r str> {
    QualifiedName::parse(&record.vm).filter(|_| !record.seq.is_added()).map(|name| name.host)
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
