//! Explanations that wait for a better one.

use std::time::Duration;

use qmp_events::EventKind as K;

use super::after::{self, PriorState};
use super::evidence::Mark;
use super::explanation;
use super::kinds::{WHY_ENDED, WHY_PAUSED, WHY_RESET};
use crate::conclusion::Conclusions;
use crate::limits::CAUSE_LEAD_MAX;
use crate::local_time::Moment;
use crate::persist::{persist, persist_enum};
use crate::state::Explanation;

/// A stop, a reset or an end (`consequence` is SHUTDOWN then) that a later record may explain better.
#[derive(Debug)]
pub(super) struct PendingExplanation {
    pub(super) consequence: K,
    pub(super) mark: Mark,
    pub(super) until: Moment,
    /// The best explanation so far.
    pub(super) guess: Explanation,
    /// The state of the VM before, if that is why it ended or was reset.
    pub(super) prior: Option<Box<PriorState>>,
    pub(super) wait_reason: WaitReason,
    /// Until then an event that the rate limit held back, or the record of a command, may be received.
    pub(super) may_come_until: Moment,
}

/// The record for which an explanation waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitReason {
    /// The record of the command, or an event that was held back.
    Record,
    /// An event that was held back; without it, nothing is reported.
    HeldBack,
    /// As [`Record`](Self::Record), or the answer of the VM: no event explains it.
    Answer,
    /// An event of the migration in progress, or the answer.
    Migration,
    /// Time in which QEMU stays; if QEMU ends, the stop was the first step of its end.
    Stay,
    /// How the process ended, which is its last record.
    Exit,
}

/// How long an explanation waits for a better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    No,
    For(WaitReason, Duration),
}

persist!(PendingExplanation { consequence, mark, until, guess, prior, wait_reason, may_come_until });
persist_enum!(WaitReason { Record {}, HeldBack {}, Answer {}, Migration {}, Stay {}, Exit {} });

impl Hold {
    pub(super) const UNLESS_ENDS: Self = Self::For(WaitReason::Stay, CAUSE_LEAD_MAX);
}

impl PendingExplanation {
    pub(super) fn new(
        consequence: K,
        mark: Mark,
        guess: Explanation,
        wait_reason: WaitReason,
        span: Duration,
    ) -> Self {
        let until = mark.now.after(span);
        Self { consequence, mark, until, guess, prior: None, wait_reason, may_come_until: mark.now }
    }

    /// Whether no event explains it, so that an answer of the VM may.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.wait_reason, WaitReason::Answer | WaitReason::Migration)
    }

    /// The explanation without a further record.
    pub(super) fn explanation(&self) -> Explanation {
        match self.consequence {
            K::Reset | K::Shutdown => after::explained(self.prior.as_deref(), &self.guess),
            _ => self.guess.clone(),
        }
    }
}

/// Adds the finding about a pending explanation.
pub(super) fn report_pending(pending: &PendingExplanation, found: &mut Conclusions) {
    let kind = match pending.consequence {
        K::Reset => WHY_RESET,
        K::Shutdown => WHY_ENDED,
        _ => WHY_PAUSED,
    };
    explanation::report(kind, &pending.explanation(), found);
}
