//! The state of one VM from which its run state is explained.

use super::evidence::Evidence;
use super::pending::PendingExplanation;
use super::state_question::StateQuestion;
use super::status::Status;
use crate::persist::persist;

/// The run state of one VM, and the facts that explain it.
#[derive(Debug, Default)]
pub(in super::super) struct Explainer {
    pub(super) status: Status,
    pub(super) evidence: Evidence,
    pub(super) pending: Vec<PendingExplanation>,
    pub(super) question: StateQuestion,
    /// The end that was reported before how the process ended was known.
    pub(super) reported_end: Option<Box<PendingExplanation>>,
}

persist!(Explainer { status, evidence, pending, question, reported_end });
