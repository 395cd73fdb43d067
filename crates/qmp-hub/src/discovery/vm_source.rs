//! The interface of sources, and their results.

use std::sync::Arc;

use qmp_client::Address;

use super::rule::DiscoveryRule;
use crate::layout::Parts;

/// VMs that one rule follows at most. A host runs hundreds; more than this is a mistake, or a user who makes files faster
/// than they can be read.
pub const DISCOVERED_MAX: usize = 16_384;

/// One VM in the list of a source, with one monitor or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DiscoveredVm {
    /// Identifies it among the VMs of its rule, from one scan to the next: a path, a process.
    pub(super) key: Box<str>,
    pub(super) parts: Parts,
    /// Its monitors, the best first; at least one.
    pub(super) monitors: Vec<Address>,
}

/// Lists VMs.
pub(super) trait VmSource: Send + Sized + 'static {
    /// Lists all VMs that exist. May wait for the disk.
    fn look(&mut self) -> Vec<DiscoveredVm>;

    /// Why a VM that is missing in the list was removed, such as "its socket is gone".
    fn gone(&self) -> &'static str;

    /// The rule has changed. Its VMs are selected by the keeper.
    fn set_rule(&mut self, _: &Arc<DiscoveryRule>) {}

    /// Waits until the list may have changed. A wait that is dropped loses nothing.
    fn changed(&mut self) -> impl Future<Output = ()> + Send;
}

/// The address of a monitor that was found at a path.
pub(super) fn at(path: impl Into<std::path::PathBuf>) -> Address {
    Address::Unix { path: path.into(), listen: false }
}
