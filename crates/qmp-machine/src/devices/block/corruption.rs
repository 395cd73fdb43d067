//! Images whose own structures are damaged.

use std::time::Duration;

use qmp_events::EventKind;
use qmp_server::{ObjectType, Type};
use serde::Deserialize;
use serde_json::json;

use super::{
    errors,
    faults::Errno,
    guest_io::Request,
    nodes::{Corruption, expect_mut},
};
use crate::{table::Entry, vm::Vm};

/// How long after the damage is told the access fails.
///
/// Source: measured, 2 ms.
const FAILS_AFTER: Duration = Duration::from_millis(2);

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Corrupt {
    node_name: Box<str>,
    fatal: Option<bool>,
    msg: Option<Box<str>>,
    offset: Option<u64>,
    size: Option<u64>,
}

pub(super) fn commands() -> Vec<Entry> {
    let describe = |arguments: ObjectType| {
        arguments
            .required("node-name", Type::Str)
            .optional("fatal", Type::Bool)
            .optional("msg", Type::Str)
            .optional("offset", Type::Uint64)
            .optional("size", Type::Uint64)
    };
    let corrupt = |vm: &mut Vm, Corrupt { node_name, fatal, msg, offset, size }: Corrupt| {
        let msg = msg.unwrap_or_else(|| "table entry is not aligned to a cluster".into());
        let corruption = Corruption { fatal: fatal.unwrap_or(false), msg, place: offset.zip(size) };
        expect_mut(vm, &node_name)?.corruption = Some(corruption);
        Ok(())
    };
    vec![Entry::new("x-host-corrupt-image", describe, corrupt)]
}

/// An access runs into the damage of a node: it is told, once for each severity, and the access fails.
///
/// `false` if the access does not touch it: reading does not hurt a node whose damage is fatal for writing only.
pub(super) fn stumble(vm: &mut Vm, request: &Request) -> bool {
    let Some(node) = vm.devices.block.nodes.get_mut(&request.node) else { return false };
    let Some(Corruption { fatal, msg, place }) = node.corruption.clone() else { return false };
    let told = std::mem::replace(&mut node.told_corruption[usize::from(fatal)], true);
    // A fatal damage says it all.
    let says_more = fatal || !node.told_corruption[1];
    if !told && says_more {
        let (offset, size) = place.unzip();
        let data = json!({
            "device": "", "node-name": request.node, "msg": msg, "offset": offset, "size": size, "fatal": fatal,
        });
        vm.raise(EventKind::BlockImageCorrupted, data);
    }
    let request = request.clone();
    vm.later(FAILS_AFTER, move |vm| {
        if vm.is_running() {
            errors::fail(vm, request, Errno::Io);
        }
    });
    true
}
