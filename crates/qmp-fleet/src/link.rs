//! The place of a message in the chain of its journal.

use qmp_wire::Offset;

/// The offset of a record in the journal of its host, and of the record that the host published before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The offset of the record published before; 0 for the first.
    pub previous: Offset,
    /// The offset of the record.
    pub offset: Offset,
}
