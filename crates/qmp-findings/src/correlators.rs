//! The correlators of all VMs: records and time in, findings, questions and states out.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use qmp_wire::{Record, UnixMicros};

use crate::condition::Condition;
use crate::finding::{Finding, Id};
use crate::members::assert_listed;
use crate::position::Position;
use crate::question::Question;
use crate::state::{MissingRecords, VmState};
use crate::tracker::VmTracker;
use crate::unended::UnendedVm;

/// The correlators of all VMs.
#[derive(Debug, Default)]
pub struct Correlators {
    /// Boxed, because the spare capacity of the table is as large as its content.
    pub(crate) vms: HashMap<Box<str>, Box<VmTracker>>,
    /// The VMs with a deadline, with the moment from which it is overdue, on this host's clock.
    deadlines: BTreeMap<Box<str>, UnixMicros>,
    /// The VMs with questions that [`Self::questions`] has not returned.
    with_questions: BTreeSet<Box<str>>,
}

impl Correlators {
    /// Creates correlators without any state.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next record of the journal and appends the findings that follow from it. Records of findings are
    /// skipped.
    pub fn record(&mut self, record: &Record<'_>, found: &mut Vec<Finding>) {
        if !self.vms.contains_key(record.vm.as_ref()) {
            self.vms.insert(record.vm.as_ref().into(), Box::default());
        }
        let Some(tracker) = self.vms.get_mut(record.vm.as_ref()) else { return };
        let before = found.len();
        tracker.record(record, found);
        tracker.follow_condition();
        assert_all_listed(&found[before..]);
        self.note(&record.vm);
    }

    /// Takes the time: everything received before `now` was taken, and deadlines before it expire.
    pub fn time_passed(&mut self, now: UnixMicros, found: &mut Vec<Finding>) {
        let overdue: Vec<Box<str>> =
            self.deadlines.iter().filter(|(_, at)| **at < now).map(|(vm, _)| vm.clone()).collect();
        for vm in overdue {
            if let Some(tracker) = self.vms.get_mut(&vm) {
                let before = found.len();
                tracker.time_passed(&vm, now, found);
                tracker.follow_condition();
                assert_all_listed(&found[before..]);
            }
            self.note(&vm);
        }
    }

    /// The moment after which [`Self::time_passed`] has an effect; `None` without a deadline.
    #[must_use]
    pub fn deadline(&self) -> Option<UnixMicros> {
        self.deadlines.values().min().copied()
    }

    /// Returns the questions that were raised since the last call, each once.
    ///
    /// A question stays open until its answer is recorded, an event answers it, or its time is over: see
    /// [`Self::is_open`].
    pub fn questions(&mut self) -> Vec<Question> {
        let mut questions = Vec::new();
        for vm in std::mem::take(&mut self.with_questions) {
            let asked = self.vms.get_mut(&vm).map(|tracker| tracker.questions()).unwrap_or_default();
            let of_vm = |(execute, cause)| Question { vm: vm.clone(), execute, cause };
            questions.extend(asked.into_iter().map(of_vm));
        }
        questions
    }

    /// Whether an answer to this question would still be used.
    #[must_use]
    pub fn is_open(&self, question: &Question) -> bool {
        let tracker = self.vms.get(&question.vm);
        tracker.is_some_and(|tracker| tracker.is_open((question.execute, question.cause)))
    }

    /// Whether the VM is tracked.
    #[must_use]
    pub fn has_vm(&self, vm: &str) -> bool {
        self.vms.contains_key(vm)
    }

    /// Whether the VM has a deadline.
    #[must_use]
    pub fn has_deadline(&self, vm: &str) -> bool {
        self.deadlines.contains_key(vm)
    }

    /// Lets all deadlines of a VM expire without findings, for a VM whose findings are recorded already.
    pub fn expire_deadlines(&mut self, vm: &str) {
        if let Some(tracker) = self.vms.get_mut(vm) {
            tracker.time_passed(vm, UnixMicros(i64::MAX), &mut Vec::new());
        }
        self.note(vm);
    }

    /// Adds a VM without records.
    pub fn add_vm(&mut self, vm: &str) {
        self.vms.entry(vm.into()).or_default();
    }

    /// The number of tracked VMs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.vms.len()
    }

    /// Whether no VM is tracked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vms.is_empty()
    }

    /// The state of a VM.
    #[must_use]
    pub fn state(&self, vm: &str) -> Option<VmState> {
        self.vms.get(vm).map(|tracker| tracker.state())
    }

    /// The run state of a VM, as in [`Self::state`].
    #[must_use]
    pub fn run_state(&self, vm: &str) -> Option<&str> {
        self.vms.get(vm).and_then(|tracker| tracker.run_state())
    }

    /// The address of the monitor of a VM, as its last epoch began.
    #[must_use]
    pub fn address(&self, vm: &str) -> Option<&str> {
        self.vms.get(vm).and_then(|tracker| tracker.address())
    }

    /// The state of a VM for rules on states; `None` while it is not known.
    #[must_use]
    pub fn condition(&self, vm: &str) -> Option<Cow<'_, Condition>> {
        self.vms.get(vm).and_then(|tracker| tracker.condition())
    }

    /// The names of all tracked VMs.
    pub fn vms(&self) -> impl Iterator<Item = &str> {
        self.vms.keys().map(|vm| &**vm)
    }

    /// The name and the UUID of a VM, as in [`Self::state`].
    #[must_use]
    pub fn identity(&self, vm: &str) -> (Option<&str>, Option<&str>) {
        self.vms.get(vm).map_or((None, None), |tracker| tracker.identity())
    }

    /// The VMs whose end was not seen, and which have no open epoch.
    #[must_use]
    pub fn unended(&self) -> Vec<UnendedVm> {
        self.vms.iter().filter_map(|(vm, tracker)| tracker.unended(vm)).collect()
    }

    /// Whether the last epoch of a VM ended because its hub was configured to detach from it.
    #[must_use]
    pub fn is_removed(&self, vm: &str) -> bool {
        self.vms.get(vm).is_some_and(|tracker| tracker.is_removed())
    }

    /// The last record of a VM that is not a finding.
    #[must_use]
    pub fn last(&self, vm: &str) -> Option<Id> {
        self.vms.get(vm).and_then(|tracker| tracker.last())
    }

    /// The last record of a VM.
    #[must_use]
    pub fn position(&self, vm: &str) -> Option<Position> {
        self.vms.get(vm).and_then(|tracker| tracker.position())
    }

    /// The records of a VM that are missing in its latest epoch or right before it.
    #[must_use]
    pub fn missing(&self, vm: &str) -> Option<MissingRecords> {
        self.vms.get(vm).and_then(|tracker| tracker.missing())
    }

    /// The records that are missing between the last one of the VM and `record`, which is a later one.
    #[must_use]
    pub fn missing_before(&self, record: &Record<'_>) -> Option<MissingRecords> {
        self.vms.get(record.vm.as_ref()).and_then(|tracker| tracker.missing_before(record))
    }

    /// Takes a VM from other correlators, in place of the VM here.
    pub fn take_vm(&mut self, vm: &str, mut other: Self) {
        if let Some(tracker) = other.vms.remove(vm) {
            self.vms.insert(vm.into(), tracker);
            self.note(vm);
        }
    }

    /// Removes a VM and frees its memory.
    pub fn forget(&mut self, vm: &str) {
        self.vms.remove(vm);
        self.deadlines.remove(vm);
        self.with_questions.remove(vm);
    }

    /// Updates the deadline of a VM, and whether it has questions.
    pub(crate) fn note(&mut self, vm: &str) {
        if self.vms.get(vm).is_some_and(|tracker| tracker.has_questions())
            && !self.with_questions.contains(vm)
        {
            self.with_questions.insert(vm.into());
        }
        match self.vms.get(vm).and_then(|tracker| tracker.deadline()) {
            Some(at) => match self.deadlines.get_mut(vm) {
                Some(known) => *known = at,
                None => drop(self.deadlines.insert(vm.into(), at)),
            },
            None if self.deadlines.is_empty() => {}
            None => drop(self.deadlines.remove(vm)),
        }
    }
}

/// Asserts that the members of all findings are listed.
fn assert_all_listed(found: &[Finding]) {
    found.iter().for_each(|finding| assert_listed(finding.kind, &finding.data));
}
