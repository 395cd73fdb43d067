//! Checkpoints: the state that a reader derived from all records of a VM up to one of them, which saves reading them
//! again.

use qmp_wire::Offset;

/// The saved state of a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The name of the VM.
    pub vm: Box<str>,
    /// The last record of the VM that the state includes.
    pub offset: Offset,
    /// The version of the code that reads the state.
    pub version: Box<str>,
    /// The checksum of the state.
    pub checksum: i64,
    /// The state, in the format of its reader.
    pub state: Box<str>,
}

impl Checkpoint {
    /// The memory of the checkpoint, in bytes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.vm.len() + self.version.len() + self.state.len()
    }
}
