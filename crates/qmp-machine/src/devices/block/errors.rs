//! Input and output errors of the guest's requests, and the policies for them.

use qmp_events::EventKind;
use qmp_server::RunState;
use serde_json::json;

use super::{
    faults::{Errno, Operation},
    guest_io::submit,
    request::Request,
};
use crate::{devices::bus::Device, vm::Vm};

/// The reaction to an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Ignore,
    Report,
    Stop,
}

/// Fails a request: raises the event, and stops the machine if the policy says so. A request that stopped the
/// machine is kept.
pub(super) fn fail(vm: &mut Vm, request: Request, error: Errno) {
    let Some(device) = vm.devices.bus.find(&request.path) else { return };
    let reads = request.operation == Operation::Read;
    let action = action(device, reads, error);
    let keeps_status =
        ["rerror", "werror"].iter().any(|policy| matches!(effective(device, policy), "stop" | "enospc"));
    let (backend, name) = (backend_path(device), device.text("x-drive-name").unwrap_or_default().to_owned());
    let data = json!({
        "qom-path": backend, "device": name, "node-name": request.node,
        "operation": if reads { "read" } else { "write" },
        "action": match action { Action::Ignore => "ignore", Action::Report => "report", Action::Stop => "stop" },
        "nospace": keeps_status.then_some(error == Errno::NoSpace),
        "reason": error.text(),
    });
    vm.raise(EventKind::BlockIoError, data);
    if action == Action::Stop {
        if vm.expect_room().is_ok() {
            vm.devices.block.failed.push(request);
        }
        vm.stop(RunState::IoError);
    }
}

fn action(device: &Device, reads: bool, error: Errno) -> Action {
    match effective(device, if reads { "rerror" } else { "werror" }) {
        "ignore" => Action::Ignore,
        "stop" => Action::Stop,
        "enospc" if error == Errno::NoSpace => Action::Stop,
        _ => Action::Report,
    }
}

/// Returns the error policy of a device: by default only a full storage stops the machine, and only on a write.
fn effective<'a>(device: &'a Device, policy: &str) -> &'a str {
    match device.text(policy) {
        None | Some("auto") if policy == "werror" => "enospc",
        None | Some("auto") => "report",
        Some(chosen) => chosen,
    }
}

fn backend_path(device: &Device) -> String {
    if device.driver.starts_with("virtio-") {
        format!("{}/virtio-backend", device.path)
    } else {
        device.path.to_string()
    }
}

/// Repeats the requests that failed before the machine stopped.
pub(in crate::devices) fn at_resume(vm: &mut Vm) {
    let failed = std::mem::take(&mut vm.devices.block.failed);
    if failed.is_empty() {
        return;
    }
    vm.soon(move |vm| {
        for request in failed {
            // After the first request that stops the machine again, the rest waits for the next `cont`.
            if vm.is_running() { submit(vm, request) } else { vm.devices.block.failed.push(request) }
        }
    });
}
