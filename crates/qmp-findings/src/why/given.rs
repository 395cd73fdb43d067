//! The recorded command that may be the cause of what follows it.

use std::time::Duration;

use super::command::Command;
use super::evidence::Evidence;
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

impl Evidence {
    /// The command that may have stopped the VM a moment ago.
    pub(super) fn stopping(&self, now: Moment) -> Option<Given<'_>> {
        self.given(now, BREATH, Command::stops)
    }

    pub(super) fn resuming(&self, now: Moment) -> Option<Given<'_>> {
        self.given(now, BREATH, Command::resumes)
    }

    pub(super) fn resetting(&self, now: Moment) -> Option<Given<'_>> {
        self.given(now, BREATH, Command::resets)
    }

    pub(super) fn quitting(&self, now: Moment) -> Option<Given<'_>> {
        self.given(now, EXIT_MAX, Command::quits)
    }

    fn given(
        &self,
        now: Moment,
        within: Duration,
        cause: impl Fn(&Command) -> Option<&'static str>,
    ) -> Option<Given<'_>> {
        let (mark, command) = self.command.as_ref()?;
        let cause = cause(command).filter(|_| now.since(mark.now) <= within)?;
        Some(Given { id: mark.id, cause, command })
    }
}
