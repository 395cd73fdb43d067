//! Explanations that wait for a better one.

use std::time::Duration;

use qmp_events::EventKind as K;

use super::after::{self, Prior};
use super::evidence::Mark;
use super::explanation;
use super::kinds::{WHY_ENDED, WHY_PAUSED, WHY_RESET};
use crate::conclusion::Found;
use crate::limits::BREATH;
use crate::local_time::Moment;
use crate::saved::{saved, saved_enum};
use crate::state::Why as Explanation;

/// A stop, a reset or an end (`consequence` is SHUTDOWN then) of which more may still be told.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) consequence: K,
    pub(super) mark: Mark,
    pub(super) until: Moment,
    /// What led there, as far as it is known.
    pub(super) guess: Explanation,
    /// The state in which the VM stood before, if that is why it ended or was reset.
    pub(super) prior: Option<Box<Prior>>,
    pub(super) waits_for: WaitsFor,
    /// Until then an event that the rate limit held back, or the record of a command, may come.
    pub(super) may_come_until: Moment,
}

/// What an explanation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// The record of the command, or an event that was held back.
    Record,
    /// An event that was held back; without it, nothing is told.
    HeldBack,
    /// The same as [`Record`](Self::Record), or the answer of the VM: no event explains it.
    Answer,
    /// A word about the migration that is under way; or the answer.
    Migration,
    /// That QEMU stays; if it ends, this was the first step of that.
    Stay,
    /// How the process ended, which is the last that is heard of it.
    Exit,
}

/// How long an explanation waits for a better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    No,
    For(WaitsFor, Duration),
}

saved!(Pending { consequence, mark, until, guess, prior, waits_for, may_come_until });
saved_enum!(WaitsFor { Record {}, HeldBack {}, Answer {}, Migration {}, Stay {}, Exit {} });

impl Hold {
    pub(super) const UNLESS_ENDS: Self = Self::For(WaitsFor::Stay, BREATH);
}

impl Pending {
    pub(super) fn new(
        consequence: K,
        mark: Mark,
        guess: Explanation,
        waits_for: WaitsFor,
        span: Duration,
    ) -> Self {
        let until = mark.now.after(span);
        Self { consequence, mark, until, guess, prior: None, waits_for, may_come_until: mark.now }
    }

    /// No event explains it: an answer of the VM may.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.waits_for, WaitsFor::Answer | WaitsFor::Migration)
    }

    /// What is concluded if nothing more comes.
    pub(super) fn explanation(&self) -> Explanation {
        match self.consequence {
            K::Reset | K::Shutdown => after::explained(self.prior.as_deref(), &self.guess),
            _ => self.guess.clone(),
        }
    }
}

/// Adds the finding about what waited.
pub(super) fn tell_of(pending: &Pending, found: &mut Found) {
    let kind = match pending.consequence {
        K::Reset => WHY_RESET,
        K::Shutdown => WHY_ENDED,
        _ => WHY_PAUSED,
    };
    explanation::tell(kind, &pending.explanation(), found);
}
