//! Questions: what no event tells and the VM can answer.
//!
//! Correlators are pure and ask nobody. They raise a [`Question`], the hub asks the VM once and records the answer as
//! evidence of the kind [`QUERY`](super::QUERY), and the correlators take that record like any other. A replay reads the
//! answers from the journal, so it gives the same findings.

use qmp_wire::{Causes, Epoch, Seq};
use serde_json::Value;

use crate::finding::Id;

/// The question that follows a STOP or a RESUME.
pub(super) const QUERY_STATUS: &str = "query-status";

/// The question that follows the end of a job of which no event says what came of it.
pub(super) const QUERY_JOBS: &str = "query-jobs";

/// A command without arguments that is to be asked of a VM, once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// The VM to ask.
    pub vm: Box<str>,
    /// `query-status` or `query-jobs`.
    pub execute: &'static str,
    /// The record that raised the question: the record of the answer names it as its only cause.
    pub cause: (Epoch, Seq),
}

/// A question of one VM.
pub(super) type Asked = (&'static str, Id);

/// The record of an answer.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    /// The record that raised the question.
    pub(crate) causes: &'a Causes,
    /// `{"execute": …, "return": …}`, or `error` in the place of `return`.
    pub(crate) data: &'a Value,
}

impl Answer<'_> {
    /// Whether this answers the question.
    pub(super) fn is_to(&self, (execute, cause): Asked) -> bool {
        self.data.get("execute").and_then(Value::as_str) == Some(execute) && self.causes.contains(&cause)
    }

    /// What the VM returned; `None` if it could not be asked.
    pub(super) fn returned(&self) -> Option<&Value> {
        self.data.get("return")
    }
}
