//! Plays a script on a machine.

use std::{io, time::Duration};

use super::{
    model::Script,
    timeline::{DueAction, Timeline},
};
use crate::{
    action::{Action, ActionError},
    machine::Machine,
    running::RunningMachine,
};

/// Maximum number of steps in one call of [`Player::perform_due`]: some milliseconds.
const STEPS_AT_ONCE: usize = 256;

/// The state of playing a script.
#[derive(Debug)]
pub struct Player {
    timeline: Timeline<Action>,
    speed: f64,
    /// The position, on the clock of the machine.
    now: Duration,
}

/// An action that the machine refused; the script continues.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("line {line}: {}: {error}", .action.execute)]
pub struct RefusedAction {
    /// The line of the script, counted from 1.
    pub line: usize,
    /// The action.
    pub action: Action,
    /// The machine's error.
    pub error: ActionError,
}

impl Player {
    /// Plays `script` from its beginning: random decisions come from `seed`, and the script's time runs `factor`
    /// times as fast as the script's own speed. The clock of the machine is not affected.
    #[must_use]
    pub fn new(script: &Script, seed: u64, factor: f64) -> Self {
        Self { timeline: script.timeline(seed), speed: script.speed * factor, now: Duration::ZERO }
    }

    /// Returns when the next action is due, counted from the beginning on the clock of the machine; `None` at the
    /// end.
    #[must_use]
    pub fn next_at(&self) -> Option<Duration> {
        let at = self.timeline.next_at()?;
        // A time this far in the future is never reached.
        Some(Duration::try_from_secs_f64(at.as_secs_f64() / self.speed).unwrap_or(Duration::MAX))
    }

    /// Performs the actions due by `now`, counted from the beginning. Passes refused actions to `report`.
    ///
    /// A script can be faster than the machine: after some hundred actions this returns, so that the caller can end
    /// the script. [`next_at`](Self::next_at) has then not passed `now`.
    ///
    /// Does nothing after the exit of the machine.
    pub fn perform_due(&mut self, machine: &Machine, now: Duration, mut report: impl FnMut(RefusedAction)) {
        self.now = self.now.max(now);
        for _ in 0..STEPS_AT_ONCE {
            if self.next_at().is_none_or(|at| at > now) {
                return;
            }
            let Some(DueAction { line, action, .. }) = self.timeline.take() else { continue };
            match machine.perform(&action) {
                Ok(_) => {}
                Err(ActionError::Exited { .. }) => return,
                Err(error) => report(RefusedAction { line, action, error }),
            }
        }
    }

    /// Advances the virtual clock of a machine and performs the actions that become due. Returns the refused
    /// actions.
    ///
    /// Returns early when the machine exits.
    ///
    /// # Errors
    ///
    /// Those of [`RunningMachine::advance`].
    pub fn play_for(&mut self, running: &RunningMachine, span: Duration) -> io::Result<Vec<RefusedAction>> {
        let until = self.now.saturating_add(span);
        let mut refused = Vec::new();
        loop {
            let next = self.next_at().filter(|at| *at <= until);
            let time = next.unwrap_or(until);
            running.advance(time.saturating_sub(self.now))?;
            self.now = self.now.max(time);
            self.perform_due(running.machine(), time, |refusal| refused.push(refusal));
            if next.is_none() || running.machine().exit_status().is_some() {
                return Ok(refused);
            }
        }
    }
}
