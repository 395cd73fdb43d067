//! Block devices: nodes, what goes wrong with them, and what the guest sees of it.
//!
//! The guest reads and writes by `x-guest-read` and `x-guest-write`. A node fails as `x-host-block-fault` says; what
//! comes of it is up to the device's error policy.

mod corruption;
mod errors;
mod faults;
mod guest_io;
mod nodes;
mod quorum;
mod tray;

use std::collections::BTreeMap;

pub(super) use errors::at_resume;
pub(super) use faults::{Errno, Operation, access};
pub(super) use guest_io::qemu_io;
pub(super) use nodes::{Node, expect};

use super::bus::Device;
use crate::{table::Entry, vm::Vm};

/// The nodes, and what is wrong with them.
#[derive(Debug, Default)]
pub(crate) struct Block {
    pub(crate) nodes: BTreeMap<Box<str>, Node>,
    /// Sizes of the files that `blockdev-create` made, by name, and of the images that it put on nodes.
    pub(crate) created: BTreeMap<Box<str>, u64>,
    pub(crate) formatted: BTreeMap<Box<str>, u64>,
    /// Requests that failed and are made again after `cont`.
    failed: Vec<guest_io::Request>,
    /// Trays that are open, by path of the device.
    open_trays: std::collections::BTreeSet<Box<str>>,
}

impl Block {
    /// How many nodes there are, with what is known of each and waits on it.
    pub(super) fn len(&self) -> usize {
        let faults: usize = self.nodes.values().map(|node| node.faults.len()).sum();
        self.nodes.len() + faults + self.created.len() + self.formatted.len() + self.failed.len()
    }

    /// Whether the tray of the device of that path is open.
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

/// A device goes: what it still had to do is forgotten.
pub(super) fn at_unplug(vm: &mut Vm, device: &Device) {
    let block = &mut vm.devices.block;
    block.failed.retain(|request| request.path != device.path);
    block.open_trays.remove(&device.path);
}
