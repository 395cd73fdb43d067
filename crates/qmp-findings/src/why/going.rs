//! A reset, and the end.

use qmp_events::EventKind as K;
use qmp_wire::DetachReason;

use super::evidence::Mark;
use super::kinds::{WHY_ENDED, WHY_RESET};
use super::memory::Why;
use super::pending::{Pending, WaitsFor, tell_of};
use super::run_states::ENDED;
use super::{after, ending, exit, explain, explanation};
use crate::conclusion::Found;
use crate::epoch::Span;
use crate::limits::{COMMAND_SAID_MAX, EXIT_SAID_MAX};
use crate::observation::{Event, Input, ProcessEnd};

impl Why {
    pub(super) fn reset(&mut self, event: &Event<'_>, input: &Input<'_>, span: &Span, found: &mut Found) {
        let mark = Mark::of(input, event.at);
        if self.evidence.repeats_reset(event, mark) {
            return self.reset_again(mark, span);
        }
        self.settle(|pending| pending.consequence == K::Reset, found);
        self.hurry_stops(input.now);
        let run_state = match self.standing.run_state.as_deref() {
            None => "",
            Some("running" | "inmigrate" | "finish-migrate") => "running",
            Some(_) => "prelaunch",
        };
        let (own, is_sure) = explain::reset(&self.evidence, mark, event, run_state);
        if own.details.contains_key(explanation::COMMAND) {
            self.evidence.spend_command();
        }
        let hold = match is_sure {
            true => None,
            false if own.by == "host" => Some(COMMAND_SAID_MAX),
            false => self.evidence.hold(mark, span),
        };
        let prior = after::prior(&self.standing, &self.evidence, &own, input.now);
        self.evidence.was_reset(mark);
        let mut pending = Pending::new(K::Reset, mark, own, WaitsFor::Record, hold.unwrap_or_default());
        pending.prior = prior;
        let is_state_assumed = self.standing.assumed;
        self.stands(input.now, pending.explanation());
        self.standing.assumed = is_state_assumed;
        match hold {
            None => self.tell_standing(WHY_RESET, found),
            Some(_) => self.pending.push(pending),
        }
    }

    /// The firmware reset the machine once more, which belongs to the reset before, unless a WATCHDOG that the rate limit
    /// held back tells otherwise.
    fn reset_again(&mut self, mark: Mark, span: &Span) {
        if let Some(hold) = self.evidence.hold(mark, span) {
            let guess = explain::guest_reset(mark.id, "running");
            self.pending.push(Pending::new(K::Reset, mark, guess, WaitsFor::HeldBack, hold));
        }
    }

    pub(super) fn detached(
        &mut self,
        reason: &DetachReason,
        input: &Input<'_>,
        span: &Span,
        found: &mut Found,
    ) {
        if *reason == DetachReason::PeerClosed && self.evidence.shutdown.is_some() {
            self.pending.retain(|pending| pending.waits_for != WaitsFor::Stay);
        }
        self.settle(|_| true, found);
        self.asking.close();
        if *reason != DetachReason::PeerClosed {
            return;
        }
        let own = ending::ended(&self.evidence, input);
        let by_command = matches!(own.cause, "host-qmp-quit" | "host-qmp-system-reset");
        let is_known = own.details.contains_key(explanation::COMMAND);
        let for_command = (by_command && !is_known).then_some(COMMAND_SAID_MAX);
        let for_exit = span.snapshot.process.is_some().then_some(EXIT_SAID_MAX);
        let hold = for_command.max(for_exit);
        let said = self.evidence.shutdown.as_ref().map_or(input.now, |(mark, _)| mark.now);
        let prior = after::prior(&self.standing, &self.evidence, &own, said);
        let known = (own.cause == "gone").then(|| self.standing.known()).flatten();
        let waits_for = if for_exit.is_some() { WaitsFor::Exit } else { WaitsFor::Record };
        let mark = Mark::of(input, None);
        let mut pending = Pending::new(K::Shutdown, mark, own, waits_for, hold.unwrap_or_default());
        pending.prior = prior;
        self.standing.went(input.now, pending.explanation(), known);
        found.has_qemu_ended = self.standing.run_state.as_deref() == Some(ENDED);
        match hold {
            None => self.tell_standing(WHY_ENDED, found),
            Some(_) => self.pending.push(pending),
        }
    }

    pub(super) fn process_ended(
        &mut self,
        end: &ProcessEnd<'_>,
        input: &Input<'_>,
        span: &Span,
        found: &mut Found,
    ) {
        if let Some(evidence) = end.evidence() {
            return self.is_not_there(end, evidence, input, span, found);
        }
        // One that was slow to end: the epoch is that of the next one.
        if !end.may_be_of(span.snapshot.process.as_ref()) {
            return;
        }
        self.standing.has_ended();
        found.has_qemu_ended = !span.open;
        let is_its = |pending: &Pending| pending.waits_for == WaitsFor::Exit;
        let Some(index) = self.pending.iter().position(is_its) else { return };
        let mut pending = self.pending.remove(index);
        let before = pending.explanation();
        let by_signal = end.data.get("signal").is_some() && self.evidence.shutdown.is_none();
        if by_signal && pending.guess.cause == "host-qmp-quit" {
            // A QEMU that quits says SHUTDOWN first, and exits by itself.
            pending.guess = ending::without_a_word(pending.mark.id);
        }
        let name = span.snapshot.process.as_ref().map_or("", |process| &process.name);
        pending.guess = exit::explained(&pending.guess, name, end.data, input.id);
        self.replace(&before, &pending.explanation());
        tell_of(&pending, found);
    }
}
