//! STOP: the events that explain it, and the VM's answer without one.

use qmp_events::EventKind as K;

use super::evidence::{Evidence, Mark};
use super::kinds::WHY_PAUSED;
use super::memory::Explainer;
use super::pending::{Hold, PendingExplanation, WaitReason, report_pending};
use super::{by_libvirt, ending, explain, run_states};
use crate::conclusion::Conclusions;
use crate::epoch::Span;
use crate::finding::Id;
use crate::libvirt::DomainWords;
use crate::limits::{ANSWER_MAX, CAUSE_LEAD_MAX, COMMAND_RECORD_MAX};
use crate::local_time::Moment;
use crate::observation::{Event, Observation};
use crate::question::{Answer, QUERY_STATUS};
use crate::state::Explanation;

impl Explainer {
    pub(super) fn stop(
        &mut self,
        event: &Event<'_>,
        input: &Observation<'_>,
        span: &Span,
        found: &mut Conclusions,
    ) {
        self.settle(|pending| pending.consequence == K::Stop, found);
        let mark = Mark::of(input, event.at);
        let (explanation, hold) = self.explain_stop(mark);
        self.set_status(input.now, explanation.clone());
        self.status.assumed = explanation.cause == "save-vm" || explanation.cause == "restore-vm";
        if self.status.assumed {
            self.question.ask(mark.id, input.now, found);
        }
        let Hold::For(wait_reason, wait_max) = hold else {
            self.report_status(WHY_PAUSED, found);
            return;
        };
        let mut pending = PendingExplanation::new(K::Stop, mark, explanation, wait_reason, wait_max);
        if pending.is_open() {
            let held_back = self.evidence.hold(mark, span).unwrap_or_default();
            pending.may_come_until = mark.now.after(held_back);
            self.status.assumed = true;
            self.question.ask(mark.id, input.now, found);
        }
        self.pending.push(pending);
    }

    fn explain_stop(&mut self, stop: Mark) -> (Explanation, Hold) {
        let is_recent = |mark: &Mark| stop.now.since(mark.now) <= CAUSE_LEAD_MAX;
        if let Some((mark, members)) = self.evidence.shutdown.take_if(|(mark, _)| is_recent(mark)) {
            return (ending::shutdown(&self.evidence, mark, &members, Some(stop.id), None), Hold::No);
        }
        let panic = self.evidence.panic.as_ref().filter(|(mark, _)| is_recent(mark));
        let io_error = self.evidence.io_error.as_ref().filter(|(mark, _)| is_recent(mark));
        let paused = |(mark, action): &&(Mark, Box<str>)| is_recent(mark) && &**action == "pause";
        let watchdog = self.evidence.watchdog.as_ref().filter(paused);
        let ids = [
            panic.map(|(mark, _)| mark.id),
            io_error.map(|(mark, _)| mark.id),
            watchdog.map(|(mark, _)| mark.id),
        ];
        let latest = ids.into_iter().flatten().max();
        let is_latest = |mark: &Mark| Some(mark.id) == latest;
        if let Some((mark, members)) = panic.filter(|(mark, _)| is_latest(mark)) {
            let ends = members.action.as_deref() == Some("poweroff");
            return (
                explain::panic(mark.id, members, stop.id),
                if ends { Hold::UNLESS_ENDS } else { Hold::No },
            );
        }
        if let Some((mark, members)) = io_error.filter(|(mark, _)| is_latest(mark)) {
            return (explain::io_error(mark.id, members, stop.id), Hold::No);
        }
        if let Some((mark, _)) = watchdog {
            return (explain::watchdog_pause(mark.id, stop.id), Hold::No);
        }
        if self.evidence.is_migrating() {
            // With COLO the VM stops at every checkpoint.
            let reason = if self.evidence.is_colo() { WaitReason::Record } else { WaitReason::Migration };
            return (explain::switchover(&self.evidence, stop.id), Hold::For(reason, ANSWER_MAX));
        }
        match explain::plain_stop(&self.evidence, stop) {
            (explanation, true) => (explanation, Hold::No),
            (explanation, false) => (explanation, Hold::For(WaitReason::Answer, ANSWER_MAX)),
        }
    }

    /// Takes the VM's answer about its run state, or the failure to get one.
    pub(super) fn take_answer(
        &mut self,
        answer: &Answer<'_>,
        input: &Observation<'_>,
        found: &mut Conclusions,
    ) {
        let asked_again = self.question.take_answered(|cause| answer.is_to((QUERY_STATUS, cause)));
        let returned = answer.returned();
        let domain = returned.and_then(DomainWords::of_answer);
        let status = match domain {
            Some(words) => words.run_state(),
            None => returned.and_then(|returned| returned.get("status")?.as_str()),
        };
        let Some(again) = asked_again else { return self.take_probe_reply(status, input) };
        if status.is_some()
            && self.evidence.shutdown.as_ref().is_some_and(|(mark, _)| answer.causes.contains(&mark.id))
        {
            // QEMU stays after SHUTDOWN: a QEMU that exits answers nothing any more.
            self.evidence.shutdown = None;
        }
        let run_state = self.status.run_state.as_deref();
        match status {
            // The VM migrates or arrives: an event or a later answer tells more.
            None if domain.is_some() => {
                if run_state.is_none() {
                    self.question.ask_again(input.id, again + 1, input.now);
                }
            }
            // The VM will not answer.
            None => self.hurry(|pending| pending.mark.now.after(COMMAND_RECORD_MAX), input, found),
            Some("running") if run_state == Some("running") => {
                self.status.assumed = false;
                self.explain_running(domain, input);
            }
            // libvirt knows no reason: QEMU was stopped by another client of its monitor.
            Some("paused")
                if domain.is_some_and(|words| words.explained().is_none()) && run_state == Some("paused") =>
            {
                self.hurry(|pending| pending.mark.now.after(COMMAND_RECORD_MAX), input, found);
            }
            // The VM runs already, and its RESUME follows.
            Some("running") => self.hurry(|_| input.now.after(COMMAND_RECORD_MAX), input, found),
            Some(status) => {
                if self.status.sure_state() != Some(status) {
                    self.apply_answer(status, domain, input, found);
                }
                let is_at_work = status != "postmigrate" && self.evidence.may_be_migrating(input.now);
                if run_states::of(status).passes || is_at_work {
                    self.question.ask_again(input.id, again + 1, input.now);
                }
            }
        }
    }

    /// Explains a RESUME that no record explains by libvirt's reason.
    fn explain_running(&mut self, domain: Option<DomainWords<'_>>, input: &Observation<'_>) {
        let Some(why) = self.status.why.as_ref().filter(|why| why.by == "unknown") else { return };
        let causes = why.causes.iter().copied().chain([input.id]);
        if let Some(explained) = domain.and_then(|words| by_libvirt::reason(words, "running", causes)) {
            self.status.explain(explained);
        }
    }

    /// Takes the run state that the VM named in reply to a probe, without a question. A run state other than the known
    /// one was entered without an event.
    fn take_probe_reply(&mut self, status: Option<&str>, input: &Observation<'_>) {
        let Some(status) = status else { return };
        let is_known = self.status.run_state.as_deref() == Some(status);
        if is_known || self.status.is_over() || self.pending.iter().any(PendingExplanation::is_open) {
            return;
        }
        let before = self.status.why.as_ref().map(|why| why.causes.clone()).unwrap_or_default();
        let explanation = explain::probed(self.explain_answer(status, None, before, input), status);
        self.evidence.arrive();
        self.set_status(input.now, explanation);
        if run_states::of(status).passes && status != "inmigrate" {
            self.question.ask_again(input.id, 1, input.now);
        }
    }

    /// The explanation of a run state that the VM named and no event explains.
    fn explain_answer(
        &self,
        status: &str,
        domain: Option<DomainWords<'_>>,
        before: Vec<Id>,
        input: &Observation<'_>,
    ) -> Explanation {
        let causes = before.iter().copied().chain([input.id]);
        if let Some(explained) = domain.and_then(|words| by_libvirt::reason(words, status, causes)) {
            return explained;
        }
        if domain.is_some() {
            return by_libvirt::named(explain::answered(&self.evidence, status, before, input.id));
        }
        let is_incoming = self.status.run_state.as_deref() == Some("inmigrate");
        if is_incoming && matches!(status, "paused" | "prelaunch") {
            explain::arrived_stopped(&self.evidence, status, before, input.id)
        } else {
            explain::answered(&self.evidence, status, before, input.id)
        }
    }

    /// Since when the VM has been in the run state that its answer names: since it was stopped, or since the migration
    /// to here completed.
    fn answered_since(&self, now: Moment) -> Option<Moment> {
        if self.status.run_state.as_deref() != Some("inmigrate") {
            return self.status.since.or(Some(now));
        }
        let completed = self.evidence.migration.as_ref().filter(|(_, status)| &**status == "completed");
        Some(completed.map_or(now, |(mark, _)| mark.now))
    }

    /// Sets the run state that the VM named.
    fn apply_answer(
        &mut self,
        status: &str,
        domain: Option<DomainWords<'_>>,
        input: &Observation<'_>,
        found: &mut Conclusions,
    ) {
        let led = self.status.why.as_ref().map(|why| why.causes.clone()).unwrap_or_default();
        let stop = self.pending.iter().find(|pending| pending.is_open() && led.contains(&pending.mark.id));
        let before = stop.map_or(led, |stop| vec![stop.mark.id]);
        let state = run_states::of(status);
        let told = domain.and_then(DomainWords::explained);
        let cause = told.map_or(state.answered.0, |(cause, ..)| cause);
        let is_explained = |why: &&Explanation| why.by != "unknown" && why.cause == cause;
        let explanation = match self.status.why.as_ref().filter(is_explained) {
            Some(why) => explain::confirmed(why, status, input.id),
            None => self.explain_answer(status, domain, before.clone(), input),
        };
        let since = self.answered_since(input.now);
        self.status.set(input.now, explanation.clone());
        self.status.since = since;
        let is_its =
            |pending: &&mut PendingExplanation| pending.is_open() && before.contains(&pending.mark.id);
        for pending in self.pending.iter_mut().filter(is_its) {
            pending.guess = explanation.clone();
            pending.wait_reason = WaitReason::Answer;
        }
        let is_paused = status == "paused" && told.is_none();
        let for_command = |pending: &PendingExplanation| pending.mark.now.after(COMMAND_RECORD_MAX);
        let held_back = |pending: &PendingExplanation| pending.may_come_until;
        self.hurry(|pending| if is_paused { for_command(pending) } else { held_back(pending) }, input, found);
    }

    /// Shortens the wait of a STOP to `until`.
    fn hurry(
        &mut self,
        until: impl Fn(&PendingExplanation) -> Moment,
        input: &Observation<'_>,
        found: &mut Conclusions,
    ) {
        for pending in self.pending.iter_mut().filter(|pending| pending.is_open()) {
            pending.until = pending.until.min(until(pending));
        }
        self.settle(|pending| pending.is_open() && pending.until <= input.now, found);
    }

    /// Takes a cause that the rate limit held back until after its consequence.
    pub(super) fn late_cause(
        &mut self,
        kind: K,
        event: &Event<'_>,
        input: &Observation<'_>,
        found: &mut Conclusions,
    ) {
        let consequence = match (kind, event.text("action")) {
            (K::Watchdog, Some("pause")) | (K::BlockIoError, Some("stop")) => K::Stop,
            (K::Watchdog, Some("reset")) => K::Reset,
            _ => return,
        };
        let is_its = |pending: &PendingExplanation| {
            let is_older = event.at.zip(pending.mark.at).is_some_and(|(cause, then)| cause <= then);
            let is_explained_by_it = match consequence {
                K::Stop => pending.is_open() && pending.may_come_until >= input.now,
                _ => pending.guess.cause == "guest-reset",
            };
            pending.consequence == consequence && is_explained_by_it && is_older
        };
        let Some(index) = self.pending.iter().position(is_its) else { return };
        let mut pending = self.pending.remove(index);
        let before = pending.explanation();
        pending.guess = match (kind, consequence) {
            (K::Watchdog, K::Stop) => explain::watchdog_pause(input.id, pending.mark.id),
            (K::Watchdog, _) => explain::watchdog_reset(input.id, pending.mark.id, &pending.guess.run_state),
            _ => match self.evidence.io_error.take() {
                Some((_, members)) => explain::io_error(input.id, &members, pending.mark.id),
                None => return,
            },
        };
        if self.replace(&before, &pending.explanation()) && consequence == K::Stop {
            self.status.assumed = false;
            self.question.close();
        }
        report_pending(&pending, found);
    }

    pub(super) fn migration(&mut self, event: &Event<'_>, input: &Observation<'_>, found: &mut Conclusions) {
        let status = event.text("status").unwrap_or_default();
        if self.evidence.migration.is_none() {
            // The end of a snapshot.
            return;
        }
        if matches!(status, "device" | "colo" | "completed" | "postcopy-active" | "pre-switchover") {
            self.confirm_migration(input, found);
        }
        if self.status.why.as_ref().is_some_and(|why| why.cause == "save-vm" && why.by == "host") {
            // libvirt writes the memory into a file.
            return;
        }
        let run_state = self.status.run_state.as_deref();
        let is_incoming = run_state == Some("inmigrate");
        if status == "completed" && !matches!(run_state, None | Some("running" | "inmigrate")) {
            let was_stopped = self.status.is_stopped()
                && self.status.sure_state().is_some_and(|state| state != "finish-migrate");
            let explanation = explain::migrated(self.status.why.as_ref(), was_stopped, input.id);
            self.set_status(input.now, explanation);
        }
        if status == "completed" && is_incoming {
            // A VM that was paused at its source stays paused here, without an event.
            self.question.ask_again(input.id, 1, input.now);
        }
    }

    /// Confirms that the migration caused the STOP that was attributed to it.
    fn confirm_migration(&mut self, input: &Observation<'_>, found: &mut Conclusions) {
        let is_its = |pending: &PendingExplanation| {
            pending.consequence == K::Stop && pending.guess.cause == "migration"
        };
        for pending in self.pending.iter_mut().filter(|pending| is_its(pending)) {
            let before = pending.guess.clone();
            pending.guess.causes.push(input.id);
            pending.wait_reason = WaitReason::Record;
            if self.status.why.as_ref() == Some(&before) {
                self.status.why = Some(pending.guess.clone());
                self.status.assumed = false;
                self.question.close();
            }
        }
        self.settle(is_its, found);
    }
}

impl Evidence {
    /// The command that explains a pending conclusion, if it was given recently.
    pub(super) fn explains(
        &self,
        pending: &PendingExplanation,
        now: Moment,
    ) -> Option<super::causing_command::CausingCommand<'_>> {
        let guess = pending.guess.cause;
        match pending.consequence {
            K::Stop if !pending.is_open() || pending.guess.by != "unknown" => None,
            K::Stop => {
                self.stopped(pending.mark, now).filter(|given| guess == "unknown" || guess == given.cause)
            }
            K::Reset => self.resetting(now).filter(|given| guess == "host" || guess == given.cause),
            _ => [self.quitting(now), self.resetting(now)]
                .into_iter()
                .flatten()
                .find(|given| guess == given.cause),
        }
    }
}
