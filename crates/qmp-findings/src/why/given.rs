//! The recorded command that may be the cause of what follows it.

use std::time::Duration;

use super::command::Command;
use super::evidence::{Evidence, Mark};
use crate::finding::Id;
use crate::limits::{BREATH, EXIT_MAX};
use crate::local_time::Moment;

/// A recorded command, and the cause that it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given<'a> {
    pub(super) id: Id,
    pub(super) cause: &'static str,
    pub(super) command: &'a Command,
}

/// What the time of receipt of an event may differ from that of a command that caused it, by the order in which the
/// clock is read for both.
const CLOCK_READ_MAX: Duration = Duration::from_millis(5);

impl Evidence {
    /// The command that may have stopped the VM at `stop`, which was received before the record of the command.
    pub(super) fn stopped(&self, stop: Mark, now: Moment) -> Option<Given<'_>> {
        self.given(now, BREATH, Command::stops).filter(|_| self.was_under_way(stop.now))
    }

    /// The command that may have resumed the VM at `resumed_at`, before the record of the command.
    pub(super) fn resumed(&self, resumed_at: Moment, now: Moment) -> Option<Given<'_>> {
        self.given(now, BREATH, Command::resumes).filter(|_| self.was_under_way(resumed_at))
    }

    /// The command whose job may stop the VM now: other commands stop it before their reply.
    pub(super) fn stopping(&self, now: Moment) -> Option<Given<'_>> {
        self.given(now, BREATH, |command| command.stops().filter(|_| command.job.is_some()))
    }

    /// The command whose job may resume the VM now.
    pub(super) fn resuming(&self, now: Moment) -> Option<Given<'_>> {
        self.given(now, BREATH, |command| command.resumes().filter(|_| command.job.is_some()))
    }

    /// The command that may have reset the VM; QEMU replies first, or after that.
    pub(super) fn resetting(&self, now: Moment) -> Option<Given<'_>> {
        self.given(now, BREATH, Command::resets)
    }

    pub(super) fn quitting(&self, now: Moment) -> Option<Given<'_>> {
        self.given(now, EXIT_MAX, Command::quits)
    }

    /// The last command has had its effect.
    pub(super) fn spend_command(&mut self) {
        if let Some(seen) = self.seen_mut()
            && let Some((_, command)) = &mut seen.command
        {
            command.is_spent = true;
        }
    }

    /// That job is over: what follows is not its work.
    pub(super) fn job_ended(&mut self, id: &str) {
        if self.command.as_ref().is_some_and(|(_, command)| command.job.as_deref() == Some(id)) {
            self.spend_command();
        }
    }

    /// Whether the last command was under way at that moment.
    fn was_under_way(&self, at: Moment) -> bool {
        self.command.as_ref().is_some_and(|(mark, command)| {
            command.took.is_none_or(|took| mark.now.since(at) <= took + CLOCK_READ_MAX)
        })
    }

    fn given(
        &self,
        now: Moment,
        within: Duration,
        cause: impl Fn(&Command) -> Option<&'static str>,
    ) -> Option<Given<'_>> {
        let (mark, command) = self.command.as_ref().filter(|(_, command)| !command.is_spent)?;
        let cause = cause(command).filter(|_| now.since(mark.now) <= within)?;
        Some(Given { id: mark.id, cause, command })
    }
}
