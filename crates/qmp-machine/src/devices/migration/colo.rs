//! COLO: two machines that run alike, and the end of that.

use qmp_events::{EventKind, Release};
use qmp_server::{CommandError, RunState};
use serde_json::{Value, json};

use super::{Role, Status, course};
use crate::{
    table::{Entry, generic},
    transitions::Happening,
    vm::Vm,
};

/// Source: reworded between 7.2 and 11.1.
const SAYS_MODE_SINCE: Release = Release::new(8, 1);

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
        Entry::plain("x-colo-lost-heartbeat", |vm| leave(vm, "request")).since(2, 8),
        Entry::plain("query-colo-status", |vm| -> Result<Value, CommandError> {
            let mode = vm.devices.migration.role.as_str();
            Ok(json!({"mode": mode, "last-mode": mode, "reason": "none"}))
        })
        .since(3, 1),
        Entry::plain("x-host-colo-error", |vm| leave(vm, "error")),
    ]
}

/// The machine goes on alone.
fn leave(vm: &mut Vm, reason: &'static str) -> Result<(), CommandError> {
    let role = vm.devices.migration.role;
    if role == Role::None {
        let says_mode = vm.release >= SAYS_MODE_SINCE;
        return Err(generic(if says_mode {
            "VM is not in COLO mode"
        } else {
            "The feature 'colo' is not enabled"
        }));
    }
    vm.devices.migration.role = Role::None;
    vm.soon(move |vm| {
        vm.raise(EventKind::ColoExit, json!({"mode": role.as_str(), "reason": reason}));
        course::enter(vm, Status::Completed);
        if vm.status.state == RunState::Colo {
            vm.force(Happening::Cont);
        }
    });
    Ok(())
}
