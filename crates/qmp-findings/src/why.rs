//! Why a VM stopped, was reset, went to sleep, or ended; and its run state.
//!
//! QEMU gives the reason of SHUTDOWN and RESET, but none of STOP. A STOP is explained by the event right before it:
//! `BLOCK_IO_ERROR`, `GUEST_PANICKED`, WATCHDOG, SHUTDOWN. Without such an event, the VM is asked for its run state;
//! without an answer the cause is unknown. Some causes may be received after their consequence, and are awaited, each
//! for a short time: a WATCHDOG or `BLOCK_IO_ERROR` that the rate limit held back, the event of a migration that took
//! the VM over, and the hub's own records: of the command that was given through the hub, of the answer, and of how the
//! process ended.
//!
//! An end or a reset of a VM that was already stopped is caused by what had stopped it: see `after.rs`.
//!
//! Source: `docs/events.md`; the orders of events were observed on QEMU 7.2 and 11.1.

mod kinds;
mod run_states;
mod command;
mod evidence;
mod causing_command;
mod explanation;
mod exit;
mod continued;
mod status;
mod by_libvirt;
mod after;
mod pending;
mod state_question;
mod ending;
mod explain;
mod memory;
mod gap;
mod stopping;
mod unseen_end;
mod going;

use qmp_events::EventKind as K;
use serde_json::Value;

use crate::conclusion::Conclusions;
use crate::correlator::Correlator;
use crate::epoch::{PreviousEpoch, Span};
use crate::limits::{CAUSE_LEAD_MAX, COMMAND_RECORD_MAX, EXIT_SOON};
use crate::local_time::Moment;
use crate::observation::{Event, LibvirtState, Observation, ObservationKind, Snapshot};
use crate::process::Identity;
use crate::question::{QUERY_STATUS, QuestionId};
use crate::state::Explanation;
use evidence::Mark;
pub(super) use explanation::CAUSES;
pub(super) use kinds::{WHY_ENDED, WHY_PAUSED, WHY_RESET, WHY_SUSPENDED};
pub(super) use memory::Explainer;
use pending::{PendingExplanation, WaitReason, report_pending};
pub use run_states::GONE;
#[cfg(test)]
pub(super) use run_states::names as run_state_names;
use status::Status;

impl Correlator for Explainer {
    fn take(&mut self, input: &Observation<'_>, span: &Span, found: &mut Conclusions) {
        match &input.kind {
            ObservationKind::Attached(snapshot) => self.attached(snapshot, input, span, found),
            ObservationKind::Event(event) => self.event(event, input, span, found),
            ObservationKind::Detached(reason, detail) => self.detached(reason, *detail, input, span, found),
            ObservationKind::Command(command) => self.command(command, input, found),
            ObservationKind::ProcessEnded(end) => self.process_ended(end, input, span, found),
            ObservationKind::Answer(answer) => self.take_answer(answer, input, found),
        }
    }

    fn deadline(&self) -> Option<Moment> {
        self.pending.iter().map(|pending| pending.until).chain(self.question.deadline()).min()
    }

    fn overdue(&mut self, now: Moment, _span: &Span, found: &mut Conclusions) {
        self.question.overdue(now, found);
        self.settle(|pending| pending.until <= now, found);
    }

    fn is_open(&self, (execute, cause): QuestionId) -> bool {
        execute == QUERY_STATUS && self.question.is_open(cause)
    }
}

/// The run states of a VM: those of QEMU, `ended` and `gone`.
pub fn run_states() -> impl Iterator<Item = &'static str> + Clone {
    run_states::names().chain([run_states::ENDED, run_states::GONE])
}

impl Explainer {
    pub(super) fn status(&self) -> &Status {
        &self.status
    }

    fn attached(
        &mut self,
        snapshot: &Snapshot,
        input: &Observation<'_>,
        span: &Span,
        found: &mut Conclusions,
    ) {
        self.settle(|_| true, found);
        let mut earlier = std::mem::take(self);
        let is_another = |before: &&PreviousEpoch| before.process_is(snapshot) == Identity::Another;
        let replaced = span.before.as_deref().filter(is_another);
        let replaced = replaced.and_then(|before| earlier.replaced(before, snapshot, input, found));
        if let Some(status) = &snapshot.migration {
            self.evidence.migration = Some((Mark::of(input, None), status.clone()));
        }
        let paused = || span.before.as_deref().and_then(|before| before.is_still_paused(snapshot));
        let Some(status) = snapshot.status.as_deref().or_else(paused) else {
            if snapshot.libvirt.is_some() {
                // libvirt's state stands for several run states while the domain arrives.
                self.question.ask_again(input.id, 1, input.now);
            }
            return;
        };
        let is_replaced = replaced.is_some();
        let by_libvirt = by_libvirt::found(snapshot, input.id);
        let is_start = snapshot.libvirt.as_ref().is_some_and(LibvirtState::is_start);
        let (first, second) = if is_start { (by_libvirt, replaced) } else { (replaced, by_libvirt) };
        let initial = || explain::initial(status, input.id);
        self.status.set(input.now, first.or(second).unwrap_or_else(initial));
        self.status.found = true;
        if let Some(before) = span.before.as_deref().filter(|_| !is_replaced) {
            self.continue_from(earlier, before, snapshot, input);
        }
        // An incoming migration may take any time, and RESUME ends it.
        if run_states::of(status).passes && status != "inmigrate" {
            self.question.ask_again(input.id, 1, input.now);
        }
    }

    fn event(&mut self, event: &Event<'_>, input: &Observation<'_>, span: &Span, found: &mut Conclusions) {
        let Some(kind) = event.kind else { return };
        if kind == K::Migration && span.arrival.is_some() {
            return self.arrives(event, input);
        }
        let mark = Mark::of(input, event.at);
        self.evidence.note(kind, event, mark);
        match kind {
            K::Stop => self.stop(event, input, span, found),
            // The guest was woken before a STOP that QEMU sent first: a migration wakes it, and then stops the VM.
            K::Wakeup if self.status.is_stopped() => {}
            K::Resume | K::Wakeup => self.resumed(kind, input, found),
            K::Reset => self.reset(event, input, span, found),
            K::Suspend => {
                self.set_status(input.now, explain::suspended(input.id));
                self.report_status(WHY_SUSPENDED, found);
            }
            K::Shutdown => {
                // The stop before it was the first step of the end, if QEMU ends.
                for pending in
                    self.pending.iter_mut().filter(|pending| pending.wait_reason == WaitReason::Stay)
                {
                    pending.until = input.now.after(EXIT_SOON);
                }
                if self.status.run_state.as_deref().is_some_and(|state| state != "running") {
                    // With `-no-shutdown` QEMU stays, and sends no STOP if the VM is already stopped.
                    self.question.ask_again(input.id, 1, input.now);
                }
            }
            K::Watchdog | K::BlockIoError => self.late_cause(kind, event, input, found),
            K::Migration => self.migration(event, input, found),
            K::GuestPanicked if event.text("action") == Some("run") => {
                self.panicked_and_runs(mark, explain::panicked_and_runs(input.id));
            }
            K::GuestCrashloaded => self.panicked_and_runs(mark, explain::crash_kernel(input.id)),
            _ => {}
        }
    }

    fn panicked_and_runs(&mut self, mark: Mark, explanation: Explanation) {
        self.evidence.left_running = Some(Box::new((mark, explanation.clone())));
        if self.status.run_state.as_deref() == Some("running") {
            self.status.explain(explanation);
        }
    }

    /// Takes an event of the migration by which libvirt restores a domain or moves it to here. libvirt knows the state then.
    fn arrives(&mut self, event: &Event<'_>, input: &Observation<'_>) {
        if event.text("status") == Some("completed") && self.status.run_state.is_none() {
            self.question.ask_again(input.id, 1, input.now);
        }
    }

    fn resumed(&mut self, kind: K, input: &Observation<'_>, found: &mut Conclusions) {
        self.settle(|pending| pending.consequence == K::Stop && !pending.is_open(), found);
        self.hurry_stops(input.now);
        self.evidence.clear_stops();
        if self.status.found
            && self.status.is_running()
            && let Some(why) = self.status.why.as_mut().filter(|why| why.by != "unknown")
        {
            // libvirt's state, which was queried later, already shows this event and explains it.
            why.causes.push(input.id);
            return self.evidence.arrive();
        }
        if self.status.run_state.as_deref() == Some("prelaunch")
            && let Some(reset) = &mut self.evidence.reset
        {
            reset.now = input.now;
        }
        let arrived = self.arrived(kind, input);
        let explanation = arrived.unwrap_or_else(|| explain::running(kind, &self.evidence, input));
        self.evidence.arrive();
        if explanation.details.contains_key(explanation::COMMAND) {
            // The command that stopped the VM resumes it: its work is done.
            self.evidence.spend_command();
        }
        let is_known = kind == K::Wakeup || explanation.by != "unknown";
        self.set_status(input.now, explanation);
        if !is_known {
            self.question.ask(input.id, input.now, found);
        }
    }

    /// The explanation of the RESUME of a VM whose incoming migration is done, or has switched over to it.
    fn arrived(&self, kind: K, input: &Observation<'_>) -> Option<Explanation> {
        let waited =
            self.status.why.as_ref().filter(|_| self.status.run_state.as_deref() == Some("inmigrate"));
        let (waited, (migration, status)) = waited.zip(self.evidence.migration.as_ref())?;
        let is_done = &**status == "completed" && input.now.since(migration.now) <= CAUSE_LEAD_MAX;
        let is_it = kind == K::Resume && (is_done || self.evidence.is_migrating());
        (is_it && self.evidence.resuming(input.now).is_none())
            .then(|| explain::arrived(&waited.causes, *migration, input.id))
    }

    /// Shortens the wait for answers about a STOP, because the state of the VM changed. The record of a command may
    /// still explain it: a command that stops the VM for its own work is recorded when that is done.
    fn hurry_stops(&mut self, now: Moment) {
        let soon = now.after(COMMAND_RECORD_MAX);
        for pending in self.pending.iter_mut().filter(|pending| pending.is_open()) {
            pending.until = pending.until.min(soon);
        }
    }

    /// Takes a command that was given through the hub: it may explain a pending conclusion, or a recent change.
    fn command(&mut self, data: &Value, input: &Observation<'_>, found: &mut Conclusions) {
        let Some(name) = data.get("execute").and_then(Value::as_str) else { return };
        self.evidence.command(name, data, Mark::of(input, None));
        if self.evidence.command.as_ref().is_none_or(|(mark, _)| mark.id != input.id) {
            return;
        }
        self.ask_about_migrate(input);
        let resumed = self.resumed_by_command(input);
        let explains = |pending: &PendingExplanation| self.evidence.explains(pending, input.now).is_some();
        let explained = self.pending.iter().position(explains).map(|index| {
            let mut pending = self.pending.remove(index);
            let before = pending.explanation();
            if let Some(given) = self.evidence.explains(&pending, input.now) {
                explanation::name_client(&mut pending.guess, given);
            }
            (pending, before)
        });
        if resumed || explained.is_some() {
            self.evidence.spend_command();
        }
        let Some((pending, before)) = explained else { return };
        let is_current = self.replace(&before, &pending.explanation());
        if is_current && pending.guess.cause == "host-stop" {
            self.status.assumed = false;
            self.question.close();
        }
        if pending.wait_reason == WaitReason::Exit {
            self.pending.push(pending);
        } else {
            report_pending(&pending, found);
        }
    }

    /// Asks for the run state of a stopped VM that a recorded `migrate` takes away: no event tells of its end.
    fn ask_about_migrate(&mut self, input: &Observation<'_>) {
        let is_migrate = self.evidence.migrate.as_ref().is_some_and(|(mark, _)| mark.id == input.id);
        let is_asked = self.pending.iter().any(PendingExplanation::is_open);
        if is_migrate && self.status.is_stopped() && !self.status.is_over() && !is_asked {
            self.question.ask_again(input.id, 1, input.now);
        }
    }

    fn resumed_by_command(&mut self, input: &Observation<'_>) -> bool {
        let resumed_at = self.status.explained_at;
        let Some(given) = self.evidence.resumed(resumed_at, input.now) else { return false };
        // The time that the command took decides; the record may be late, because the journal stalled.
        let is_recent = given.command.took.is_some() || input.now.since(resumed_at) <= COMMAND_RECORD_MAX;
        let is_running = self.status.is_running();
        let may_be_its = |why: &&mut Explanation| match why.cause {
            "resume" => why.by == "unknown",
            // With `-S`, a VM that arrived is paused until then.
            cause => cause == "incoming-migration" && is_running,
        };
        let resumed = self.status.why.as_mut().filter(may_be_its);
        let Some(why) = resumed.filter(|_| is_recent) else { return false };
        explanation::name_client(why, given);
        self.question.close();
        true
    }

    /// Reports pending conclusions with the facts known so far.
    fn settle(&mut self, is_due: impl Fn(&PendingExplanation) -> bool, found: &mut Conclusions) {
        let (due, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.pending).into_iter().partition(is_due);
        self.pending = rest;
        for mut pending in due.into_iter().filter(|pending| pending.wait_reason != WaitReason::HeldBack) {
            if pending.wait_reason == WaitReason::Migration {
                // No event of the migration that could have been the reason was received.
                let (explanation, _) = explain::plain_stop(&self.evidence, pending.mark);
                self.replace(&pending.guess, &explanation);
                pending.guess = explanation;
            }
            report_pending(&pending, found);
            if pending.wait_reason == WaitReason::Exit {
                self.reported_end = Some(Box::new(pending));
            }
        }
    }

    /// Corrects the explanation of the run state, if it is still the current one; returns whether it is.
    fn replace(&mut self, before: &Explanation, after: &Explanation) -> bool {
        let is_current = self.status.why.as_ref() == Some(before);
        if is_current {
            self.status.why = Some(after.clone());
            self.status.run_state = Some(after.run_state.clone());
        }
        is_current
    }

    fn set_status(&mut self, now: Moment, explanation: Explanation) {
        self.status.set(now, explanation);
        self.question.close();
    }

    fn report_status(&self, kind: &'static str, found: &mut Conclusions) {
        if let Some(explanation) = &self.status.why {
            explanation::report(kind, explanation, found);
        }
    }
}
