//! Why a VM stopped, was reset, went to sleep, or ended; and with it, how it stands.
//!
//! QEMU tells the reason of SHUTDOWN and RESET, and of STOP nothing. What stopped a VM is told by the event before
//! it, in the same breath: `BLOCK_IO_ERROR`, `GUEST_PANICKED`, WATCHDOG, SHUTDOWN. Where none is there, it was the
//! host. Some things may come after their consequence, and are waited for, each for a short time: a WATCHDOG or
//! `BLOCK_IO_ERROR` that the rate limit held back, the word of a migration that took the VM over, and the hub's own
//! records: of the command by which it was done through the hub, and of how the process ended.
//!
//! Source: `docs/events.md`; the orders of events were observed on QEMU 7.2 and 11.1.

mod ending;
mod evidence;
mod exit;
mod explain;
mod pending;

use qmp_events::EventKind as K;
use qmp_wire::DetachReason;
use serde_json::Value;

use super::input::{Event, Input, Snapshot, What};
use super::moment::Moment;
use super::question::{Asked, QUERY_STATUS};
use super::registered::Correlator;
use super::tracked::{Found, Span};
use super::{BREATH, COMMAND_SAID_MAX, EXIT_SAID_MAX, EXIT_SOON, FIRMWARE_RESET_MAX, SWITCHOVER_MAX};
use crate::state::Why as Explanation;
use evidence::{Evidence, Mark};
use pending::{Hold, Pending};

pub(super) const WHY_ENDED: &str = "why-ended";
pub(super) const WHY_PAUSED: &str = "why-paused";
pub(super) const WHY_RESET: &str = "why-reset";
pub(super) const WHY_SUSPENDED: &str = "why-suspended";

/// The run state of a QEMU that ended after it had said so.
pub(crate) const ENDED: &str = "ended";
/// The run state of one that went without a word.
pub(crate) const GONE: &str = "gone";

/// How one VM stands, and what led there.
#[derive(Debug, Default)]
pub(super) struct Why {
    standing: Standing,
    evidence: Evidence,
    pending: Vec<Pending>,
}

/// How a VM stands.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// As `query-status` names it, or [`ENDED`] or [`GONE`]; `None` if that is not known.
    pub(super) run_state: Option<Box<str>>,
    pub(super) since: Option<Moment>,
    pub(super) why: Option<Explanation>,
}

impl Correlator for Why {
    fn take(&mut self, input: &Input<'_>, span: &Span, found: &mut Found) {
        match &input.what {
            What::Attached(snapshot) => self.attached(snapshot, input, found),
            What::Event(event) => self.event(event, input, span, found),
            What::Detached(reason) => self.detached(reason, input, span, found),
            What::Command(command) => self.command(command, input, found),
            What::ProcessEnded(how) => self.process_ended(how, input, span, found),
            What::Answer(answer) => {
                self.settle(|pending| answer.is_to((QUERY_STATUS, pending.mark.id)), found);
            }
        }
    }

    fn is_open(&self, (execute, cause): Asked) -> bool {
        let waits = |pending: &Pending| pending.mark.id == cause && pending.guess.cause == "host-stop";
        execute == QUERY_STATUS && self.pending.iter().any(waits)
    }

    fn deadline(&self) -> Option<Moment> {
        self.pending.iter().map(|pending| pending.until).min()
    }

    fn overdue(&mut self, now: Moment, _span: &Span, found: &mut Found) {
        self.settle(|pending| pending.until <= now, found);
    }
}

impl Why {
    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    fn attached(&mut self, snapshot: &Snapshot, input: &Input<'_>, found: &mut Found) {
        self.settle(|_| true, found);
        *self = Self::default();
        if let Some(status) = &snapshot.migration {
            self.evidence.migration = Some((Mark::of(input, None), status.clone()));
        }
        if let Some(status) = &snapshot.status {
            self.standing = Standing {
                run_state: Some(status.clone()),
                since: Some(input.now),
                why: Some(explain::found(status, input.id)),
            };
        }
    }

    fn event(&mut self, event: &Event<'_>, input: &Input<'_>, span: &Span, found: &mut Found) {
        let Some(kind) = event.kind else { return };
        self.evidence.note(kind, event, Mark::of(input, event.at));
        match kind {
            K::Stop => self.stop(event, input, span, found),
            K::Resume | K::Wakeup => {
                self.settle(|pending| pending.consequence == K::Stop, found);
                self.evidence.runs_again();
                self.stands(input.now, explain::running(kind, &self.evidence, input));
            }
            K::Reset => self.reset(event, input, span, found),
            K::Suspend => {
                self.stands(input.now, explain::suspended(input.id));
                self.tell_standing(WHY_SUSPENDED, found);
            }
            K::Shutdown => {
                // The stop before it was the first step of the end, if the end comes.
                for pending in self.pending.iter_mut().filter(|pending| pending.unless_ends) {
                    pending.until = input.now.after(EXIT_SOON);
                }
            }
            K::Watchdog | K::BlockIoError => self.late_cause(kind, event, input, found),
            K::Migration => self.migration(event, input, found),
            K::GuestPanicked if event.text("action") == Some("run") => {
                self.standing.why = Some(explain::panicked_and_runs(input.id));
            }
            _ => {}
        }
    }

    fn stop(&mut self, event: &Event<'_>, input: &Input<'_>, span: &Span, found: &mut Found) {
        self.settle(|pending| pending.consequence == K::Stop, found);
        let mark = Mark::of(input, event.at);
        let (explanation, hold) = self.explain_stop(mark, span);
        self.stands(input.now, explanation.clone());
        if hold != Hold::No && explanation.cause == "host-stop" {
            found.ask(QUERY_STATUS, mark.id);
        }
        match hold {
            Hold::No => self.tell_standing(WHY_PAUSED, found),
            Hold::For(_) | Hold::UnlessEnds => self.pending.push(Pending {
                consequence: K::Stop,
                mark,
                until: input.now.after(hold.span()),
                guess: explanation,
                unless_ends: hold == Hold::UnlessEnds,
                confirmed: self.evidence.is_in_step(),
                until_exit: false,
            }),
        }
    }

    fn explain_stop(&mut self, stop: Mark, span: &Span) -> (Explanation, Hold) {
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
            let hold = if said.action.as_deref() == Some("poweroff") { Hold::UnlessEnds } else { Hold::No };
            return (explain::panic(mark.id, said, stop.id), hold);
        }
        if let Some((mark, said)) = io_error.filter(|(mark, _)| is_latest(mark)) {
            return (explain::io_error(mark.id, said, stop.id), Hold::No);
        }
        if let Some((mark, _)) = watchdog {
            return (explain::watchdog_pause(mark.id, stop.id), Hold::No);
        }
        if self.evidence.is_migrating() {
            return (explain::switchover(&self.evidence, stop.id), Hold::For(SWITCHOVER_MAX));
        }
        let (explanation, who_is_known) = explain::host_stop(&self.evidence, stop);
        let for_command = (!who_is_known).then_some(COMMAND_SAID_MAX);
        let hold = self.evidence.hold(stop, span).max(for_command);
        (explanation, hold.map_or(Hold::No, Hold::For))
    }

    fn reset(&mut self, event: &Event<'_>, input: &Input<'_>, span: &Span, found: &mut Found) {
        self.settle(|pending| pending.consequence == K::Reset, found);
        let mark = Mark::of(input, event.at);
        let before = self.standing.run_state.as_deref();
        let runs = matches!(before, None | Some("running" | "inmigrate" | "finish-migrate"));
        let is_guests = event.text("reason") == Some("guest-reset");
        let by_firmware = |before: &Mark| is_guests && mark.now.since(before.now) <= FIRMWARE_RESET_MAX;
        let first = self.evidence.host_reset.filter(by_firmware);
        let (explanation, is_sure) = match first {
            Some(first) => (explain::firmware_reset(first.id, input.id), true),
            None => explain::reset(&self.evidence, mark, event, if runs { "running" } else { "prelaunch" }),
        };
        let by_host = explanation.cause == "host-qmp-system-reset";
        self.evidence.was_reset(by_host.then_some(mark).or(first));
        self.stands(input.now, explanation.clone());
        let hold = match is_sure {
            true => None,
            false if by_host => Some(COMMAND_SAID_MAX),
            false => self.evidence.hold(mark, span),
        };
        match hold {
            None => self.tell_standing(WHY_RESET, found),
            Some(hold) => self.pending.push(Pending {
                consequence: K::Reset,
                mark,
                until: input.now.after(hold),
                guess: explanation,
                unless_ends: false,
                confirmed: false,
                until_exit: false,
            }),
        }
    }

    /// A cause that the rate limit held back until after its consequence.
    fn late_cause(&mut self, kind: K, event: &Event<'_>, input: &Input<'_>, found: &mut Found) {
        let (consequence, explained_by): (K, &[&str]) = match (kind, event.text("action")) {
            (K::Watchdog, Some("pause")) | (K::BlockIoError, Some("stop")) => (K::Stop, &["host-stop"]),
            (K::Watchdog, Some("reset")) => (K::Reset, &["guest-reset"]),
            _ => return,
        };
        let is_its = |pending: &Pending| {
            let is_older = event.at.zip(pending.mark.at).is_some_and(|(cause, then)| cause <= then);
            pending.consequence == consequence && explained_by.contains(&pending.guess.cause) && is_older
        };
        let Some(index) = self.pending.iter().position(is_its) else { return };
        let pending = self.pending.remove(index);
        let explanation = match (kind, consequence) {
            (K::Watchdog, K::Stop) => explain::watchdog_pause(input.id, pending.mark.id),
            (K::Watchdog, _) => explain::watchdog_reset(input.id, pending.mark.id),
            _ => match self.evidence.io_error.take() {
                Some((_, said)) => explain::io_error(input.id, &said, pending.mark.id),
                None => return,
            },
        };
        self.replace(&pending.guess, &explanation);
        tell_of(consequence, &explanation, found);
    }

    fn migration(&mut self, event: &Event<'_>, input: &Input<'_>, found: &mut Found) {
        let status = event.text("status").unwrap_or_default();
        if matches!(status, "device" | "colo" | "completed" | "postcopy-active" | "pre-switchover") {
            for pending in self.pending.iter_mut().filter(|pending| pending.guess.cause == "migration") {
                let before = pending.guess.clone();
                pending.guess.causes.push(input.id);
                pending.confirmed = true;
                if self.standing.why.as_ref() == Some(&before) {
                    self.standing.why = Some(pending.guess.clone());
                }
            }
            self.settle(|pending| pending.confirmed, found);
        }
        let stands = self.standing.run_state.as_deref();
        if status == "completed" && !matches!(stands, None | Some("running" | "inmigrate")) {
            let explanation = explain::migrated(self.standing.why.as_ref(), input.id);
            self.stands(input.now, explanation);
        }
    }

    fn command(&mut self, command: &Value, input: &Input<'_>, found: &mut Found) {
        let Some(name) = command.get("execute").and_then(Value::as_str) else { return };
        let mark = Mark::of(input, None);
        self.evidence.command(name, command, mark);
        let cause = match name {
            "stop" => "host-stop",
            "system_reset" => "host-qmp-system-reset",
            "quit" => "host-qmp-quit",
            _ => return,
        };
        if let Some(index) = self.pending.iter().position(|pending| pending.guess.cause == cause) {
            let mut pending = self.pending.remove(index);
            let guess = pending.guess.clone();
            explain::by_client(&mut pending.guess, &self.evidence, name, mark);
            self.replace(&guess, &pending.guess);
            if pending.until_exit {
                self.pending.push(pending);
            } else {
                tell_of(pending.consequence, &pending.guess, found);
            }
        }
    }

    fn detached(&mut self, reason: &DetachReason, input: &Input<'_>, span: &Span, found: &mut Found) {
        if *reason == DetachReason::PeerClosed && self.evidence.shutdown.is_some() {
            self.pending.retain(|pending| !pending.unless_ends);
        }
        self.settle(|_| true, found);
        if *reason != DetachReason::PeerClosed {
            return;
        }
        let before = self.standing.run_state.take();
        let explanation = ending::ended(&self.evidence, before.as_deref(), input);
        let by_command = matches!(explanation.cause, "host-qmp-quit" | "host-qmp-system-reset");
        let is_known = explanation.details.contains_key(explain::COMMAND);
        self.stands(input.now, explanation.clone());
        let for_command = (by_command && !is_known).then_some(COMMAND_SAID_MAX);
        let for_exit = span.snapshot.process.is_some().then_some(EXIT_SAID_MAX);
        let Some(hold) = for_command.max(for_exit) else {
            self.tell_standing(WHY_ENDED, found);
            return;
        };
        self.pending.push(Pending {
            consequence: K::Shutdown,
            mark: Mark::of(input, None),
            until: input.now.after(hold),
            guess: explanation,
            unless_ends: false,
            confirmed: false,
            until_exit: for_exit.is_some(),
        });
    }

    fn process_ended(&mut self, how: &Value, input: &Input<'_>, span: &Span, found: &mut Found) {
        let Some(index) = self.pending.iter().position(|pending| pending.until_exit) else { return };
        let pending = self.pending.remove(index);
        let name = span.snapshot.process.as_deref().unwrap_or_default();
        let explanation = exit::explained(&pending.guess, name, how, input.id);
        self.replace(&pending.guess, &explanation);
        tell_of(pending.consequence, &explanation, found);
    }

    /// Tells what waited, with what is known by now.
    fn settle(&mut self, is_due: impl Fn(&Pending) -> bool, found: &mut Found) {
        let (due, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.pending).into_iter().partition(is_due);
        self.pending = rest;
        for pending in due {
            if pending.guess.cause == "migration" && !pending.confirmed {
                // Nothing was heard of the migration that could have been the reason.
                let (explanation, _) = explain::host_stop(&self.evidence, pending.mark);
                self.replace(&pending.guess, &explanation);
                tell_of(pending.consequence, &explanation, found);
            } else {
                tell_of(pending.consequence, &pending.guess, found);
            }
        }
    }

    /// Corrects how the VM stands, unless it stands otherwise by now.
    fn replace(&mut self, guess: &Explanation, explanation: &Explanation) {
        if self.standing.why.as_ref() == Some(guess) {
            self.standing.why = Some(explanation.clone());
            self.standing.run_state = Some(explanation.run_state.into());
        }
    }

    fn stands(&mut self, now: Moment, explanation: Explanation) {
        let run_state = explanation.run_state;
        if self.standing.run_state.as_deref() != Some(run_state) || self.standing.since.is_none() {
            self.standing.since = Some(now);
        }
        self.standing.run_state = Some(run_state.into());
        self.standing.why = Some(explanation);
    }

    fn tell_standing(&self, kind: &'static str, found: &mut Found) {
        if let Some(explanation) = &self.standing.why {
            explain::tell(kind, explanation, found);
        }
    }
}

fn tell_of(consequence: K, explanation: &Explanation, found: &mut Found) {
    let kind = match consequence {
        K::Reset => WHY_RESET,
        K::Shutdown => WHY_ENDED,
        _ => WHY_PAUSED,
    };
    explain::tell(kind, explanation, found);
}
