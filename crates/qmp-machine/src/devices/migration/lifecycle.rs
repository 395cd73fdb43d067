//! The lifecycle of an outgoing migration.

use std::time::Duration;

use qmp_events::{EventKind, Release};
use qmp_server::RunState;
use serde_json::json;

use super::state::{Role, Status};
use crate::{
    devices::{bus::Device, display},
    guest::{Guest, UNPLUG_AFTER},
    transitions::MachineEvent,
    vm::Vm,
};

/// Default bandwidth, in bytes a second.
///
/// Source: QEMU's default of `max-bandwidth` since 5.1.
const BANDWIDTH: u64 = 128 << 20;

/// Default limit of the guest's downtime.
///
/// Source: QEMU's default of `downtime-limit`.
const DOWNTIME_MS: u64 = 300;

/// Time limit for a SPICE client that does not respond.
///
/// Source: measured.
const SPICE_WAIT: Duration = Duration::from_secs(10);

/// Source: measured; since 10.0 the state `device` is reported also without a pause, and since 11.0 a failure has
/// two steps.
const REPORTS_DEVICE_SINCE: Release = Release::new(10, 0);
const REPORTS_FAILING_SINCE: Release = Release::new(11, 0);
/// Source: measured; since 11.0 the first pass is not reported.
const SILENT_FIRST_PASS_SINCE: Release = Release::new(11, 0);

/// Enters a state, and raises the event for it if the capability `events` is on.
pub(super) fn enter(vm: &mut Vm, status: Status) {
    vm.devices.migration.status = Some(status);
    if vm.devices.migration.has("events") {
        vm.raise(EventKind::Migration, json!({"status": status.as_str()}));
    }
}

/// Schedules work for the current migration; it is skipped if the migration has ended by then.
pub(super) fn later(vm: &mut Vm, after: Duration, then: impl FnOnce(&mut Vm) + Send + 'static) {
    let number = vm.devices.migration.number;
    vm.later(after, move |vm| {
        let migration = &vm.devices.migration;
        if migration.number == number && migration.is_under_way() {
            then(vm);
        }
    });
}

/// Continues after the connection is made: failover devices are unplugged first.
pub(super) fn begin(vm: &mut Vm) {
    if vm.devices.migration.fails.is_some() {
        return fail(vm);
    }
    let primary =
        vm.devices.bus.iter().find(|device| device.properties.contains_key("failover_pair_id")).cloned();
    match primary {
        Some(Device { id, .. }) => {
            vm.raise(EventKind::UnplugPrimary, json!({"device-id": id.as_deref().unwrap_or_default()}));
            first_pass(vm);
            enter(vm, Status::WaitUnplug);
            later(vm, UNPLUG_AFTER, activate);
        }
        None => {
            first_pass(vm);
            activate(vm);
        }
    }
}

fn first_pass(vm: &mut Vm) {
    if vm.release < SILENT_FIRST_PASS_SINCE {
        pass(vm);
    } else {
        vm.devices.migration.passes += 1;
    }
}

fn activate(vm: &mut Vm) {
    enter(vm, Status::Active);
    raise_vfio(vm, "pre-copy");
    let bytes = vm.devices.migration.used_bytes.unwrap_or(match vm.config.guest {
        Guest::Absent => 0,
        Guest::Attentive => vm.config.memory_bytes / 4,
    });
    copy(vm, bytes);
}

/// Begins a pass over the changed memory.
fn pass(vm: &mut Vm) {
    vm.devices.migration.passes += 1;
    if vm.devices.migration.has("events") {
        let pass = vm.devices.migration.passes;
        vm.raise(EventKind::MigrationPass, json!({"pass": pass}));
    }
}

/// Copies `bytes`, then the bytes that the guest changed meanwhile, until few enough are left.
fn copy(vm: &mut Vm, bytes: u64) {
    let migration = &vm.devices.migration;
    let bandwidth = migration.max_bandwidth.unwrap_or(BANDWIDTH).max(1);
    let downtime_ms = migration.downtime_limit_ms.unwrap_or(DOWNTIME_MS);
    let duration = Duration::from_micros(bytes.saturating_mul(1_000_000) / bandwidth);
    later(vm, duration, move |vm| {
        if vm.devices.migration.status != Some(Status::Active) {
            return;
        }
        if vm.devices.migration.fails.is_some() {
            return fail(vm);
        }
        let dirty = if vm.is_running() { vm.devices.migration.dirty_bytes_per_second } else { 0 };
        let changed = dirty.saturating_mul(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)) / 1000;
        if changed.saturating_mul(1000) / bandwidth > downtime_ms {
            pass(vm);
            copy(vm, changed);
        } else {
            switch_over(vm);
        }
    });
}

/// Stops the guest for the rest.
fn switch_over(vm: &mut Vm) {
    if vm.release >= SILENT_FIRST_PASS_SINCE {
        pass(vm);
    }
    stop(vm);
    if vm.devices.migration.has("pause-before-switchover") {
        return enter(vm, Status::PreSwitchover);
    }
    if vm.release >= REPORTS_DEVICE_SINCE {
        enter(vm, Status::Device);
    }
    complete(vm);
}

fn stop(vm: &mut Vm) {
    vm.devices.migration.was_running = vm.is_running();
    vm.stop(RunState::FinishMigrate);
    // A machine that was stopped before changes its state all the same.
    vm.status.state = RunState::FinishMigrate;
    raise_vfio(vm, "stop-copy");
}

/// Continues after the pause before the switch-over.
pub(super) fn go_on(vm: &mut Vm) {
    enter(vm, Status::Device);
    complete(vm);
}

fn complete(vm: &mut Vm) {
    if vm.release < SILENT_FIRST_PASS_SINCE {
        pass(vm);
    }
    if vm.devices.migration.has("x-colo") {
        vm.devices.migration.role = Role::Primary;
        enter(vm, Status::Colo);
        vm.status.state = RunState::Colo;
        return vm.force(MachineEvent::Cont);
    }
    finish(vm);
}

/// Completes the migration: the destination has all memory.
pub(super) fn finish(vm: &mut Vm) {
    raise_vfio(vm, "stop");
    enter(vm, Status::Completed);
    vm.status.state = RunState::Postmigrate;
    if vm.devices.display.spice_moves {
        let wait = if display::has_spice_client(vm) { SPICE_WAIT } else { Duration::ZERO };
        vm.later(wait, |vm| {
            vm.raise_bare(EventKind::SpiceMigrateCompleted);
            display::disconnect_spice_clients(vm);
        });
    }
}

/// Ends a migration that cannot continue; a guest that ran continues to run.
pub(super) fn fail(vm: &mut Vm) {
    vm.devices.migration.error = vm.devices.migration.fails.take();
    if vm.release >= REPORTS_FAILING_SINCE {
        enter(vm, Status::Failing);
    }
    enter(vm, Status::Failed);
    revive(vm);
}

/// Ends a migration that a command cancelled.
pub(super) fn cancel(vm: &mut Vm) {
    enter(vm, Status::Cancelling);
    later(vm, Duration::ZERO, |vm| {
        enter(vm, Status::Cancelled);
        revive(vm);
    });
}

fn revive(vm: &mut Vm) {
    raise_vfio(vm, "running");
    if vm.status.state == RunState::FinishMigrate {
        vm.status.state = RunState::Paused;
        if vm.devices.migration.was_running {
            vm.force(MachineEvent::Cont);
        }
    }
}

/// Raises the event for the state of VFIO devices that have migration events enabled.
fn raise_vfio(vm: &mut Vm, state: &str) {
    let reports = |device: &&Device| {
        device.is("vfio")
            && device.properties.get("migration-events").and_then(serde_json::Value::as_bool) == Some(true)
    };
    for device in vm.devices.bus.iter().filter(reports).cloned().collect::<Vec<_>>() {
        let id = device.id.as_deref().unwrap_or_default();
        vm.raise(
            EventKind::VfioMigration,
            json!({"device-id": id, "qom-path": device.path, "device-state": state}),
        );
    }
}

/// Cancels a migration under way when the process exits, without an event for its end.
pub(in crate::devices) fn at_exit(vm: &mut Vm) {
    let migration = &vm.devices.migration;
    let is_incoming = vm.status.state == RunState::Inmigrate || migration.role == Role::Secondary;
    if migration.is_under_way() && !is_incoming {
        enter(vm, Status::Cancelling);
    }
}
