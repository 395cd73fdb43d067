//! The memory balloon.

use std::time::Duration;

use qmp_events::{EventKind, Release};
use qmp_server::{ObjectType, Refusal, Type};
use serde::Deserialize;
use serde_json::json;

use super::power::expect_running;
use crate::{
    commands::Entry,
    refusals::{device_not_active, generic},
    vm::Vm,
};

/// Memory of the guest and the size requested, in bytes; `None` for all memory.
#[derive(Debug, Default)]
pub(crate) struct Balloon {
    actual: Option<u64>,
    target: Option<u64>,
}

/// Interval at which a guest reports its progress and gives up one step of memory.
const STEP: Duration = Duration::from_millis(100);
/// Bytes that a guest gives back or takes per step: a large change causes several events, as with a real balloon.
const STEP_BYTES: u64 = 64 << 20;

/// Source: measured; 7.2 names another parameter in the error than the command has.
const NAMES_VALUE_SINCE: Release = Release::new(8, 0);

#[derive(Deserialize)]
struct SetBalloon {
    value: i64,
}

#[derive(Deserialize)]
struct Actual {
    actual: u64,
}

pub(crate) fn commands() -> Vec<Entry> {
    let actual = |arguments: ObjectType| arguments.required("actual", Type::Size);
    vec![
        Entry::new("balloon", |arguments| arguments.required("value", Type::Int), set_balloon),
        Entry::plain("query-balloon", |vm| {
            expect_device(vm)?;
            Ok(json!({"actual": memory(vm)}))
        }),
        Entry::new("x-guest-balloon", actual, |vm, Actual { actual }| {
            expect_running(vm)?;
            expect_device(vm)?;
            settle(vm, actual);
            Ok(())
        }),
    ]
}

fn memory(vm: &Vm) -> u64 {
    vm.devices.balloon.actual.unwrap_or(vm.config.memory_bytes)
}

fn expect_device(vm: &Vm) -> Result<(), Refusal> {
    match vm.devices.bus.first("virtio-balloon") {
        Some(_) => Ok(()),
        None => Err(device_not_active("No balloon device has been activated")),
    }
}

fn set_balloon(vm: &mut Vm, SetBalloon { value }: SetBalloon) -> Result<(), Refusal> {
    expect_device(vm)?;
    let name = if vm.release >= NAMES_VALUE_SINCE { "value" } else { "target" };
    let target = u64::try_from(value).ok().filter(|value| *value > 0);
    let target = target.ok_or_else(|| generic(format!("Parameter '{name}' expects a size")))?;
    let moves_already = vm.devices.balloon.target.replace(target).is_some();
    if !moves_already {
        vm.soon(approach);
    }
    Ok(())
}

/// Gives up or takes back one step of memory until the guest has the requested size.
fn approach(vm: &mut Vm) {
    let Some(target) = vm.devices.balloon.target else { return };
    if !vm.guest_listens() {
        vm.devices.balloon.target = None;
        return;
    }
    let target = target.min(vm.config.memory_bytes);
    let current = memory(vm);
    let step = current.abs_diff(target).min(STEP_BYTES);
    let after = if target < current { current - step } else { current + step };
    settle(vm, after);
    if after == target {
        vm.devices.balloon.target = None;
    } else {
        vm.later(STEP, approach);
    }
}

fn settle(vm: &mut Vm, actual: u64) {
    if memory(vm) != actual {
        vm.devices.balloon.actual = Some(actual);
        vm.raise(EventKind::BalloonChange, json!({"actual": actual}));
    }
}

/// Gives all memory back to the guest after a reset.
pub(super) fn at_reset(vm: &mut Vm) {
    vm.devices.balloon = Balloon::default();
}
