//! One VM: its records in local time, its correlators, and what they found.

use std::collections::VecDeque;

use qmp_wire::{Body, DetachReason, Record, UnixMicros};
use serde_json::Value;

use crate::budget::Budget;
use crate::conclusion::Found;
use crate::correlator_set::Registered;
use crate::epoch::{Before, Span};
use crate::finding::{Finding, Id};
use crate::kinds::{ANSWERS_AGAIN, SILENT};
use crate::limits::LAST_EVENTS_KEPT;
use crate::local_time::{LocalClock, Moment};
use crate::observation::{self, Event, Input, ProcessEnd, Snapshot, What};
use crate::observation::{COMMAND, QUERY};
use crate::question::{Answer, Asked};
use crate::saved::saved;
use crate::state::{Detached, LastEvent, Silence, VmState};
use crate::unended::Unended;

/// One VM.
#[derive(Debug, Default)]
pub(super) struct Tracked {
    clock: LocalClock,
    span: Span,
    registered: Registered,
    budget: Budget,
    last_events: VecDeque<LastEvent>,
    detached: Option<Detached>,
    silence: Option<Silence>,
    last: Option<Id>,
    /// Questions that were not handed out.
    questions: Vec<Asked>,
    /// Records since the state was saved.
    unsaved: u32,
}

saved!(Tracked { clock, span, registered, budget, last_events, detached, silence, last, questions } without unsaved);
impl Tracked {
    pub(super) fn record(&mut self, record: &Record<'_>, found: &mut Vec<Finding>) {
        self.unsaved = self.unsaved.saturating_add(1);
        let evidence = observation::evidence(record);
        if let Body::Finding { finding, data, .. } = &record.body
            && evidence.is_none()
        {
            self.hear(finding, data.as_deref(), (record.epoch, record.seq));
            return;
        }
        let (now, clock_back) = self.clock.record(record.received);
        self.pass_until(&record.vm, now, found);
        let id = (record.epoch, record.seq);
        let input = |what| Input { id, now, received: record.received, clock_back, what };
        match &record.body {
            Body::Attached { snapshot } => {
                let snapshot = Snapshot::read(snapshot);
                self.attached(id, now, &snapshot);
                self.take(&record.vm, &input(What::Attached(&snapshot)), found);
            }
            Body::Event { .. } => {
                if let Some(event) = Event::of(&record.body) {
                    self.keep(&event, &input(What::Event(&event)));
                    self.take(&record.vm, &input(What::Event(&event)), found);
                }
            }
            Body::Detached { reason, detail, .. } => {
                self.span.open = false;
                self.silence = None;
                self.span.certain_until = Some(record.certain_until().unwrap_or(record.received));
                self.take(&record.vm, &input(What::Detached(reason)), found);
                let told = self.budget.close();
                found.extend(told.into_iter().map(|concluded| concluded.of(&record.vm, record.received)));
                self.detached(reason, detail.as_deref(), record);
            }
            Body::Finding { causes, .. } => {
                let what = evidence.as_ref().map(|(kind, data)| match *kind {
                    COMMAND => What::Command(data),
                    QUERY => What::Answer(Answer { causes, data }),
                    _ => What::ProcessEnded(ProcessEnd { causes, data }),
                });
                if let Some(what) = what {
                    self.take(&record.vm, &input(what), found);
                }
            }
        }
    }

    /// Takes what the hub itself found out about the monitor; other findings are passed over.
    fn hear(&mut self, finding: &str, data: Option<&str>, record: Id) {
        if finding == ANSWERS_AGAIN {
            self.silence = None;
        } else if finding == SILENT && self.span.open {
            let data: Value = data.and_then(|data| serde_json::from_str(data).ok()).unwrap_or_default();
            let since = data.get("silent_since").and_then(Value::as_str).and_then(|since| since.parse().ok());
            self.silence = since.map(|since| Silence { record, since });
        }
    }

    /// Everything received before `now` was handed in.
    pub(super) fn time_passed(&mut self, vm: &str, now: UnixMicros, found: &mut Vec<Finding>) {
        self.pass_until(vm, self.clock.moment(now), found);
    }

    /// From when on something is overdue, on this host's clock.
    pub(super) fn deadline(&self) -> Option<UnixMicros> {
        let at = [self.registered.deadline(), self.budget.deadline()].into_iter().flatten().min();
        at.map(|at| self.clock.on_host(at))
    }

    /// Records since the state was saved.
    pub(super) const fn unsaved(&self) -> u32 {
        self.unsaved
    }

    /// The state was saved.
    pub(super) const fn now_saved(&mut self) {
        self.unsaved = 0;
    }

    pub(super) fn has_questions(&self) -> bool {
        !self.questions.is_empty()
    }

    /// Hands out the questions that are open, each once.
    pub(super) fn questions(&mut self) -> Vec<Asked> {
        let mut questions = std::mem::take(&mut self.questions);
        questions.retain(|asked| self.is_open(*asked));
        questions
    }

    /// Whether the answer to this question would be used.
    pub(super) fn is_open(&self, asked: Asked) -> bool {
        self.registered.is_open(asked)
    }

    /// The run state alone.
    pub(super) fn run_state(&self) -> Option<&str> {
        self.registered.why.standing().run_state.as_deref()
    }

    /// The last record, findings aside.
    pub(super) const fn last(&self) -> Option<Id> {
        self.last
    }

    /// What is known of a VM that was not seen to end, and of which no epoch is open. One that was removed is not looked
    /// for.
    pub(super) fn unended(&self, vm: &str) -> Option<Unended> {
        let opened = self.span.opened.filter(|_| !self.span.open)?;
        let is_removed = |detached: &Detached| &*detached.reason == DetachReason::Removed.as_str();
        if self.registered.why.standing().is_over() || self.detached.as_ref().is_none_or(is_removed) {
            return None;
        }
        let Snapshot { process, address, .. } = &self.span.snapshot;
        Some(Unended { vm: vm.into(), opened, process: process.clone(), address: address.clone() })
    }

    pub(super) fn state(&self) -> VmState {
        let why = self.registered.why.standing();
        VmState {
            epoch: self.span.opened.map(|(epoch, _)| epoch),
            attached: self.span.open,
            detached: self.detached.clone(),
            run_state: why.run_state.clone(),
            is_run_state_assumed: why.assumed,
            run_since: why.since.map(|at| self.clock.on_host(at)),
            why: why.why.clone(),
            qemu: self.span.snapshot.version.clone(),
            name: self.span.snapshot.name.clone(),
            uuid: self.span.snapshot.uuid.clone(),
            last_events: self.last_events.iter().cloned().collect(),
            jobs: self.registered.jobs.listed(),
            migration: self.registered.migration.running(),
            silence: self.silence,
        }
    }

    /// Deals with the deadlines before `now`, each at its own moment: when that is noticed must not matter.
    fn pass_until(&mut self, vm: &str, now: Moment, found: &mut Vec<Finding>) {
        loop {
            let due = [self.registered.deadline(), self.budget.deadline()].into_iter().flatten().min();
            let Some(at) = due.filter(|at| *at < now) else { return };
            let mut concluded = Found::default();
            self.registered.overdue(at, &self.span, &mut concluded);
            self.hand_out(vm, at, concluded, found);
            let mut told = Vec::new();
            self.budget.overdue(at, &mut told);
            let on_host = self.clock.on_host(at);
            found.extend(told.into_iter().map(|concluded| concluded.of(vm, on_host)));
        }
    }

    fn attached(&mut self, id: Id, now: Moment, snapshot: &Snapshot) {
        let before = self.last.map(|last| {
            let snapshot = std::mem::take(&mut self.span.snapshot);
            let standing = self.registered.why.standing();
            Box::new(Before {
                last,
                opened: self.span.opened,
                snapshot,
                certain_until: self.span.certain_until,
                known: standing.known(),
                is_end_seen: standing.is_over(),
            })
        });
        self.span = Span {
            opened: Some(id),
            opened_at: now,
            open: true,
            release: snapshot.release,
            snapshot: snapshot.clone(),
            certain_until: None,
            before,
        };
        self.detached = None;
        self.silence = None;
        self.last_events.clear();
    }

    fn take(&mut self, vm: &str, input: &Input<'_>, found: &mut Vec<Finding>) {
        let mut concluded = Found::default();
        self.registered.take(input, &self.span, &mut concluded);
        self.span.before = None;
        self.last = Some(input.id);
        self.hand_out(vm, input.now, concluded, found);
    }

    /// Lets pass what the budget allows.
    fn hand_out(&mut self, vm: &str, now: Moment, concluded: Found, found: &mut Vec<Finding>) {
        if !concluded.questions.is_empty() {
            // A reader that asks nobody never takes them out.
            self.questions.retain(|asked| self.registered.is_open(*asked));
            self.questions.extend(concluded.questions);
        }
        for concluded in concluded.findings {
            if let Some(concluded) = self.budget.offer(concluded, now) {
                found.push(concluded.of(vm, self.clock.on_host(now)));
            }
        }
    }

    fn keep(&mut self, event: &Event<'_>, input: &Input<'_>) {
        if self.last_events.len() >= LAST_EVENTS_KEPT {
            self.last_events.pop_front();
        }
        let (epoch, seq) = input.id;
        self.last_events.push_back(LastEvent {
            event: event.name.into(),
            epoch,
            seq,
            received: input.received,
        });
    }

    fn detached(&mut self, reason: &DetachReason, detail: Option<&str>, record: &Record<'_>) {
        let detail = detail.filter(|detail| *detail != reason.as_str()).map(Box::from);
        let (at, reason) = (record.received, reason.as_str().into());
        let certain_until = self.span.certain_until.unwrap_or(at);
        self.detached = Some(Detached { reason, detail, at, certain_until });
    }
}
