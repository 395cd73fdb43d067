//! The parts of the machine: one file for each, which says what state it has and which commands it adds.
//!
//! A new part is one file and its two lines here.

mod balloon;
mod block;
mod bus;
mod display;
mod dump;
mod emit;
mod export;
mod hardware;
mod identity;
mod jobs;
mod memory;
mod migration;
mod net;
mod objects;
mod power;
mod rtc;
mod serial;

use qmp_server::CommandError;

use crate::{
    table::{Entry, Run, generic},
    vm::Vm,
};

/// Names the parts: those with a state of their own, and those that only have commands.
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

/// Devices, nodes, faults, back ends, jobs, exports and viewers that a machine has at most, all together.
///
/// More than any machine has; without it, a client that adds and adds would fill the host's memory.
const PARTS_MAX: usize = 4096;

/// Whether another part can be added.
///
/// # Errors
///
/// A complaint that no QEMU has: it goes on until the host has no memory.
fn expect_room(vm: &Vm) -> Result<(), CommandError> {
    let Devices { block, bus, display, export, jobs, net, objects, serial, .. } = &vm.devices;
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

/// What a command that makes a device does, also where the claimed release does not have it: `-device` is older.
pub(crate) fn maker(name: &str) -> Option<Run> {
    const MAKERS: [&str; 5] = ["device_add", "blockdev-add", "netdev_add", "chardev-add", "object-add"];
    let entry = tables().into_iter().find(|entry| entry.name == name && MAKERS.contains(&entry.name))?;
    Some(entry.checked())
}

/// A device came.
fn at_plug(vm: &mut Vm, path: &str) {
    if let Some(device) = vm.devices.bus.find(path).cloned() {
        memory::at_plug(vm, &device);
        net::at_plug(vm, &device);
    }
}

/// A device goes.
fn at_unplug(vm: &mut Vm, device: &bus::Device) {
    block::at_unplug(vm, device);
    memory::at_unplug(vm, device);
    net::at_unplug(vm, device);
    serial::at_unplug(vm, device);
}

/// After a reset of the machine.
pub(crate) fn at_reset(vm: &mut Vm) {
    balloon::at_reset(vm);
    bus::at_reset(vm);
}

/// After `cont` let the machine run again.
pub(crate) fn at_resume(vm: &mut Vm) {
    block::at_resume(vm);
}

/// Before the process exits.
pub(crate) fn at_exit(vm: &mut Vm) {
    migration::at_exit(vm);
    export::at_exit(vm);
    jobs::at_exit(vm);
}
