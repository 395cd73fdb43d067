//! VMs that were not seen to end, and of which no epoch is open.

use crate::finding::Id;
use crate::process::Process;

/// A VM whose last epoch is closed, for another reason than its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unended {
    /// The VM.
    pub vm: Box<str>,
    /// The record that opened its last epoch.
    pub opened: Id,
    /// The process at its monitor, if that is known.
    pub process: Option<Process>,
    /// Its monitor, as it is written in a configuration.
    pub address: Option<Box<str>>,
}
