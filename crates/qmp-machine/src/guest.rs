//! Whether somebody is at home in the guest, and what they do by themselves.

use std::time::Duration;

use qmp_events::ShutdownCause;
use serde::{Deserialize, Serialize};

use crate::vm::Vm;

/// The guest of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guest {
    /// No operating system: nothing happens that nobody asks for, as in a QEMU with nothing to boot.
    Absent,
    /// An operating system that does what it is asked: it shuts down at the power button, lets devices go, and gives
    /// memory back.
    #[default]
    Attentive,
}

/// How long an operating system takes to shut down.
///
/// Source: measured, a Linux without services.
pub(crate) const SHUTDOWN_AFTER: Duration = Duration::from_millis(120);

/// How long an operating system takes to let go of a device.
pub(crate) const UNPLUG_AFTER: Duration = Duration::from_millis(50);

impl Vm {
    /// Whether the guest is one that does what it is asked, and runs.
    pub(crate) fn guest_listens(&self) -> bool {
        self.config.guest == Guest::Attentive && self.is_running()
    }

    /// The power button was pressed.
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
