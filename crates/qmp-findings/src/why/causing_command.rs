//! Recorded commands that may be the cause of an event.

use std::time::Duration;

use super::command::Command;
use super::evidence::{Evidence, Mark};
use crate::finding::Id;
use crate::limits::{CAUSE_LEAD_MAX, EXIT_MAX};
use crate::local_time::Moment;

/// A recorded command, and the cause that it stands for.
#[derive(Clone, Copy, Debug)]
pub(super) struct CausingCommand<'a> {
    pub(super) id: Id,
    pub(super) cause: &'static str,
    pub(super) command: &'a Command,
}

/// By how much the time of receipt of an event may differ from that of the command that caused it, because the clock is
/// read in another order.
const CLOCK_READ_MAX: Duration = Duration::from_millis(5);

impl Evidence {
    /// The command that may have stopped the VM at `stop`, which was received before the record of the command.
    pub(super) fn stopped(&self, stop: Mark, now: Moment) -> Option<CausingCommand<'_>> {
        self.given(now, CAUSE_LEAD_MAX, Command::stops).filter(|_| self.was_executing(stop.now))
    }

    /// The command that may have resumed the VM at `resumed_at`, before the record of the command.
    pub(super) fn resumed(&self, resumed_at: Moment, now: Moment) -> Option<CausingCommand<'_>> {
        self.given(now, CAUSE_LEAD_MAX, Command::resumes).filter(|_| self.was_executing(resumed_at))
    }

    /// The command whose job may stop the VM now: other commands stop it before their reply.
    pub(super) fn stopping(&self, now: Moment) -> Option<CausingCommand<'_>> {
        self.given(now, CAUSE_LEAD_MAX, |command| command.stops().filter(|_| command.job.is_some()))
    }

    /// The command whose job may resume the VM now.
    pub(super) fn resuming(&self, now: Moment) -> Option<CausingCommand<'_>> {
        self.given(now, CAUSE_LEAD_MAX, |command| command.resumes().filter(|_| command.job.is_some()))
    }

    /// The command that may have reset the VM; QEMU replies before or after that.
    pub(super) fn resetting(&self, now: Moment) -> Option<CausingCommand<'_>> {
        self.given(now, CAUSE_LEAD_MAX, Command::resets)
    }

    pub(super) fn quitting(&self, now: Moment) -> Option<CausingCommand<'_>> {
        self.given(now, EXIT_MAX, Command::quits)
    }

    /// Marks the last command as used, because its effect was seen.
    pub(super) fn spend_command(&mut self) {
        if let Some(facts) = self.facts_mut()
            && let Some((_, command)) = &mut facts.command
        {
            command.is_spent = true;
        }
    }

    /// Marks the command of this job as used, because the job is over: later events are not its effects.
    pub(super) fn job_ended(&mut self, id: &str) {
        if self.command.as_ref().is_some_and(|(_, command)| command.job.as_deref() == Some(id)) {
            self.spend_command();
        }
    }

    /// Whether the last command was being executed at that moment.
    fn was_executing(&self, at: Moment) -> bool {
        self.command.as_ref().is_some_and(|(mark, command)| {
            command.took.is_none_or(|took| mark.now.since(at) <= took + CLOCK_READ_MAX)
        })
    }

    fn given(
        &self,
        now: Moment,
        within: Duration,
        cause: impl Fn(&Command) -> Option<&'static str>,
    ) -> Option<CausingCommand<'_>> {
        let (mark, command) = self.command.as_ref().filter(|(_, command)| !command.is_spent)?;
        let cause = cause(command).filter(|_| now.since(mark.now) <= within)?;
        Some(CausingCommand { id: mark.id, cause, command })
    }
}
