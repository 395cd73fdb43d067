//! The conclusions of correlators from one record, before VM and time are added.

use qmp_wire::{Causes, UnixMicros};
use serde_json::{Map, Value};

use crate::finding::{Finding, Id};
use crate::limits::CAUSES_MAX;
use crate::question::QuestionId;

/// Collects the conclusions of correlators.
#[derive(Debug, Default)]
pub(crate) struct Conclusions {
    pub(crate) findings: Vec<Conclusion>,
    pub(crate) questions: Vec<QuestionId>,
    /// Whether the QEMU of the epoch has ended, or that of the epoch before if this record opens one.
    pub(crate) has_qemu_ended: bool,
}

/// A finding without its VM.
#[derive(Debug)]
pub(crate) struct Conclusion {
    pub(crate) kind: &'static str,
    pub(crate) summary: String,
    pub(crate) causes: Causes,
    pub(crate) data: Map<String, Value>,
}

impl Conclusions {
    /// Adds a finding. `data` is an object.
    pub(crate) fn push(&mut self, kind: &'static str, summary: String, mut causes: Causes, data: Value) {
        causes.sort_unstable();
        causes.dedup();
        if causes.len() > CAUSES_MAX {
            causes.drain(CAUSES_MAX - 1..causes.len() - 1);
        }
        let data = match data {
            Value::Object(data) => data,
            _ => Map::new(),
        };
        self.findings.push(Conclusion { kind, summary, causes, data });
    }

    /// Raises a question, which must be open for its correlator.
    pub(crate) fn ask(&mut self, execute: &'static str, cause: Id) {
        self.questions.push((execute, cause));
    }
}

impl Conclusion {
    pub(crate) fn of(self, vm: &str, at: UnixMicros) -> Finding {
        let Self { kind, summary, causes, data } = self;
        Finding { vm: vm.into(), kind, summary, causes, data, at }
    }
}
