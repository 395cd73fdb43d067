//! The commands of the destination.

use qmp_server::{ObjectType, Refusal, RunState, Type};
use serde::Deserialize;

use super::{
    lifecycle,
    state::{Role, Status},
};
use crate::{commands::Entry, refusals::generic, transitions::MachineEvent, vm::Vm};

#[derive(Deserialize)]
struct MigrateIncoming {
    uri: Option<Box<str>>,
}

pub(super) fn commands() -> Vec<Entry> {
    let describe = |arguments: ObjectType| {
        arguments
            .optional("uri", Type::Str)
            .optional("channels", Type::Any)
            .optional("exit-on-error", Type::Bool)
    };
    vec![
        Entry::new("migrate-incoming", describe, |vm, MigrateIncoming { uri }| {
            if vm.status.state != RunState::Inmigrate {
                return Err(generic("'-incoming' was not specified on the command line"));
            }
            if vm.devices.migration.status.is_some() {
                return Err(generic("The incoming migration has already been started"));
            }
            vm.devices.migration.uri = uri.unwrap_or_default();
            lifecycle::enter(vm, Status::Setup);
            Ok(())
        })
        .since(2, 3),
        Entry::plain("x-host-incoming-migration", arrive),
        Entry::plain("x-host-incoming-failure", |vm| {
            expect_incoming(vm)?;
            lifecycle::fail(vm);
            vm.soon(|vm| vm.exit(1));
            Ok(())
        }),
    ]
}

fn expect_incoming(vm: &Vm) -> Result<(), Refusal> {
    let waits = vm.status.state == RunState::Inmigrate && vm.devices.migration.status == Some(Status::Setup);
    if waits { Ok(()) } else { Err(generic("no migration is awaited")) }
}

/// Receives the guest, whole, and runs it unless the machine starts stopped.
fn arrive(vm: &mut Vm) -> Result<(), Refusal> {
    expect_incoming(vm)?;
    lifecycle::enter(vm, Status::Active);
    if vm.devices.migration.has("x-colo") {
        vm.devices.migration.role = Role::Secondary;
        lifecycle::enter(vm, Status::Colo);
        vm.status.state = RunState::Colo;
        return vm.apply(MachineEvent::Cont);
    }
    vm.status.state = RunState::Paused;
    if !vm.config.start_stopped {
        vm.apply(MachineEvent::Cont)?;
    }
    lifecycle::enter(vm, Status::Completed);
    Ok(())
}
