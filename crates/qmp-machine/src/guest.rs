//! The guest: whether an operating system runs, and how fast it reacts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The guest of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Guest {
    /// No operating system: the guest acts only on command, as in a QEMU with nothing to boot.
    Absent,
    /// An operating system that reacts to requests: it shuts down at the power button, releases devices, and gives
    /// memory back.
    #[default]
    Attentive,
}

/// Time that an operating system takes to shut down.
///
/// Source: measured, a Linux without services.
pub(crate) const SHUTDOWN_AFTER: Duration = Duration::from_millis(120);

/// Time that an operating system takes to release a device.
pub(crate) const UNPLUG_AFTER: Duration = Duration::from_millis(50);
