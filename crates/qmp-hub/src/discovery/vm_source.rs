//! What a source of VMs provides.

use qmp_client::Address;

use crate::layout::Parts;

/// VMs that one rule follows at most. A host runs hundreds; more than this is a mistake, or somebody who makes files
/// faster than they can be looked at.
pub const DISCOVERED_MAX: usize = 16_384;

/// One monitor, or one VM with several, that a source sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Tells it from the others of its rule, from one look to the next: a path, a process.
    pub(super) key: Box<str>,
    pub(super) parts: Parts,
    /// Its monitors, the best first; at least one.
    pub(super) monitors: Vec<Address>,
}

/// What tells what is there.
pub(super) trait Look: Send + Sized + 'static {
    /// Everything that is there. May wait for the disk.
    fn look(&mut self) -> Vec<Found>;

    /// Why something that is not there any more was removed, such as "its socket is gone".
    fn gone(&self) -> &'static str;

    /// Waits until another look may tell something else.
    fn changed(&mut self) -> impl Future<Output = ()> + Send;
}

/// The address of a monitor that was found at a path.
pub(super) fn at(path: impl Into<std::path::PathBuf>) -> Address {
    Address::Unix { path: path.into(), listen: false }
}
