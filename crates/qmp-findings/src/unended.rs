//! VMs whose end was not seen, and which have no open epoch.

use crate::finding::Id;
use crate::process::Process;

/// A VM whose last epoch was closed for another reason than its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnendedVm {
    /// The VM.
    pub vm: Box<str>,
    /// The record that opened its last epoch.
    pub opened: Id,
    /// The process at its monitor, if known.
    pub process: Option<Process>,
    /// The address of its monitor, as in a configuration.
    pub address: Option<Box<str>>,
}
