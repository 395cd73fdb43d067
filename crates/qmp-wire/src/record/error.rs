//! The errors of parsing a record.

/// Errors of parsing a record from its JSON line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a record: {0}")]
pub struct RecordError(pub Box<str>);
