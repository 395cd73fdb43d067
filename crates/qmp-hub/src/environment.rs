//! The parts of the host that a hub uses, and that a test or a simulation replaces.

use std::sync::Arc;

use qmp_client::Dial;
use qmp_host::clock::Clock;

/// The surroundings of a hub.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The clock of its records.
    pub clock: Clock,
    /// Connects to monitors; without it, the operating system does.
    pub dial: Option<Arc<dyn Dial>>,
}
