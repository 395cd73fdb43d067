//! Dumps of the guest's memory.

use std::time::Duration;

use qmp_events::{EventKind, Release};
use qmp_server::{ObjectType, Refusal, RunState, Type};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{commands::Entry, refusals::generic, transitions::MachineEvent, vm::Vm};

/// The last dump.
#[derive(Debug, Default)]
pub(crate) struct Dump {
    last: Option<Value>,
    active: bool,
    fails: Option<Box<str>>,
}

/// Speed at which a dump is written, in bytes a second.
const BYTES_PER_SECOND: u64 = 1 << 30;

/// Source: reworded between 7.2 and 11.1.
const NAMES_PREFIXES_SINCE: Release = Release::new(8, 1);

#[derive(Deserialize)]
struct Start {
    protocol: Box<str>,
    detach: Option<bool>,
}

#[derive(Deserialize)]
struct Fault {
    error: Option<Box<str>>,
}

pub(crate) fn commands() -> Vec<Entry> {
    let describe = |arguments: ObjectType| {
        arguments
            .required("paging", Type::Bool)
            .required("protocol", Type::Str)
            .optional("detach", Type::Bool)
            .optional("begin", Type::Int)
            .optional("length", Type::Int)
            .optional("format", Type::Str)
    };
    let fault = |arguments: ObjectType| arguments.optional("error", Type::Str);
    vec![
        Entry::new("dump-guest-memory", describe, start).since(1, 2),
        Entry::plain("query-dump", |vm| {
            let dump = &vm.devices.dump;
            let (total, status) = (vm.config.memory_bytes, if dump.active { "active" } else { "none" });
            let running =
                json!({"status": status, "completed": 0, "total": if dump.active { total } else { 0 }});
            Ok(dump.last.clone().filter(|_| !dump.active).unwrap_or(running))
        })
        .since(2, 6),
        Entry::new("x-host-dump-fault", fault, |vm, Fault { error }| {
            vm.devices.dump.fails = Some(error.unwrap_or_else(|| "No space left on device".into()));
            Ok(())
        }),
    ]
}

fn start(vm: &mut Vm, Start { protocol, detach }: Start) -> Result<(), Refusal> {
    if !protocol.starts_with("file:") && !protocol.starts_with("fd:") {
        return Err(generic(if vm.release >= NAMES_PREFIXES_SINCE {
            "parameter 'protocol' must start with 'file:' or 'fd:'"
        } else {
            "Invalid parameter 'protocol'"
        }));
    }
    if vm.devices.dump.active {
        return Err(generic("There is a dump in process, please wait."));
    }
    if vm.status.state == RunState::Inmigrate {
        return Err(generic("Dump not allowed during incoming migration."));
    }
    let was_running = vm.is_running();
    vm.stop(RunState::SaveVm);
    vm.devices.dump.active = true;
    if detach.unwrap_or(false) {
        let duration =
            Duration::from_micros(vm.config.memory_bytes.saturating_mul(1_000_000) / BYTES_PER_SECOND);
        vm.later(duration, move |vm| finish(vm, was_running));
    } else {
        finish(vm, was_running);
    }
    Ok(())
}

fn finish(vm: &mut Vm, was_running: bool) {
    let total = vm.config.memory_bytes;
    let error = vm.devices.dump.fails.take();
    let (status, completed) = if error.is_some() { ("failed", total / 2) } else { ("completed", total) };
    let result = json!({"status": status, "completed": completed, "total": total});
    vm.devices.dump.active = false;
    vm.devices.dump.last = Some(result.clone());
    vm.raise(EventKind::DumpCompleted, json!({"result": result, "error": error}));
    if was_running && vm.status.state == RunState::SaveVm {
        vm.force(MachineEvent::Cont);
    }
}
