//! Block devices: nodes, their faults, and the errors that the guest sees.
//!
//! The guest reads and writes by `x-guest-read` and `x-guest-write`. `x-host-block-fault` makes a node fail; the
//! device's error policy decides the effect.

mod faults;
mod nodes;
mod request;
mod errors;
mod corruption;
mod quorum;
mod guest_io;
mod tray;

use std::collections::BTreeMap;

pub(super) use errors::at_resume;
pub(super) use faults::{Errno, Operation, access};
pub(super) use guest_io::qemu_io;
pub(super) use nodes::{Node, expect};

use super::bus::Device;
use crate::{commands::Entry, vm::Vm};

/// The nodes and their faults.
#[derive(Debug, Default)]
pub(crate) struct Block {
    pub(crate) nodes: BTreeMap<Box<str>, Node>,
    /// Sizes in bytes of the files that `blockdev-create` created, by name, and of the images that it put on nodes.
    pub(crate) created: BTreeMap<Box<str>, u64>,
    pub(crate) formatted: BTreeMap<Box<str>, u64>,
    /// Requests that failed and are repeated after `cont`.
    failed: Vec<request::Request>,
    /// Paths of the devices whose tray is open.
    open_trays: std::collections::BTreeSet<Box<str>>,
}

impl Block {
    /// Returns the number of nodes with their faults and failed requests.
    pub(super) fn len(&self) -> usize {
        let faults: usize = self.nodes.values().map(|node| node.faults.len()).sum();
        self.nodes.len() + faults + self.created.len() + self.formatted.len() + self.failed.len()
    }

    /// Returns whether the tray of the device with that path is open.
    pub(crate) fn is_tray_open(&self, path: &str) -> bool {
        self.open_trays.contains(path)
    }
}

pub(crate) fn commands() -> Vec<Entry> {
    [nodes::commands(), faults::commands(), guest_io::commands(), corruption::commands(), tray::commands()]
        .into_iter()
        .flatten()
        .collect()
}

/// Discards the pending requests of an unplugged device.
pub(super) fn at_unplug(vm: &mut Vm, device: &Device) {
    let block = &mut vm.devices.block;
    block.failed.retain(|request| request.path != device.path);
    block.open_trays.remove(&device.path);
}
