//! Questions: facts that no event reports and the VM can answer.
//!
//! Correlators are pure and send nothing. A correlator raises a [`Question`], the hub asks the VM once and records the
//! answer as evidence of the kind [`QUERY`](super::QUERY), and the correlators take that record like any other. A
//! replay reads the answers from the journal, so it gives the same findings.

use qmp_wire::{Causes, Epoch, Seq};
use serde_json::Value;

use crate::finding::Id;
use crate::libvirt::LIBVIRT_STATE;

/// The question after a STOP or a RESUME. For a VM that is followed through libvirt, the answer to
/// [`LIBVIRT_STATE`] is an answer to it.
pub const QUERY_STATUS: &str = "query-status";

/// The question after the end of a job whose result no event gives.
pub(super) const QUERY_JOBS: &str = "query-jobs";

/// A command without arguments to be sent to a VM, once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// The VM to ask.
    pub vm: Box<str>,
    /// `query-status` or `query-jobs`.
    pub execute: &'static str,
    /// The record that raised the question: the record of the answer names it as its only cause.
    pub cause: (Epoch, Seq),
}

/// A question to one VM: its command and the record that raised it.
pub(super) type QuestionId = (&'static str, Id);

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
    pub(super) fn is_to(&self, (execute, cause): QuestionId) -> bool {
        let executed = self.data.get("execute").and_then(Value::as_str);
        let is_its =
            executed == Some(execute) || (execute == QUERY_STATUS && executed == Some(LIBVIRT_STATE));
        is_its && self.causes.contains(&cause)
    }

    /// The VM's return value; `None` if the question failed.
    pub(super) fn returned(&self) -> Option<&Value> {
        self.data.get("return")
    }
}
