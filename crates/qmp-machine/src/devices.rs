//! The parts of the machine. Each file defines the state of one part and the commands that it adds.
//!
//! A new part is one file and its two lines here.

// From the lowest to the highest.
mod power;
mod bus;
mod memory;
mod block;
mod jobs;
mod balloon;
mod display;
mod dump;
mod emit;
mod export;
mod hardware;
mod identity;
mod migration;
mod net;
mod objects;
mod rtc;
mod serial;

use qmp_server::Refusal;

use crate::{
    commands::Entry,
    refusals::generic,
    vm::{Run, Vm},
};

/// Declares the parts: first those with state, then those with commands only.
macro_rules! parts {
    (state: $($part:ident: $state:ident,)*; no_state: $($bare:ident,)*) => {
        /// The state of all parts.
        #[derive(Debug, Default)]
        pub(crate) struct Devices {
            $(pub(crate) $part: $part::$state,)*
        }

        /// The commands of all parts.
        pub(crate) fn tables() -> Vec<Entry> {
            let tables = [$($part::commands(),)* $($bare::commands(),)*];
            tables.into_iter().flatten().collect()
        }
    };
}

parts! {
    state:
    balloon: Balloon,
    block: Block,
    bus: Bus,
    display: Display,
    dump: Dump,
    export: Export,
    jobs: Jobs,
    memory: Memory,
    migration: Migration,
    net: Net,
    objects: Objects,
    serial: Serial,
    ;
    no_state:
    emit,
    hardware,
    identity,
    power,
    rtc,
}

/// Maximum number of devices, nodes, faults, back ends, jobs, exports and viewers of a machine, together.
///
/// More than any real machine has; without this limit a client could fill the host's memory by adding parts.
const PARTS_MAX: usize = 4096;

impl Vm {
    /// Checks that another part can be added.
    ///
    /// # Errors
    ///
    /// An error that no QEMU has: a QEMU adds parts until the host has no memory.
    fn expect_room(&self) -> Result<(), Refusal> {
        let Devices { block, bus, display, export, jobs, net, objects, serial, .. } = &self.devices;
        let parts = [
            block.len(),
            bus.len(),
            display.len(),
            export.len(),
            jobs.len(),
            net.len(),
            objects.len(),
            serial.len(),
        ];
        if parts.iter().sum::<usize>() < PARTS_MAX {
            return Ok(());
        }
        Err(generic(format!("an emulated machine has no more than {PARTS_MAX} parts")))
    }

    /// Updates the parts after a device was plugged in.
    fn at_plug(&mut self, path: &str) {
        if let Some(device) = self.devices.bus.find(path).cloned() {
            memory::at_plug(self, &device);
            net::at_plug(self, &device);
        }
    }

    /// Updates the parts after a device was unplugged.
    fn at_unplug(&mut self, device: &bus::Device) {
        block::at_unplug(self, device);
        memory::at_unplug(self, device);
        net::at_unplug(self, device);
        serial::at_unplug(self, device);
    }
}

/// Returns the function of a command that creates a device, even if the claimed release lacks the command: the
/// option `-device` is older.
pub(crate) fn maker(name: &str) -> Option<Run> {
    const MAKERS: [&str; 5] = ["device_add", "blockdev-add", "netdev_add", "chardev-add", "object-add"];
    let entry = tables().into_iter().find(|entry| entry.name == name && MAKERS.contains(&entry.name))?;
    Some(entry.checked())
}

/// Updates the parts after a reset of the machine.
pub(crate) fn at_reset(vm: &mut Vm) {
    balloon::at_reset(vm);
    bus::at_reset(vm);
}

/// Updates the parts after `cont` resumed the machine.
pub(crate) fn at_resume(vm: &mut Vm) {
    block::at_resume(vm);
}

/// Updates the parts before the process exits.
pub(crate) fn at_exit(vm: &mut Vm) {
    migration::at_exit(vm);
    export::at_exit(vm);
    jobs::at_exit(vm);
}
