//! Images with damaged metadata.

use std::time::Duration;

use qmp_events::EventKind;
use qmp_server::{ObjectType, Type};
use serde::Deserialize;
use serde_json::json;

use super::{
    errors,
    faults::Errno,
    nodes::{Corruption, expect_mut},
    request::Request,
};
use crate::{commands::Entry, vm::Vm};

/// Delay from the report of the damage to the failure of the access.
///
/// Source: measured, 2 ms.
const FAILS_AFTER: Duration = Duration::from_millis(2);

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct CorruptImage {
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
    let corrupt = |vm: &mut Vm, CorruptImage { node_name, fatal, msg, offset, size }: CorruptImage| {
        let msg = msg.unwrap_or_else(|| "table entry is not aligned to a cluster".into());
        let corruption = Corruption { fatal: fatal.unwrap_or(false), msg, region: offset.zip(size) };
        expect_mut(vm, &node_name)?.corruption = Some(corruption);
        Ok(())
    };
    vec![Entry::new("x-host-corrupt-image", describe, corrupt)]
}

/// Reports the damage that an access to a node finds, once for each severity, and fails the access.
///
/// Returns `false` if the access does not touch the damage: fatal damage affects writes only.
pub(super) fn report_damage(vm: &mut Vm, request: &Request) -> bool {
    let Some(node) = vm.devices.block.nodes.get_mut(&request.node) else { return false };
    let Some(Corruption { fatal, msg, region }) = node.corruption.clone() else { return false };
    let reported = std::mem::replace(&mut node.reported_corruption[usize::from(fatal)], true);
    // A report of fatal damage covers the other one.
    let is_news = fatal || !node.reported_corruption[1];
    if !reported && is_news {
        let (offset, size) = region.unzip();
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
