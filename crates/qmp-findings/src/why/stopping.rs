//! A STOP: the events that explain it, and the answer of the VM where none does.

use qmp_events::EventKind as K;

use super::evidence::{Evidence, Mark};
use super::kinds::WHY_PAUSED;
use super::memory::Why;
use super::pending::{Hold, Pending, WaitsFor, tell_of};
use super::{ending, explain, run_states};
use crate::conclusion::Found;
use crate::epoch::Span;
use crate::limits::{ANSWER_MAX, BREATH, COMMAND_SAID_MAX};
use crate::local_time::Moment;
use crate::observation::{Event, Input};
use crate::question::{Answer, QUERY_STATUS};
use crate::state::Why as Explanation;

impl Why {
    pub(super) fn stop(&mut self, event: &Event<'_>, input: &Input<'_>, span: &Span, found: &mut Found) {
        self.settle(|pending| pending.consequence == K::Stop, found);
        let mark = Mark::of(input, event.at);
        let (explanation, hold) = self.explain_stop(mark);
        self.stands(input.now, explanation.clone());
        self.standing.assumed = explanation.cause == "save-vm" || explanation.cause == "restore-vm";
        if self.standing.assumed {
            self.asking.ask(mark.id, input.now, found);
        }
        let Hold::For(waits_for, patience) = hold else {
            self.tell_standing(WHY_PAUSED, found);
            return;
        };
        let mut pending = Pending::new(K::Stop, mark, explanation, waits_for, patience);
        if pending.is_open() {
            let held_back = self.evidence.hold(mark, span).unwrap_or_default();
            pending.may_come_until = mark.now.after(held_back);
            self.standing.assumed = true;
            self.asking.ask(mark.id, input.now, found);
        }
        self.pending.push(pending);
    }

    fn explain_stop(&mut self, stop: Mark) -> (Explanation, Hold) {
        let fresh = |mark: &Mark| stop.now.since(mark.now) <= BREATH;
        if let Some((mark, said)) = self.evidence.shutdown.take_if(|(mark, _)| fresh(mark)) {
            return (ending::shutdown(&self.evidence, mark, &said, Some(stop.id), None), Hold::No);
        }
        let panic = self.evidence.panic.as_ref().filter(|(mark, _)| fresh(mark));
        let io_error = self.evidence.io_error.as_ref().filter(|(mark, _)| fresh(mark));
        let paused = |(mark, action): &&(Mark, Box<str>)| fresh(mark) && &**action == "pause";
        let watchdog = self.evidence.watchdog.as_ref().filter(paused);
        let ids = [
            panic.map(|(mark, _)| mark.id),
            io_error.map(|(mark, _)| mark.id),
            watchdog.map(|(mark, _)| mark.id),
        ];
        let latest = ids.into_iter().flatten().max();
        let is_latest = |mark: &Mark| Some(mark.id) == latest;
        if let Some((mark, said)) = panic.filter(|(mark, _)| is_latest(mark)) {
            let ends = said.action.as_deref() == Some("poweroff");
            return (explain::panic(mark.id, said, stop.id), if ends { Hold::UNLESS_ENDS } else { Hold::No });
        }
        if let Some((mark, said)) = io_error.filter(|(mark, _)| is_latest(mark)) {
            return (explain::io_error(mark.id, said, stop.id), Hold::No);
        }
        if let Some((mark, _)) = watchdog {
            return (explain::watchdog_pause(mark.id, stop.id), Hold::No);
        }
        if self.evidence.is_migrating() {
            // A VM that is kept in step stops at every checkpoint.
            let waits_for = if self.evidence.is_in_step() { WaitsFor::Record } else { WaitsFor::Migration };
            return (explain::switchover(&self.evidence, stop.id), Hold::For(waits_for, ANSWER_MAX));
        }
        match explain::plain_stop(&self.evidence, stop) {
            (explanation, true) => (explanation, Hold::No),
            (explanation, false) => (explanation, Hold::For(WaitsFor::Answer, ANSWER_MAX)),
        }
    }

    /// The VM said how it stands, or it could not be asked.
    pub(super) fn answered(&mut self, answer: &Answer<'_>, input: &Input<'_>, found: &mut Found) {
        let asked = self.asking.answered(|cause| answer.is_to((QUERY_STATUS, cause)));
        let status = answer.returned().and_then(|returned| returned.get("status")?.as_str());
        let Some(again) = asked else { return self.named(status, input) };
        if status.is_some()
            && self.evidence.shutdown.as_ref().is_some_and(|(mark, _)| answer.causes.contains(&mark.id))
        {
            // QEMU stays after SHUTDOWN. One that exits answers nothing any more.
            self.evidence.shutdown = None;
        }
        let stood = self.standing.run_state.as_deref();
        match status {
            // It will not be told by the VM.
            None => self.hurry(|pending| pending.mark.now.after(COMMAND_SAID_MAX), input, found),
            Some("running") if stood == Some("running") => self.standing.assumed = false,
            // It goes on already, and its RESUME is on the way.
            Some("running") => self.hurry(|_| input.now.after(COMMAND_SAID_MAX), input, found),
            Some(status) => {
                if self.standing.sure_state() != Some(status) {
                    self.stands_by_answer(status, input, found);
                }
                if run_states::of(status).passes {
                    self.asking.ask_again(input.id, again + 1, input.now);
                }
            }
        }
    }

    /// The VM named its run state without a question: in reply to a probe. If it is another one than was known, QEMU went there
    /// without an event.
    fn named(&mut self, status: Option<&str>, input: &Input<'_>) {
        let Some(status) = status else { return };
        let is_known = self.standing.run_state.as_deref() == Some(status);
        if is_known || self.standing.is_over() || self.pending.iter().any(Pending::is_open) {
            return;
        }
        let before = self.standing.why.as_ref().map(|why| why.causes.clone()).unwrap_or_default();
        self.stands(input.now, explain::named(&self.evidence, status, before, input.id));
        if run_states::of(status).passes && status != "inmigrate" {
            self.asking.ask_again(input.id, 1, input.now);
        }
    }

    /// The VM named the run state in which it stands.
    fn stands_by_answer(&mut self, status: &str, input: &Input<'_>, found: &mut Found) {
        let led = self.standing.why.as_ref().map(|why| why.causes.clone()).unwrap_or_default();
        let stop = self.pending.iter().find(|pending| pending.is_open() && led.contains(&pending.mark.id));
        let before = stop.map_or(led, |stop| vec![stop.mark.id]);
        let state = run_states::of(status);
        let is_explained = |why: &&Explanation| why.by != "unknown" && why.cause == state.answered.0;
        let explanation = match self.standing.why.as_ref().filter(is_explained) {
            Some(why) => explain::confirmed(why, status, input.id),
            None => explain::answered(&self.evidence, status, before.clone(), input.id),
        };
        // It has stood so since it was stopped.
        let since = self.standing.since;
        self.standing.set(input.now, explanation.clone());
        self.standing.since = since;
        let is_its = |pending: &&mut Pending| pending.is_open() && before.contains(&pending.mark.id);
        for pending in self.pending.iter_mut().filter(is_its) {
            pending.guess = explanation.clone();
            pending.waits_for = WaitsFor::Answer;
        }
        let is_paused = status == "paused";
        let for_command = |pending: &Pending| pending.mark.now.after(COMMAND_SAID_MAX);
        let held_back = |pending: &Pending| pending.may_come_until;
        self.hurry(|pending| if is_paused { for_command(pending) } else { held_back(pending) }, input, found);
    }

    /// Tells of a STOP no later than `until`.
    fn hurry(&mut self, until: impl Fn(&Pending) -> Moment, input: &Input<'_>, found: &mut Found) {
        for pending in self.pending.iter_mut().filter(|pending| pending.is_open()) {
            pending.until = pending.until.min(until(pending));
        }
        self.settle(|pending| pending.is_open() && pending.until <= input.now, found);
    }

    /// A cause that the rate limit held back until after its consequence.
    pub(super) fn late_cause(&mut self, kind: K, event: &Event<'_>, input: &Input<'_>, found: &mut Found) {
        let consequence = match (kind, event.text("action")) {
            (K::Watchdog, Some("pause")) | (K::BlockIoError, Some("stop")) => K::Stop,
            (K::Watchdog, Some("reset")) => K::Reset,
            _ => return,
        };
        let is_its = |pending: &Pending| {
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
                Some((_, said)) => explain::io_error(input.id, &said, pending.mark.id),
                None => return,
            },
        };
        if self.replace(&before, &pending.explanation()) && consequence == K::Stop {
            self.standing.assumed = false;
            self.asking.close();
        }
        tell_of(&pending, found);
    }

    pub(super) fn migration(&mut self, event: &Event<'_>, input: &Input<'_>, found: &mut Found) {
        let status = event.text("status").unwrap_or_default();
        if matches!(status, "device" | "colo" | "completed" | "postcopy-active" | "pre-switchover") {
            self.migration_stopped_it(input, found);
        }
        let stands = self.standing.run_state.as_deref();
        let stands_incoming = stands == Some("inmigrate");
        if status == "completed" && !matches!(stands, None | Some("running" | "inmigrate")) {
            let explanation = explain::migrated(self.standing.why.as_ref(), input.id);
            self.stands(input.now, explanation);
        }
        if status == "completed" && stands_incoming {
            // A VM that was paused at its source stays paused here, and no event says so.
            self.asking.ask_again(input.id, 1, input.now);
        }
    }

    /// The migration goes on after the STOP that was taken for its own.
    fn migration_stopped_it(&mut self, input: &Input<'_>, found: &mut Found) {
        let is_its = |pending: &Pending| pending.consequence == K::Stop && pending.guess.cause == "migration";
        for pending in self.pending.iter_mut().filter(|pending| is_its(pending)) {
            let before = pending.guess.clone();
            pending.guess.causes.push(input.id);
            pending.waits_for = WaitsFor::Record;
            if self.standing.why.as_ref() == Some(&before) {
                self.standing.why = Some(pending.guess.clone());
                self.standing.assumed = false;
                self.asking.close();
            }
        }
        self.settle(is_its, found);
    }
}

impl Evidence {
    /// The command that explains what waits, if it was given a moment ago.
    pub(super) fn explains(&self, pending: &Pending, now: Moment) -> Option<super::given::Given<'_>> {
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
