//! The correlators of all VMs: records and time in, findings, questions and states out.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use qmp_wire::{Record, UnixMicros};

use crate::finding::{Finding, Id};
use crate::members::assert_listed;
use crate::question::Question;
use crate::state::VmState;
use crate::tracker::Tracked;
use crate::unended::Unended;

/// The correlators of all VMs.
#[derive(Debug, Default)]
pub struct Correlators {
    /// Boxed, because a table that grows has room for twice as many.
    pub(crate) vms: HashMap<Box<str>, Box<Tracked>>,
    /// The VMs that wait for something, with the moment from which it is overdue, on this host's clock.
    waiting: BTreeMap<Box<str>, UnixMicros>,
    /// The VMs with questions that [`Self::questions`] has not handed out.
    asking: BTreeSet<Box<str>>,
}

impl Correlators {
    /// Correlators that have seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next record of the journal and appends what it leads to. Findings are passed over.
    pub fn record(&mut self, record: &Record<'_>, found: &mut Vec<Finding>) {
        if !self.vms.contains_key(record.vm.as_ref()) {
            self.vms.insert(record.vm.as_ref().into(), Box::default());
        }
        let Some(tracked) = self.vms.get_mut(record.vm.as_ref()) else { return };
        let before = found.len();
        tracked.record(record, found);
        listed(&found[before..]);
        self.note(&record.vm);
    }

    /// Says that everything received before `now` was handed in, so that what is overdue by then will not come.
    pub fn time_passed(&mut self, now: UnixMicros, found: &mut Vec<Finding>) {
        let overdue: Vec<Box<str>> =
            self.waiting.iter().filter(|(_, at)| **at < now).map(|(vm, _)| vm.clone()).collect();
        for vm in overdue {
            if let Some(tracked) = self.vms.get_mut(&vm) {
                let before = found.len();
                tracked.time_passed(&vm, now, found);
                listed(&found[before..]);
            }
            self.note(&vm);
        }
    }

    /// The moment after which [`Self::time_passed`] will have something to say; `None` if nothing is waited for.
    #[must_use]
    pub fn deadline(&self) -> Option<UnixMicros> {
        self.waiting.values().min().copied()
    }

    /// Hands out the questions that were raised since the last call, each once.
    ///
    /// A question stays open until its answer is recorded, an event explains what it is about, or its time is over: see
    /// [`Self::is_open`].
    pub fn questions(&mut self) -> Vec<Question> {
        let mut questions = Vec::new();
        for vm in std::mem::take(&mut self.asking) {
            let asked = self.vms.get_mut(&vm).map(|tracked| tracked.questions()).unwrap_or_default();
            let of_vm = |(execute, cause)| Question { vm: vm.clone(), execute, cause };
            questions.extend(asked.into_iter().map(of_vm));
        }
        questions
    }

    /// Whether the answer to this question would still be used.
    #[must_use]
    pub fn is_open(&self, question: &Question) -> bool {
        let tracked = self.vms.get(&question.vm);
        tracked.is_some_and(|tracked| tracked.is_open((question.execute, question.cause)))
    }

    /// Whether records of that VM were seen.
    #[must_use]
    pub fn knows(&self, vm: &str) -> bool {
        self.vms.contains_key(vm)
    }

    /// Whether something is waited for in that VM.
    #[must_use]
    pub fn is_waiting_for(&self, vm: &str) -> bool {
        self.waiting.contains_key(vm)
    }

    /// Lets all deadlines of a VM pass, for one whose findings are known.
    pub fn settle(&mut self, vm: &str) {
        if let Some(tracked) = self.vms.get_mut(vm) {
            tracked.time_passed(vm, UnixMicros(i64::MAX), &mut Vec::new());
        }
        self.note(vm);
    }

    /// Takes note of a VM of which there is no record.
    pub fn know(&mut self, vm: &str) {
        self.vms.entry(vm.into()).or_default();
    }

    /// How many VMs are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.vms.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vms.is_empty()
    }

    /// What is known about a VM.
    #[must_use]
    pub fn state(&self, vm: &str) -> Option<VmState> {
        self.vms.get(vm).map(|tracked| tracked.state())
    }

    /// The run state of a VM, as in [`Self::state`].
    #[must_use]
    pub fn run_state(&self, vm: &str) -> Option<&str> {
        self.vms.get(vm).and_then(|tracked| tracked.run_state())
    }

    /// The VMs that were not seen to end, and of which no epoch is open.
    #[must_use]
    pub fn unended(&self) -> Vec<Unended> {
        self.vms.iter().filter_map(|(vm, tracked)| tracked.unended(vm)).collect()
    }

    /// The last record of a VM, findings aside.
    #[must_use]
    pub fn last(&self, vm: &str) -> Option<Id> {
        self.vms.get(vm).and_then(|tracked| tracked.last())
    }

    /// Forgets a VM, and gives its memory back.
    pub fn forget(&mut self, vm: &str) {
        self.vms.remove(vm);
        self.waiting.remove(vm);
        self.asking.remove(vm);
    }

    /// Notes the deadline of a VM, and whether it has questions.
    pub(crate) fn note(&mut self, vm: &str) {
        if self.vms.get(vm).is_some_and(|tracked| tracked.has_questions()) && !self.asking.contains(vm) {
            self.asking.insert(vm.into());
        }
        match self.vms.get(vm).and_then(|tracked| tracked.deadline()) {
            Some(at) => match self.waiting.get_mut(vm) {
                Some(known) => *known = at,
                None => drop(self.waiting.insert(vm.into(), at)),
            },
            None if self.waiting.is_empty() => {}
            None => drop(self.waiting.remove(vm)),
        }
    }
}

/// Asserts that the members of findings are listed.
fn listed(found: &[Finding]) {
    found.iter().for_each(|finding| assert_listed(finding.kind, &finding.data));
}
