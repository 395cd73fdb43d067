//! One VM: its records in local time, its correlators, and their findings.

use std::borrow::Cow;
use std::collections::VecDeque;

use qmp_wire::{Body, DetachReason, Offset, Record, UnixMicros};
use serde_json::Value;

use crate::budget::Budget;
use crate::conclusion::Conclusions;
use crate::condition::Condition;
use crate::correlator_set::CorrelatorSet;
use crate::epoch::{PreviousEpoch, Span};
use crate::finding::{Finding, Id};
use crate::kinds::{ANSWERS_AGAIN, SILENT};
use crate::limits::LAST_EVENTS_KEPT;
use crate::local_time::{LocalClock, Moment};
use crate::observation::{self, Event, Observation, ObservationKind, ProcessEnd, Snapshot};
use crate::observation::{COMMAND, QUERY};
use crate::persist::persist;
use crate::position::{self, Position};
use crate::process::Identity;
use crate::question::{Answer, QuestionId};
use crate::recorded;
use crate::state::{Detachment, Explanation, LastEvent, MissingRecords, Silence, VmState};
use crate::unended::UnendedVm;

/// One VM.
#[derive(Debug, Default)]
pub(super) struct VmTracker {
    clock: LocalClock,
    span: Span,
    correlators: CorrelatorSet,
    budget: Budget,
    last_events: VecDeque<LastEvent>,
    detached: Option<Detachment>,
    silence: Option<Silence>,
    /// The run state, with the time at which it began, over gaps.
    condition: Option<Condition>,
    last: Option<Id>,
    /// The last record of any kind.
    position: Option<Position>,
    /// The records that are missing in the span or right before it.
    missing: Option<MissingRecords>,
    /// The explanation by a recorded finding, for a span with missing records.
    recorded: Option<Explanation>,
    /// Questions that were not returned yet.
    questions: Vec<QuestionId>,
    /// Records since the state was saved.
    unsaved: u32,
    /// The first of these records.
    unsaved_from: Option<Offset>,
    /// The last record of any kind, in the journal.
    offset: Option<Offset>,
}

persist!(VmTracker {
    clock, span, correlators, budget, last_events, detached, silence, condition, last, position, missing, recorded, questions,
} without unsaved, unsaved_from, offset);

impl VmTracker {
    pub(super) fn record(&mut self, record: &Record<'_>, found: &mut Vec<Finding>) {
        self.unsaved = self.unsaved.saturating_add(1);
        self.offset = record.offset;
        self.unsaved_from = self.unsaved_from.or(record.offset);
        if let Some(missing) = self.missing_before(record) {
            self.track_afresh(missing, record, found);
        }
        if !record.seq.is_added() {
            self.position = Some(Position::of(record));
        }
        let evidence = observation::evidence(record);
        if let Body::Finding { finding, data, .. } = &record.body
            && evidence.is_none()
        {
            self.take_finding(finding, data.as_deref(), (record.epoch, record.seq));
            self.take_explanation(record);
            return;
        }
        let (now, clock_back) = self.clock.record(record.received);
        self.pass_until(&record.vm, now, found);
        let id = (record.epoch, record.seq);
        let input = |kind| Observation { id, now, received: record.received, clock_back, kind };
        match &record.body {
            Body::Attached { snapshot } => {
                let snapshot = Snapshot::read(snapshot);
                self.attached(id, now, &snapshot);
                self.take(&record.vm, &input(ObservationKind::Attached(&snapshot)), found);
            }
            Body::Event { .. } => {
                if let Some(event) = Event::of(&record.body) {
                    self.keep_event(&event, &input(ObservationKind::Event(&event)));
                    self.take(&record.vm, &input(ObservationKind::Event(&event)), found);
                }
            }
            Body::Detached { reason, detail, .. } => {
                self.span.open = false;
                self.silence = None;
                self.span.certain_until = Some(record.certain_until().unwrap_or(record.received));
                self.take(&record.vm, &input(ObservationKind::Detached(reason, detail.as_deref())), found);
                let counts = self.budget.close();
                found.extend(counts.into_iter().map(|conclusion| conclusion.of(&record.vm, record.received)));
                self.detached(reason, detail.as_deref(), record);
            }
            Body::Finding { causes, .. } => {
                let what = evidence.as_ref().map(|(kind, data)| match *kind {
                    COMMAND => ObservationKind::Command(data),
                    QUERY => ObservationKind::Answer(Answer { causes, data }),
                    _ => ObservationKind::ProcessEnded(ProcessEnd { causes, data }),
                });
                if let Some(what) = what {
                    self.take(&record.vm, &input(what), found);
                }
            }
        }
    }

    /// Takes a finding of the hub about the monitor; other findings are skipped.
    fn take_finding(&mut self, finding: &str, data: Option<&str>, record: Id) {
        if finding == ANSWERS_AGAIN {
            self.silence = None;
        } else if finding == SILENT && self.span.open {
            let data: Value = data.and_then(|data| serde_json::from_str(data).ok()).unwrap_or_default();
            let since = data.get("silent_since").and_then(Value::as_str).and_then(|since| since.parse().ok());
            self.silence = since.map(|since| Silence { record, since });
        }
    }

    /// Drops everything that missing records may have changed: nothing is concluded across them.
    fn track_afresh(&mut self, missing: MissingRecords, record: &Record<'_>, found: &mut Vec<Finding>) {
        // A deadline before the record has passed for every reader.
        let opened_at = self.clock.moment(record.received);
        self.pass_until(&record.vm, opened_at, found);
        let is_same_epoch = missing.after.is_some_and(|(epoch, _)| epoch == record.epoch);
        let snapshot =
            if is_same_epoch { std::mem::take(&mut self.span.snapshot) } else { Snapshot::default() };
        // The process ends with the epoch.
        let open = !recorded::is_end(record);
        self.span = Span { opened_at, open, release: snapshot.release, snapshot, ..Span::default() };
        self.correlators = CorrelatorSet::default();
        if !is_same_epoch {
            self.last_events.clear();
        }
        self.questions.clear();
        (self.last, self.detached, self.silence, self.condition, self.recorded) =
            (None, None, None, None, None);
        self.missing = Some(missing);
    }

    /// Takes the recorded explanation of a state that cannot be concluded again, because records are missing.
    fn take_explanation(&mut self, record: &Record<'_>) {
        if self.missing.is_some()
            && let Some(explanation) = recorded::explanation(record, self.span.open)
        {
            self.recorded = Some(explanation);
        }
    }

    /// Takes the time: everything received before `now` was taken.
    pub(super) fn time_passed(&mut self, vm: &str, now: UnixMicros, found: &mut Vec<Finding>) {
        self.pass_until(vm, self.clock.moment(now), found);
    }

    /// From when on a deadline is overdue, on this host's clock.
    pub(super) fn deadline(&self) -> Option<UnixMicros> {
        let at = [self.correlators.deadline(), self.budget.deadline()].into_iter().flatten().min();
        at.map(|at| self.clock.on_host(at))
    }

    /// The number of records since the state was saved.
    pub(super) const fn unsaved(&self) -> u32 {
        self.unsaved
    }

    /// Resets the number of records since the state was saved.
    pub(super) const fn reset_unsaved(&mut self) {
        (self.unsaved, self.unsaved_from) = (0, None);
    }

    pub(super) fn has_questions(&self) -> bool {
        !self.questions.is_empty()
    }

    /// Returns the questions that are open, each once.
    pub(super) fn questions(&mut self) -> Vec<QuestionId> {
        let mut questions = std::mem::take(&mut self.questions);
        questions.retain(|asked| self.is_open(*asked));
        questions
    }

    /// Whether the answer to this question would be used.
    pub(super) fn is_open(&self, asked: QuestionId) -> bool {
        self.correlators.is_open(asked)
    }

    /// The run state alone.
    pub(super) fn run_state(&self) -> Option<&str> {
        self.correlators.why.status().run_state.as_deref()
    }

    /// The state for rules on states; `None` while it is not known: between two epochs of a VM that may run.
    pub(super) fn condition(&self) -> Option<Cow<'_, Condition>> {
        if let Some(silence) = &self.silence {
            return Some(Cow::Owned(Condition::silent(silence)));
        }
        let status = self.correlators.why.status();
        let is_current = |condition: &&Condition| {
            status.run_state.as_deref().is_some_and(|state| *state == *condition.state)
        };
        let known = self.condition.as_ref().filter(|_| self.span.open || status.is_over());
        known.filter(is_current).map(Cow::Borrowed)
    }

    /// Updates the state for rules after a record, or after deadlines. The same run state continues.
    pub(super) fn follow_condition(&mut self) {
        let status = self.correlators.why.status();
        let (Some(state), Some(since), Some(cause)) = (&status.run_state, status.since, self.last) else {
            return;
        };
        let reason = self.recorded.as_ref().or(status.why.as_ref()).map_or("", |why| &why.summary);
        Condition::follow(&mut self.condition, state, self.clock.on_host(since), cause, reason);
    }

    /// The name and the UUID that the VM reported.
    pub(super) fn identity(&self) -> (Option<&str>, Option<&str>) {
        (self.span.snapshot.name.as_deref(), self.span.snapshot.uuid.as_deref())
    }

    /// The first record since the state was saved, and the last record.
    pub(super) fn unsaved_span(&self) -> Option<(Offset, Offset)> {
        self.unsaved_from.zip(self.offset)
    }

    /// The last record.
    pub(super) const fn position(&self) -> Option<Position> {
        self.position
    }

    /// The records that are missing in the latest epoch or right before it.
    pub(super) const fn missing(&self) -> Option<MissingRecords> {
        self.missing
    }

    /// The records that are missing between the last one and `record`.
    pub(super) fn missing_before(&self, record: &Record<'_>) -> Option<MissingRecords> {
        position::missing_before(record, self.position, self.span.open)
    }

    /// The last record that is not a finding.
    pub(super) const fn last(&self) -> Option<Id> {
        self.last
    }

    /// The facts about a VM whose end was not seen and which has no open epoch. `None` for a VM that was removed.
    pub(super) fn unended(&self, vm: &str) -> Option<UnendedVm> {
        let opened = self.span.opened.filter(|_| !self.span.open)?;
        if self.correlators.why.status().is_over() || self.detached.is_none() || self.is_removed() {
            return None;
        }
        let Snapshot { process, address, .. } = &self.span.snapshot;
        Some(UnendedVm { vm: vm.into(), opened, process: process.clone(), address: address.clone() })
    }

    /// Whether the last epoch ended because its hub was configured to detach from the VM.
    pub(super) fn is_removed(&self) -> bool {
        let removed = DetachReason::Removed;
        self.detached.as_ref().is_some_and(|detached| *detached.reason == *removed.as_str())
    }

    pub(super) fn address(&self) -> Option<&str> {
        self.span.snapshot.address.as_deref()
    }

    pub(super) fn state(&self) -> VmState {
        let why = self.correlators.why.status();
        // The correlators do not know what the missing records said.
        let recorded = self.recorded.as_ref();
        let recorded_state =
            recorded.map(|recorded| recorded.run_state.clone()).filter(|state| !state.is_empty());
        VmState {
            epoch: self.position.map(|position| position.id.0),
            attached: self.span.open,
            detached: self.detached.clone(),
            run_state: recorded_state.or_else(|| why.run_state.clone()),
            is_run_state_assumed: why.assumed,
            run_since: why.since.map(|at| self.clock.on_host(at)),
            why: recorded.or(why.why.as_ref()).cloned(),
            qemu: self.span.snapshot.version.clone(),
            name: self.span.snapshot.name.clone(),
            uuid: self.span.snapshot.uuid.clone(),
            last_events: self.last_events.iter().cloned().collect(),
            jobs: self.correlators.jobs.listed(),
            migration: self.correlators.migration.running(),
            incomplete: self.missing,
            silence: self.silence,
        }
    }

    /// Handles the deadlines before `now`, each at its own moment: the time of the call must not matter.
    fn pass_until(&mut self, vm: &str, now: Moment, found: &mut Vec<Finding>) {
        loop {
            let due = [self.correlators.deadline(), self.budget.deadline()].into_iter().flatten().min();
            let Some(at) = due.filter(|at| *at < now) else { return };
            let mut conclusions = Conclusions::default();
            self.correlators.overdue(at, &self.span, &mut conclusions);
            self.hand_out(vm, at, conclusions, found);
            let mut counts = Vec::new();
            self.budget.overdue(at, &mut counts);
            let on_host = self.clock.on_host(at);
            found.extend(counts.into_iter().map(|conclusion| conclusion.of(vm, on_host)));
        }
    }

    fn attached(&mut self, id: Id, now: Moment, snapshot: &Snapshot) {
        let before = self.last.map(|last| {
            let snapshot = std::mem::take(&mut self.span.snapshot);
            let status = self.correlators.why.status();
            Box::new(PreviousEpoch {
                last,
                opened: self.span.opened,
                snapshot,
                certain_until: self.span.certain_until,
                known: status.known(),
                is_end_seen: status.is_over() || self.missing.is_some(),
            })
        });
        if before.as_ref().is_some_and(|before| before.process_is(snapshot) == Identity::Another) {
            self.condition = None;
        }
        self.missing = self.missing.filter(|missing| missing.before == id);
        self.recorded = None;
        self.span = Span {
            opened: Some(id),
            opened_at: now,
            open: true,
            release: snapshot.release,
            snapshot: snapshot.clone(),
            certain_until: None,
            arrival: snapshot.libvirt.as_ref().and_then(|libvirt| libvirt.arrival()),
            before,
        };
        self.detached = None;
        self.silence = None;
        self.last_events.clear();
    }

    fn take(&mut self, vm: &str, input: &Observation<'_>, found: &mut Vec<Finding>) {
        let mut conclusions = Conclusions::default();
        // Only a VM with missing records has one.
        let recorded =
            self.recorded.take().map(|recorded| (recorded, self.run_state().map(Box::<str>::from)));
        self.correlators.take(input, &self.span, &mut conclusions);
        self.span.before = None;
        if let ObservationKind::Event(event) = &input.kind {
            self.span.end_arrival(event);
        }
        self.last = Some(input.id);
        let is_unchanged = |state: &Option<Box<str>>| self.span.open && self.run_state() == state.as_deref();
        self.recorded = recorded.filter(|(_, state)| is_unchanged(state)).map(|(recorded, _)| recorded);
        self.hand_out(vm, input.now, conclusions, found);
    }

    /// Passes on the findings that the budget allows, and the questions.
    fn hand_out(&mut self, vm: &str, now: Moment, conclusions: Conclusions, found: &mut Vec<Finding>) {
        if !conclusions.questions.is_empty() {
            // A reader that sends no questions never calls `questions`.
            self.questions.retain(|asked| self.correlators.is_open(*asked));
            self.questions.extend(conclusions.questions);
        }
        for conclusion in conclusions.findings {
            if let Some(conclusion) = self.budget.offer(conclusion, now) {
                found.push(conclusion.of(vm, self.clock.on_host(now)));
            }
        }
    }

    fn keep_event(&mut self, event: &Event<'_>, input: &Observation<'_>) {
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
        self.detached = Some(Detachment { reason, detail, at, certain_until });
    }
}
