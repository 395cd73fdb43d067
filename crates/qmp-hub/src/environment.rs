//! What a hub uses of its host, and a test or a simulation replaces.

use qmp_host::clock::Clock;

/// The surroundings of a hub.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The clock of its records.
    pub clock: Clock,
}
