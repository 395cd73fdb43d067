//! The request to leave a VM.

use qmp_wire::DetachReason;

/// Why a VM is left.
#[derive(Clone, Debug)]
pub(crate) struct LeaveRequest {
    pub(crate) reason: DetachReason,
    /// The exact cause, for people.
    pub(crate) detail: Box<str>,
}
