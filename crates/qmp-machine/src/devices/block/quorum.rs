//! Quorums: one image in several copies, and a vote on what is true.

use qmp_events::EventKind;
use serde_json::json;

use super::{
    faults::{Errno, Operation, access},
    request::Request,
};
use crate::vm::Vm;

/// Bytes of a sector in these events.
const SECTOR_BYTES: u64 = 512;

/// Executes a request on all children.
///
/// A child that fails raises an event at once; a child that loses the vote only if there is a majority. Without a
/// majority the request fails, with an event unless it is a flush.
pub(super) fn vote(vm: &mut Vm, request: &Request) -> Result<(), Errno> {
    let Some(node) = vm.devices.block.nodes.get(&request.node) else { return Err(Errno::Io) };
    let (name, children) = (node.name.clone(), node.children.clone());
    let (threshold, first_only) = (node.vote_threshold, node.first_in_first_out);
    let mut good = 0_u64;
    let mut losers = Vec::new();
    let mut last = Errno::Io;
    for child in &children {
        match access(vm, child, request.operation) {
            Ok(()) if first_only && request.operation == Operation::Read => return Ok(()),
            Ok(()) => good += 1,
            Err(Errno::Differs) => losers.push(child),
            Err(error) => {
                last = error;
                report(vm, request, child, Some(error.text()));
            }
        }
    }
    let needed = if first_only { 1 } else { threshold.max(1) };
    if good >= needed {
        // The last child is reported first: measured on 7.2.
        losers.into_iter().rev().for_each(|child| report(vm, request, child, None));
        return Ok(());
    }
    if request.operation != Operation::Flush {
        let (sector, sectors) = sectors_of(request);
        let data = json!({"reference": name, "sector-num": sector, "sectors-count": sectors});
        vm.raise(EventKind::QuorumFailure, data);
    }
    Err(last)
}

/// Returns the first sector and the number of sectors as these events report them.
fn sectors_of(request: &Request) -> (u64, u64) {
    match request.operation {
        Operation::Flush => (0, 0),
        _ => (request.offset / SECTOR_BYTES, request.length.div_ceil(SECTOR_BYTES)),
    }
}

fn report(vm: &mut Vm, request: &Request, child: &str, error: Option<&str>) {
    let (sector, sectors) = sectors_of(request);
    let data = json!({
        "type": request.operation.as_str(), "error": error, "node-name": child,
        "sector-num": sector, "sectors-count": sectors,
    });
    vm.raise(EventKind::QuorumReportBad, data);
}
