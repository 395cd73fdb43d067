//! The guest: whether an operating system runs, and its reactions.

use std::time::Duration;

use qmp_events::ShutdownCause;
use serde::{Deserialize, Serialize};

use crate::vm::Vm;

/// The guest of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
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

impl Vm {
    /// Returns whether the guest reacts to requests and runs.
    pub(crate) fn guest_listens(&self) -> bool {
        self.config.guest == Guest::Attentive && self.is_running()
    }

    /// Presses the power button.
    pub(crate) fn press_power_button(&mut self) {
        if self.guest_listens() {
            self.later(SHUTDOWN_AFTER, |vm| {
                if vm.guest_listens() {
                    vm.shut_down(ShutdownCause::GuestShutdown);
                }
            });
        }
    }
}
