//! Plays a script on a machine.

use std::{io, time::Duration};

use super::{Due, Script, Timeline};
use crate::{Action, ActionError, Machine, Running};

/// A script at a place in its time.
#[derive(Debug)]
pub struct Player {
    timeline: Timeline<Action>,
    speed: f64,
    /// How long it plays, on the clock of the machine.
    now: Duration,
}

/// An action that the machine refused; the script goes on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("line {line}: {}: {error}", .action.execute)]
pub struct Refused {
    /// The line of the script, counted from 1.
    pub line: usize,
    /// What was to be done.
    pub action: Action,
    /// The machine's complaint.
    pub error: ActionError,
}

impl Player {
    /// Plays `script` from its beginning: chance comes from `seed`, and its time runs `factor` times as fast as the
    /// script itself says. The machine's own time is its own.
    #[must_use]
    pub fn new(script: &Script, seed: u64, factor: f64) -> Self {
        Self { timeline: script.timeline(seed), speed: script.speed * factor, now: Duration::ZERO }
    }

    /// When something is due next, counted from the beginning on the clock of the machine; `None` at the end.
    #[must_use]
    pub fn next_at(&self) -> Option<Duration> {
        let at = self.timeline.next_at()?;
        // What is that far away does not come.
        Some(Duration::try_from_secs_f64(at.as_secs_f64() / self.speed).unwrap_or(Duration::MAX))
    }

    /// Does everything that is due by `now`, counted from the beginning. `told` hears of what is refused.
    ///
    /// Does nothing more once the machine exited.
    pub fn perform_due(&mut self, machine: &Machine, now: Duration, mut told: impl FnMut(Refused)) {
        self.now = self.now.max(now);
        while self.next_at().is_some_and(|at| at <= now) {
            let Some(Due { line, action, .. }) = self.timeline.take() else { continue };
            match machine.perform(&action) {
                Ok(_) => {}
                Err(ActionError::Exited { .. }) => return,
                Err(error) => told(Refused { line, action, error }),
            }
        }
    }

    /// Moves the virtual clock of a machine on, and does on the way what is due. Returns what was refused.
    ///
    /// Ends early when the machine exits.
    ///
    /// # Errors
    ///
    /// Those of [`Running::advance`].
    pub fn play_for(&mut self, running: &Running, span: Duration) -> io::Result<Vec<Refused>> {
        let until = self.now.saturating_add(span);
        let mut refused = Vec::new();
        loop {
            let next = self.next_at().filter(|at| *at <= until);
            let moment = next.unwrap_or(until);
            running.advance(moment.saturating_sub(self.now))?;
            self.now = self.now.max(moment);
            self.perform_due(running.machine(), moment, |one| refused.push(one));
            if next.is_none() || running.machine().exit_status().is_some() {
                return Ok(refused);
            }
        }
    }
}
