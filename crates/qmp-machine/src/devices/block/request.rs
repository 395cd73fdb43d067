//! The requests of devices.

use super::faults::Operation;

/// A request of a device to its node.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Path of the device; empty if the request comes from no device, so that its failure raises no event.
    pub(crate) path: Box<str>,
    pub(crate) node: Box<str>,
    pub(crate) operation: Operation,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}
