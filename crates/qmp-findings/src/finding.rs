//! A finding: a conclusion of correlators from the records of a VM.

use qmp_wire::{Body, Causes, Epoch, Seq, UnixMicros};
use serde_json::{Map, Value};

/// Epoch and number of a record: with its VM, its identity.
pub type Id = (Epoch, Seq);

/// A conclusion.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The VM that it concerns.
    pub vm: Box<str>,
    /// The name of one of [`KINDS`](crate::KINDS).
    pub kind: &'static str,
    /// One sentence for people.
    pub summary: String,
    /// The records from which it was concluded, in order, at least one; none for a finding over hosts, whose data names them.
    pub causes: Causes,
    /// The facts for programs.
    pub data: Map<String, Value>,
    /// When it could be concluded, on this host's clock: when its last cause was received, or when a deadline expired.
    /// The record of the finding has the same time of receipt.
    pub at: UnixMicros,
}

impl Finding {
    /// The finding as the body of a record.
    #[must_use]
    pub fn body(&self) -> Body<'_> {
        Body::Finding {
            finding: self.kind.into(),
            summary: self.summary.as_str().into(),
            causes: self.causes.clone(),
            data: (!self.data.is_empty()).then(|| Value::Object(self.data.clone()).to_string().into()),
        }
    }
}
