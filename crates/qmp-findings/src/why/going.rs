//! A reset, and the end.

use qmp_events::EventKind as K;
use qmp_wire::DetachReason;

use super::evidence::Mark;
use super::kinds::{WHY_ENDED, WHY_RESET};
use super::memory::Explainer;
use super::pending::{PendingExplanation, WaitReason, report_pending};
use super::run_states::{ENDED, GONE};
use super::{after, by_libvirt, ending, exit, explain, explanation};
use crate::conclusion::Conclusions;
use crate::epoch::Span;
use crate::limits::{COMMAND_RECORD_MAX, EXIT_RECORD_MAX};
use crate::observation::{Event, Observation, ProcessEnd};
use crate::state::Explanation;
use crate::text;

impl Explainer {
    pub(super) fn reset(
        &mut self,
        event: &Event<'_>,
        input: &Observation<'_>,
        span: &Span,
        found: &mut Conclusions,
    ) {
        let mark = Mark::of(input, event.at);
        if self.evidence.repeats_reset(event, mark) {
            return self.reset_again(mark, span);
        }
        self.settle(|pending| pending.consequence == K::Reset, found);
        self.hurry_stops(input.now);
        let run_state = match self.status.run_state.as_deref() {
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
            false if own.by == "host" => Some(COMMAND_RECORD_MAX),
            false => self.evidence.hold(mark, span),
        };
        let prior = after::prior(&self.status, &self.evidence, &own, input.now);
        self.evidence.take_reset(mark);
        let mut pending =
            PendingExplanation::new(K::Reset, mark, own, WaitReason::Record, hold.unwrap_or_default());
        pending.prior = prior;
        let is_state_assumed = self.status.assumed;
        self.set_status(input.now, pending.explanation());
        self.status.assumed = is_state_assumed;
        match hold {
            None => self.report_status(WHY_RESET, found),
            Some(_) => self.pending.push(pending),
        }
    }

    /// Takes a repeated reset by the firmware, which belongs to the reset before, unless a WATCHDOG that the rate limit
    /// held back shows another cause.
    fn reset_again(&mut self, mark: Mark, span: &Span) {
        if let Some(hold) = self.evidence.hold(mark, span) {
            let guess = explain::guest_reset(mark.id, "running");
            self.pending.push(PendingExplanation::new(K::Reset, mark, guess, WaitReason::HeldBack, hold));
        }
    }

    pub(super) fn detached(
        &mut self,
        reason: &DetachReason,
        detail: Option<&str>,
        input: &Observation<'_>,
        span: &Span,
        found: &mut Conclusions,
    ) {
        if *reason == DetachReason::PeerClosed && self.evidence.shutdown.is_some() {
            self.pending.retain(|pending| pending.wait_reason != WaitReason::Stay);
        }
        self.settle(|_| true, found);
        self.question.close();
        if *reason != DetachReason::PeerClosed {
            return;
        }
        let own = by_libvirt::ended(&self.evidence, detail, input.id)
            .unwrap_or_else(|| ending::ended(&self.evidence, input));
        let by_command = matches!(own.cause, "host-qmp-quit" | "host-qmp-system-reset");
        let is_known = own.details.contains_key(explanation::COMMAND);
        let for_command = (by_command && !is_known).then_some(COMMAND_RECORD_MAX);
        let for_exit = span.snapshot.process.is_some().then_some(EXIT_RECORD_MAX);
        let hold = for_command.max(for_exit);
        let announced_at = self.evidence.shutdown.as_ref().map_or(input.now, |(mark, _)| mark.now);
        let prior = match by_libvirt::is_complete(detail) {
            true => None,
            false => after::prior(&self.status, &self.evidence, &own, announced_at),
        };
        let known = (own.cause == "gone").then(|| self.status.known()).flatten();
        let wait_reason = if for_exit.is_some() { WaitReason::Exit } else { WaitReason::Record };
        let mark = Mark::of(input, None);
        let mut pending =
            PendingExplanation::new(K::Shutdown, mark, own, wait_reason, hold.unwrap_or_default());
        pending.prior = prior;
        self.status.set_ended(input.now, pending.explanation(), known);
        found.has_qemu_ended = self.status.run_state.as_deref() == Some(ENDED);
        match hold {
            None => self.report_status(WHY_ENDED, found),
            Some(_) => self.pending.push(pending),
        }
    }

    pub(super) fn process_ended(
        &mut self,
        end: &ProcessEnd<'_>,
        input: &Observation<'_>,
        span: &Span,
        found: &mut Conclusions,
    ) {
        if let Some(evidence) = end.evidence() {
            return self.take_absence(end, evidence, input, span, found);
        }
        // A process that was slow to end: the epoch is that of its successor.
        if !end.may_be_of(span.snapshot.process.as_ref()) {
            return;
        }
        self.status.forget_before_gone();
        found.has_qemu_ended = !span.open;
        let is_its = |pending: &PendingExplanation| pending.wait_reason == WaitReason::Exit;
        let awaited = self.pending.iter().position(is_its).map(|index| self.pending.remove(index));
        let is_late = awaited.is_none();
        let reported = self.reported_end.take_if(|_| !span.open).map(|reported| *reported);
        let Some(mut pending) = awaited.or(reported) else {
            return self.take_unheard_end(end, input, span, found);
        };
        let before = pending.explanation();
        if exit::signal(end.data).is_some() && pending.guess.cause != "gone" {
            // A process that a signal ended did not exit by itself.
            let own = Explanation { run_state: ENDED.into(), ..ending::unexplained(pending.mark.id) };
            let announcement = std::mem::replace(&mut pending.guess, own);
            // A QEMU that quits sends SHUTDOWN first.
            if announcement.cause == "host-qmp-quit" && self.evidence.shutdown.is_none() {
                pending.guess.run_state = GONE.into();
            } else {
                let announced = self.evidence.ending_announced().map_or(pending.mark.now, |mark| mark.now);
                let later = text::span(pending.mark.now.since(announced));
                after::announce(&mut pending.prior, announcement, later);
            }
        }
        let name = span.snapshot.process.as_ref().map_or("", |process| &process.name);
        pending.guess = exit::explained(&pending.guess, name, end.data, input.id);
        let explanation = pending.explanation();
        self.replace(&before, &explanation);
        // A process may be reaped late; the finding is repeated if the exit status says more.
        if !is_late || explanation.summary != before.summary {
            report_pending(&pending, found);
        }
    }
}
