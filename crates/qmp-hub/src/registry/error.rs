//! Why a VM is not added or removed.

use crate::vm::{VmName, VmOrigin};

/// Errors of adding and removing VMs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VmRegistryError {
    /// Another VM has that name.
    #[error("a VM called {name} is here already ({origin}); each VM needs a name of its own")]
    NameTaken {
        /// The name.
        name: VmName,
        /// Where the other one came from.
        origin: VmOrigin,
    },
    /// A VM of that name is being added or removed.
    #[error("a VM called {name} is just being added or removed; try again")]
    NameInUse {
        /// The name.
        name: VmName,
    },
    /// There is no VM of that name.
    #[error("there is no VM called {name}")]
    Unknown {
        /// The name.
        name: Box<str>,
    },
    /// The hub is stopping.
    #[error("the hub stops")]
    Stopping,
}
