//! The commands of the source.

use std::time::Duration;

use qmp_events::Release;
use qmp_server::{ObjectType, Refusal, RunState, Type};
use serde::Deserialize;

use super::{lifecycle, state::Status};
use crate::{commands::Entry, refusals::generic, vm::Vm};

#[derive(Deserialize)]
struct Migrate {
    uri: Option<Box<str>>,
    resume: Option<bool>,
}

#[derive(Deserialize)]
struct MigrateContinue {
    state: Box<str>,
}

#[derive(Deserialize)]
struct Fault {
    error: Option<Box<str>>,
}

/// Source: `postcopy-recover-setup` exists since 9.1.
const RECOVER_SETUP_SINCE: Release = Release::new(9, 1);

/// Time that a recovery takes.
const RECOVERS_AFTER: Duration = Duration::from_millis(10);

pub(super) fn commands() -> Vec<Entry> {
    let migrate = |arguments: ObjectType| {
        ["blk", "inc", "detach", "resume"]
            .iter()
            .fold(arguments.optional("uri", Type::Str), |arguments, name| {
                arguments.optional(name, Type::Bool)
            })
            .optional("channels", Type::Any)
    };
    let states = Type::one_of("MigrationStatus", ["pre-switchover", "active", "device"]);
    let fault = |arguments: ObjectType| arguments.optional("error", Type::Str);
    vec![
        Entry::new("migrate", migrate, start),
        Entry::plain("migrate_cancel", |vm| {
            if vm.devices.migration.is_under_way() && vm.devices.migration.status != Some(Status::Cancelling)
            {
                lifecycle::cancel(vm);
            }
            Ok(())
        }),
        Entry::new("migrate-continue", move |arguments| arguments.required("state", states), go_on)
            .since(2, 11),
        Entry::plain("migrate-start-postcopy", start_postcopy).since(2, 5),
        Entry::plain("migrate-pause", break_postcopy).since(3, 0).out_of_band(),
        Entry::new("x-host-migration-fault", fault, |vm, Fault { error }| {
            let error = error.unwrap_or_else(|| "Connection reset by peer".into());
            vm.devices.migration.fails = Some(error);
            Ok(())
        }),
        Entry::plain("x-host-break-postcopy", break_postcopy),
        Entry::plain("x-host-postcopy-done", |vm| {
            if vm.devices.migration.status != Some(Status::PostcopyActive) {
                return Err(generic("no postcopy is under way"));
            }
            lifecycle::finish(vm);
            Ok(())
        }),
    ]
}

fn start(vm: &mut Vm, Migrate { uri, resume }: Migrate) -> Result<(), Refusal> {
    if resume.unwrap_or(false) {
        return recover(vm);
    }
    if vm.status.state == RunState::Inmigrate {
        return Err(generic("Guest is waiting for an incoming migration"));
    }
    let migration = &mut vm.devices.migration;
    if migration.is_under_way() {
        return Err(generic("There's a migration process in progress"));
    }
    if vm.status.state == RunState::Postmigrate {
        return Err(generic("Can't migrate the vm that was paused due to previous migration"));
    }
    migration.number += 1;
    migration.passes = 0;
    migration.error = None;
    migration.uri = uri.unwrap_or_default();
    lifecycle::enter(vm, Status::Setup);
    lifecycle::later(vm, Duration::ZERO, lifecycle::begin);
    Ok(())
}

fn go_on(vm: &mut Vm, MigrateContinue { state }: MigrateContinue) -> Result<(), Refusal> {
    let status = vm.devices.migration.status;
    if status.is_none_or(|status| status.as_str() != &*state) {
        let status = status.map_or("none", Status::as_str);
        return Err(generic(format!("Migration not in expected state: {status}")));
    }
    lifecycle::later(vm, Duration::ZERO, lifecycle::go_on);
    Ok(())
}

/// Switches the guest over before its memory.
fn start_postcopy(vm: &mut Vm) -> Result<(), Refusal> {
    if !vm.devices.migration.has("postcopy-ram") {
        return Err(generic("Enable postcopy with migrate_set_capability before the start of migration"));
    }
    if vm.devices.migration.status != Some(Status::Active) {
        return Err(generic("Postcopy must be started after migration has been started"));
    }
    lifecycle::later(vm, Duration::ZERO, |vm| {
        vm.devices.migration.was_running = vm.is_running();
        vm.stop(RunState::FinishMigrate);
        vm.status.state = RunState::FinishMigrate;
        lifecycle::enter(vm, Status::PostcopyActive);
    });
    Ok(())
}

/// Breaks the connection while the guest runs on the destination.
fn break_postcopy(vm: &mut Vm) -> Result<(), Refusal> {
    if vm.devices.migration.status != Some(Status::PostcopyActive) {
        return Err(generic(
            "migrate-pause is currently only supported during postcopy-active or postcopy-recover state",
        ));
    }
    lifecycle::enter(vm, Status::PostcopyPaused);
    Ok(())
}

fn recover(vm: &mut Vm) -> Result<(), Refusal> {
    if vm.devices.migration.status != Some(Status::PostcopyPaused) {
        return Err(generic("Cannot resume if there is no paused migration"));
    }
    if vm.release >= RECOVER_SETUP_SINCE {
        lifecycle::enter(vm, Status::PostcopyRecoverSetup);
    }
    lifecycle::later(vm, RECOVERS_AFTER, |vm| {
        lifecycle::enter(vm, Status::PostcopyRecover);
        lifecycle::enter(vm, Status::PostcopyActive);
    });
    Ok(())
}
