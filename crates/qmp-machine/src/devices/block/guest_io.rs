//! Reads and writes of the guest.

use qmp_server::{ObjectType, Refusal, Type};
use serde::Deserialize;

use super::{
    corruption, errors,
    faults::{Operation, access},
    nodes, quorum,
    request::Request,
};
use crate::{
    commands::Entry,
    devices::{jobs, power::expect_running},
    refusals::generic,
    vm::Vm,
};

#[derive(Deserialize)]
struct Access {
    id: Box<str>,
    offset: Option<u64>,
    length: Option<u64>,
}

/// Default length of a guest's request, in bytes.
const LENGTH: u64 = 4096;

pub(super) fn commands() -> Vec<Entry> {
    let describe = |arguments: ObjectType| {
        arguments.required("id", Type::Str).optional("offset", Type::Uint64).optional("length", Type::Uint64)
    };
    vec![
        Entry::new("x-guest-read", describe, |vm, request| guest(vm, &request, Operation::Read)),
        Entry::new("x-guest-write", describe, |vm, request| guest(vm, &request, Operation::Write)),
        Entry::new("x-guest-flush", describe, |vm, request| guest(vm, &request, Operation::Flush)),
    ]
}

fn guest(vm: &mut Vm, request: &Access, operation: Operation) -> Result<(), Refusal> {
    expect_running(vm)?;
    let device = vm.devices.bus.expect(&request.id)?;
    let Some(node) = device.text("drive") else {
        return Err(generic(format!("Device '{}' has no medium", request.id)));
    };
    let length = request.length.unwrap_or(LENGTH);
    let (path, node) = (device.path.clone(), node.into());
    submit(vm, Request { path, node, operation, offset: request.offset.unwrap_or(0), length });
    Ok(())
}

/// Reads or writes a node as the human monitor's `qemu-io` does: `read 0 512`. Ignores other commands.
pub(in crate::devices) fn qemu_io(vm: &mut Vm, node: &str, command: &str) {
    let mut words = command.split_whitespace();
    let operation = match words.next() {
        Some("read") => Operation::Read,
        Some("write") => Operation::Write,
        Some("flush") => Operation::Flush,
        _ => return,
    };
    let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
    let (offset, length) = (number(), number());
    submit(vm, Request { path: "".into(), node: node.into(), operation, offset, length });
}

/// Executes a request, or fails it as the device's policy says.
pub(super) fn submit(vm: &mut Vm, request: Request) {
    let node = vm.devices.block.nodes.get(&request.node).cloned();
    let is_quorum = node.as_ref().is_some_and(|node| &*node.driver == "quorum");
    if node.is_some_and(|node| node.corruption.is_some()) && corruption::report_damage(vm, &request) {
        return;
    }
    let result =
        if is_quorum { quorum::vote(vm, &request) } else { access(vm, &request.node, request.operation) };
    match result {
        Ok(()) if request.operation == Operation::Write => {
            nodes::note_write(vm, &request.node, request.offset.saturating_add(request.length));
            jobs::mirror_write(vm, &request.node);
        }
        Ok(()) => {}
        Err(error) => errors::fail(vm, request, error),
    }
}
