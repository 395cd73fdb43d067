//! Explanations that wait for a better one.

use std::time::Duration;

use qmp_events::EventKind as K;

use super::super::BREATH;
use super::super::moment::Moment;
use super::Explanation;
use super::evidence::Mark;

/// A stop, a reset or an end (`consequence` is SHUTDOWN then) of which more may still be told.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) consequence: K,
    pub(super) mark: Mark,
    pub(super) until: Moment,
    pub(super) guess: Explanation,
    /// Told only if QEMU does not end: then it was the first step of that.
    pub(super) unless_ends: bool,
    /// What was guessed has been heard of since.
    pub(super) confirmed: bool,
    /// It is to be told how the process ended, which is the last that is heard of it.
    pub(super) until_exit: bool,
}

/// How long an explanation waits for a better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    No,
    For(Duration),
    /// It is told only if QEMU does not end.
    UnlessEnds,
}

impl Hold {
    pub(super) fn span(self) -> Duration {
        match self {
            Self::No => Duration::ZERO,
            Self::For(span) => span,
            Self::UnlessEnds => BREATH,
        }
    }
}
