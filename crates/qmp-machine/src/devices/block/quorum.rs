//! Quorums: one image in several copies, and a vote on what is true.

use qmp_events::EventKind;
use serde_json::json;

use super::{
    faults::{Errno, Operation, access},
    guest_io::Request,
};
use crate::vm::Vm;

/// Bytes of a sector in these events.
const SECTOR_BYTES: u64 = 512;

/// Carries a request out on all children. Those that fail or lose the vote are told; without majority it fails.
pub(super) fn vote(vm: &mut Vm, request: &Request) -> Result<(), Errno> {
    let Some(node) = vm.devices.block.nodes.get(&request.node) else { return Err(Errno::Io) };
    let (name, children) = (node.name.clone(), node.children.clone());
    let (threshold, first_only) = (node.vote_threshold, node.first_in_first_out);
    let sector = request.offset / SECTOR_BYTES;
    let sectors = match request.operation {
        Operation::Flush => 0,
        _ => request.length.div_ceil(SECTOR_BYTES),
    };
    let mut good = 0_u64;
    let mut last = Errno::Io;
    for child in &children {
        let Err(error) = access(vm, child, request.operation) else {
            good += 1;
            if first_only && request.operation == Operation::Read {
                return Ok(());
            }
            continue;
        };
        last = error;
        let text = (error != Errno::Differs).then(|| error.text());
        let data = json!({
            "type": request.operation.as_str(), "error": text, "node-name": child,
            "sector-num": sector, "sectors-count": sectors,
        });
        vm.raise(EventKind::QuorumReportBad, data);
    }
    let needed = if first_only { 1 } else { threshold.max(1) };
    if good >= needed {
        return Ok(());
    }
    let data = json!({"reference": name, "sector-num": sector, "sectors-count": sectors});
    vm.raise(EventKind::QuorumFailure, data);
    Err(if last == Errno::Differs { Errno::Io } else { last })
}
