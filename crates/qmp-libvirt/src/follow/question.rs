//! The questions to libvirtd about its domains.

use crate::domain::Domain;

/// A question to libvirtd about a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Whether libvirtd can speak to its QEMU.
    Control(Domain),
    /// Its state, with which an epoch opens.
    State(Domain),
    /// Whether it exists after its run.
    Exists(Domain),
}
