//! Why a VM stopped, was reset, went to sleep, or ended; and with it, how it stands.
//!
//! QEMU tells the reason of SHUTDOWN and RESET, and of STOP nothing. What stopped a VM is told by the event before
//! it, in the same breath: `BLOCK_IO_ERROR`, `GUEST_PANICKED`, WATCHDOG, SHUTDOWN. Where none is there, the VM is asked
//! how it stands; without an answer the cause is unknown. Some things may come after their consequence, and are waited
//! for, each for a short time: a WATCHDOG or `BLOCK_IO_ERROR` that the rate limit held back, the event of a migration
//! that took the VM over, and the hub's own records: of the command by which it was done through the hub, of the
//! answer, and of how the process ended.
//!
//! An end or a reset of a VM that stood still already is caused by what made it stand still: see `after.rs`.
//!
//! Source: `docs/events.md`; the orders of events were observed on QEMU 7.2 and 11.1.

mod kinds;
mod run_states;
mod command;
mod evidence;
mod given;
mod explanation;
mod exit;
mod continued;
mod standing;
mod after;
mod pending;
mod asking;
mod ending;
mod explain;
mod memory;
mod gap;
mod stopping;
mod unseen_end;
mod going;

use qmp_events::EventKind as K;
use serde_json::Value;

use crate::conclusion::Found;
use crate::correlator::Correlator;
use crate::epoch::{Before, Span};
use crate::limits::{BREATH, COMMAND_SAID_MAX, EXIT_SOON};
use crate::local_time::Moment;
use crate::observation::{Event, Input, Snapshot, What};
use crate::process::Identity;
use crate::question::{Asked, QUERY_STATUS};
use crate::state::Why as Explanation;
use evidence::Mark;
pub(super) use explanation::CAUSES;
pub(super) use kinds::{WHY_ENDED, WHY_PAUSED, WHY_RESET, WHY_SUSPENDED};
pub(super) use memory::Why;
use pending::{Pending, WaitsFor, tell_of};
#[cfg(test)]
pub(super) use run_states::names as run_state_names;
use standing::Standing;

impl Correlator for Why {
    fn take(&mut self, input: &Input<'_>, span: &Span, found: &mut Found) {
        match &input.what {
            What::Attached(snapshot) => self.attached(snapshot, input, span, found),
            What::Event(event) => self.event(event, input, span, found),
            What::Detached(reason) => self.detached(reason, input, span, found),
            What::Command(command) => self.command(command, input, found),
            What::ProcessEnded(end) => self.process_ended(end, input, span, found),
            What::Answer(answer) => self.answered(answer, input, found),
        }
    }

    fn deadline(&self) -> Option<Moment> {
        self.pending.iter().map(|pending| pending.until).chain(self.asking.deadline()).min()
    }

    fn overdue(&mut self, now: Moment, _span: &Span, found: &mut Found) {
        self.asking.overdue(now, found);
        self.settle(|pending| pending.until <= now, found);
    }

    fn is_open(&self, (execute, cause): Asked) -> bool {
        execute == QUERY_STATUS && self.asking.is_open(cause)
    }
}

impl Why {
    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    fn attached(&mut self, snapshot: &Snapshot, input: &Input<'_>, span: &Span, found: &mut Found) {
        self.settle(|_| true, found);
        let mut earlier = std::mem::take(self);
        let is_another = |before: &&Before| before.process_is(snapshot) == Identity::Another;
        let replaced = span.before.as_deref().filter(is_another);
        let replaced = replaced.and_then(|before| earlier.replaced(before, snapshot, input, found));
        if let Some(status) = &snapshot.migration {
            self.evidence.migration = Some((Mark::of(input, None), status.clone()));
        }
        let Some(status) = &snapshot.status else { return };
        let is_replaced = replaced.is_some();
        self.standing.set(input.now, replaced.unwrap_or_else(|| explain::found(status, input.id)));
        self.standing.found = true;
        if let Some(before) = span.before.as_deref().filter(|_| !is_replaced) {
            self.go_on(earlier, before, snapshot, input);
        }
        // That one may last as long as the other side likes, and RESUME ends it.
        if run_states::of(status).passes && &**status != "inmigrate" {
            self.asking.ask_again(input.id, 1, input.now);
        }
    }

    fn event(&mut self, event: &Event<'_>, input: &Input<'_>, span: &Span, found: &mut Found) {
        let Some(kind) = event.kind else { return };
        let mark = Mark::of(input, event.at);
        self.evidence.note(kind, event, mark);
        match kind {
            K::Stop => self.stop(event, input, span, found),
            K::Resume | K::Wakeup => self.goes_on(kind, input, found),
            K::Reset => self.reset(event, input, span, found),
            K::Suspend => {
                self.stands(input.now, explain::suspended(input.id));
                self.tell_standing(WHY_SUSPENDED, found);
            }
            K::Shutdown => {
                // The stop before it was the first step of the end, if the end comes.
                for pending in self.pending.iter_mut().filter(|pending| pending.waits_for == WaitsFor::Stay) {
                    pending.until = input.now.after(EXIT_SOON);
                }
                if self.standing.run_state.as_deref().is_some_and(|state| state != "running") {
                    // With `-no-shutdown` QEMU stays, and no STOP says so of a VM that is stopped already.
                    self.asking.ask_again(input.id, 1, input.now);
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
        if self.standing.run_state.as_deref() == Some("running") {
            self.standing.explain(explanation);
        }
    }

    fn goes_on(&mut self, kind: K, input: &Input<'_>, found: &mut Found) {
        self.settle(|pending| pending.consequence == K::Stop && !pending.is_open(), found);
        self.hurry_stops(input.now);
        self.evidence.runs_again();
        if self.standing.run_state.as_deref() == Some("prelaunch")
            && let Some(reset) = &mut self.evidence.reset
        {
            reset.now = input.now;
        }
        let arrived = self.arrived(kind, input);
        let explanation = arrived.unwrap_or_else(|| explain::running(kind, &self.evidence, input));
        if explanation.details.contains_key(explanation::COMMAND) {
            // What it stopped goes on: its work is done.
            self.evidence.spend_command();
        }
        let is_known = kind == K::Wakeup || explanation.by != "unknown";
        self.stands(input.now, explanation);
        if !is_known {
            self.asking.ask(input.id, input.now, found);
        }
    }

    /// Whether the RESUME is that of a VM whose incoming migration is done, or has switched over to it.
    fn arrived(&self, kind: K, input: &Input<'_>) -> Option<Explanation> {
        let waited =
            self.standing.why.as_ref().filter(|_| self.standing.run_state.as_deref() == Some("inmigrate"));
        let (waited, (migration, status)) = waited.zip(self.evidence.migration.as_ref())?;
        let is_done = &**status == "completed" && input.now.since(migration.now) <= BREATH;
        let is_it = kind == K::Resume && (is_done || self.evidence.is_migrating());
        (is_it && self.evidence.resuming(input.now).is_none())
            .then(|| explain::arrived(&waited.causes, *migration, input.id))
    }

    /// The VM stands otherwise, and no answer explains the STOP before it. The record of a command may still: one that
    /// stops the VM for its own work is recorded when that is done.
    fn hurry_stops(&mut self, now: Moment) {
        let soon = now.after(COMMAND_SAID_MAX);
        for pending in self.pending.iter_mut().filter(|pending| pending.is_open()) {
            pending.until = pending.until.min(soon);
        }
    }

    /// A command was given through the hub: it may explain what waits, and what was seen a moment ago.
    fn command(&mut self, data: &Value, input: &Input<'_>, found: &mut Found) {
        let Some(name) = data.get("execute").and_then(Value::as_str) else { return };
        self.evidence.command(name, data, Mark::of(input, None));
        if self.evidence.command.as_ref().is_none_or(|(mark, _)| mark.id != input.id) {
            return;
        }
        let resumed = self.resumed_by_command(input);
        let explains = |pending: &Pending| self.evidence.explains(pending, input.now).is_some();
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
        let is_standing = self.replace(&before, &pending.explanation());
        if is_standing && pending.guess.cause == "host-stop" {
            self.standing.assumed = false;
            self.asking.close();
        }
        if pending.waits_for == WaitsFor::Exit {
            self.pending.push(pending);
        } else {
            tell_of(&pending, found);
        }
    }

    fn resumed_by_command(&mut self, input: &Input<'_>) -> bool {
        let resumed_at = self.standing.explained_at;
        let Some(given) = self.evidence.resumed(resumed_at, input.now) else { return false };
        let is_recent = input.now.since(resumed_at) <= COMMAND_SAID_MAX;
        let is_running = self.standing.is_running();
        let may_be_its = |why: &&mut Explanation| match why.cause {
            "resume" => why.by == "unknown",
            // With `-S`, what arrived is paused until then.
            cause => cause == "incoming-migration" && is_running,
        };
        let resumed = self.standing.why.as_mut().filter(may_be_its);
        let Some(why) = resumed.filter(|_| is_recent) else { return false };
        explanation::name_client(why, given);
        self.asking.close();
        true
    }

    /// Tells what waited, with what is known by now.
    fn settle(&mut self, is_due: impl Fn(&Pending) -> bool, found: &mut Found) {
        let (due, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.pending).into_iter().partition(is_due);
        self.pending = rest;
        for mut pending in due.into_iter().filter(|pending| pending.waits_for != WaitsFor::HeldBack) {
            if pending.waits_for == WaitsFor::Migration {
                // Nothing was heard of the migration that could have been the reason.
                let (explanation, _) = explain::plain_stop(&self.evidence, pending.mark);
                self.replace(&pending.guess, &explanation);
                pending.guess = explanation;
            }
            tell_of(&pending, found);
        }
    }

    /// Corrects why the VM stands as it does, and whether it does so for that reason still.
    fn replace(&mut self, before: &Explanation, after: &Explanation) -> bool {
        let is_standing = self.standing.why.as_ref() == Some(before);
        if is_standing {
            self.standing.why = Some(after.clone());
            self.standing.run_state = Some(after.run_state.clone());
        }
        is_standing
    }

    fn stands(&mut self, now: Moment, explanation: Explanation) {
        self.standing.set(now, explanation);
        self.asking.close();
    }

    fn tell_standing(&self, kind: &'static str, found: &mut Found) {
        if let Some(explanation) = &self.standing.why {
            explanation::tell(kind, explanation, found);
        }
    }
}
