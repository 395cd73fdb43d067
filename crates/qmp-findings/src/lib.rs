//! Findings: what the records of a VM say when they are read together.
//!
//! Correlators read the records of each VM in the order of the journal and conclude: why it stopped, what a job
//! came to, what should have followed and did not. They are pure. Time comes from the records alone, and from
//! [`Correlators::time_passed`] for what did *not* happen; a deadline fires at its own moment, however late that
//! is noticed, so that the same records give the same findings on every replay, in any batching.
//!
//! Findings do not feed back: a record that is a finding is passed over. Each VM is tracked on its own, and
//! starts afresh with each epoch: past a doubt nothing may be concluded from what was before it. Only the
//! difference between what was known and what is there then is told.
//!
//! ```text
//! records ─ Tracked (one a VM): local time → input → each correlator → budget → findings
//! ```
//!
//! Every kind, with an example, is in `docs/findings.md`; why it is built this way in `docs/adr/0005-findings.md`.
//! A new correlator is a file in `src/` and its line in `correlator_set.rs`.

mod budget;
mod checkpoint;
mod correlator_set;
mod limits;
mod local_time;
mod observation;
mod question;
mod saved;
pub mod state;
mod subject;
mod text;
mod tracker;

mod clock_steps;
mod drift;
mod interrupted;
mod jobs;
mod migration;
mod powerdown;
mod sequels;
mod storms;
mod unplug;
mod unplug_ignored;
mod unseen;
mod why;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use qmp_wire::{Body, Causes, Epoch, Record, Seq, UnixMicros};
use serde_json::{Map, Value};

pub use checkpoint::SavedState;
pub use limits::*;
pub use observation::is_evidence;
pub use question::Question;
use tracker::Tracked;

use crate::state::VmState;

/// Every kind of finding.
pub const KINDS: [&str; 21] = [
    clock_steps::CLOCK_STEP,
    storms::FLAPPING,
    storms::FLAPPING_OVER,
    budget::FINDINGS_WITHHELD,
    unplug::HOT_UNPLUG,
    jobs::JOB,
    migration::MIGRATION,
    interrupted::MIGRATION_INTERRUPTED,
    powerdown::POWERDOWN_IGNORED,
    drift::SCHEMA_DRIFT,
    sequels::SEQUEL_MISSING,
    unseen::STATE_CHANGED_UNSEEN,
    storms::STORM,
    storms::STORM_OVER,
    ANSWERS_AGAIN,
    SILENT,
    unplug_ignored::UNPLUG_IGNORED,
    why::WHY_ENDED,
    why::WHY_PAUSED,
    why::WHY_RESET,
    why::WHY_SUSPENDED,
];

/// The kind of the finding that a monitor does not answer. The hub draws it, which knows when it asked.
pub const SILENT: &str = "silent";

/// The kind of the finding that it answers again.
pub const ANSWERS_AGAIN: &str = "answers-again";

/// The kind of the record of a command that the hub passed on: `{"execute": …, "client": …}` in its data. It is no
/// conclusion, and evidence to those who draw some.
pub const COMMAND: &str = "command";

/// The kind of the record of how a VM's process ended: `{"pid": …, "exit_code": …}` or `{"pid": …, "signal": …,
/// "core_dumped": …}` in its data. It is no conclusion, either.
pub const PROCESS_ENDED: &str = "process-ended";

/// The kind of the record of what a VM answered to a [`Question`]: `{"execute": …, "return": …}` in its data, or
/// `"error": {"class": …, "desc": …}` in the place of `return`. Its cause is the record that raised the question. It is
/// evidence, not a conclusion.
pub const QUERY: &str = "query";

/// Epoch and number of a record: with its VM, its identity.
pub type Id = (Epoch, Seq);

/// A conclusion.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The VM that it is about.
    pub vm: Box<str>,
    /// One of [`KINDS`].
    pub kind: &'static str,
    /// One sentence for people.
    pub summary: String,
    /// The records from which it was concluded, in order, at least one.
    pub causes: Causes,
    /// The same for programs.
    pub data: Map<String, Value>,
    /// When it could be concluded, on this host's clock: when its last cause was received, or when the time ran
    /// out in which something had to come. It is the time of receipt of its record.
    pub at: UnixMicros,
}

impl Finding {
    /// The finding as the body of a record.
    #[must_use]
    pub fn body(&self) -> Body<'_> {
        Body::Finding {
            finding: self.kind.into(),
            summary: self.summary.as_str().into(),
            causes: self.causes.clone(),
            data: (!self.data.is_empty()).then(|| Value::Object(self.data.clone()).to_string().into()),
        }
    }
}

/// The correlators of all VMs.
#[derive(Debug, Default)]
pub struct Correlators {
    /// Boxed, because a table that grows has room for twice as many.
    vms: HashMap<Box<str>, Box<Tracked>>,
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
        tracked.record(record, found);
        self.note(&record.vm);
    }

    /// Says that everything received before `now` was handed in, so that what is overdue by then will not come.
    pub fn time_passed(&mut self, now: UnixMicros, found: &mut Vec<Finding>) {
        let overdue: Vec<Box<str>> =
            self.waiting.iter().filter(|(_, at)| **at < now).map(|(vm, _)| vm.clone()).collect();
        for vm in overdue {
            if let Some(tracked) = self.vms.get_mut(&vm) {
                tracked.time_passed(&vm, now, found);
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
    fn note(&mut self, vm: &str) {
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

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
