//! COLO: two machines that run in lockstep, and the end of it.

use qmp_events::{EventKind, Release};
use qmp_server::{Refusal, RunState};
use serde_json::{Value, json};

use super::{
    lifecycle,
    state::{Role, Status},
};
use crate::{commands::Entry, refusals::generic, transitions::MachineEvent, vm::Vm};

/// Source: reworded between 7.2 and 11.1.
const NAMES_MODE_SINCE: Release = Release::new(8, 1);

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Primary => "primary",
            Self::Secondary => "secondary",
        }
    }
}

pub(super) fn commands() -> Vec<Entry> {
    vec![
        Entry::plain("x-colo-lost-heartbeat", leave).since(2, 8),
        Entry::plain("query-colo-status", |vm| -> Result<Value, Refusal> {
            let mode = vm.devices.migration.role.as_str();
            Ok(json!({"mode": mode, "last-mode": mode, "reason": "none"}))
        })
        .since(3, 1),
        Entry::plain("x-host-colo-error", lose),
    ]
}

/// Leaves COLO on command: the machine continues alone.
fn leave(vm: &mut Vm) -> Result<(), Refusal> {
    let role = expect_role(vm)?;
    vm.devices.migration.role = Role::None;
    vm.stop(RunState::Colo);
    if vm.devices.migration.is_under_way() {
        lifecycle::enter(vm, Status::Completed);
    }
    vm.soon(move |vm| {
        vm.raise(EventKind::ColoExit, json!({"mode": role.as_str(), "reason": "request"}));
        if vm.status.state == RunState::Colo {
            vm.force(MachineEvent::Cont);
        }
    });
    Ok(())
}

/// Loses the connection to the other machine. A command decides which of the two continues.
fn lose(vm: &mut Vm) -> Result<(), Refusal> {
    let role = expect_role(vm)?;
    vm.raise(EventKind::ColoExit, json!({"mode": role.as_str(), "reason": "error"}));
    Ok(())
}

fn expect_role(vm: &Vm) -> Result<Role, Refusal> {
    match vm.devices.migration.role {
        Role::None if vm.release >= NAMES_MODE_SINCE => Err(generic("VM is not in COLO mode")),
        Role::None => Err(generic("The feature 'colo' is not enabled")),
        role => Ok(role),
    }
}
