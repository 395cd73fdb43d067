//! The run states of the VMs as a metric: one series for each VM and state, of which one is 1.
//!
//! The states are those of QEMU's `RunState`, and four of the hub's own. A state that is in neither list is `other`: text
//! from a VM does not become a label.
//!
//! The source of a VM that crashed no longer finds it, so that it leaves the hub within seconds. Its series stay for
//! [`GONE_KEPT`], for alerts.

use std::sync::Arc;
use std::time::Duration;

use qmp_host::clock;
use qmp_hub::{FollowedVm, MonitorState};
use qmp_journal::JournalVm;
use qmp_wire::{QualifiedName, UnixMicros};

use super::exposition::{Exposition, Family, Type};
use super::foreign;
use crate::state::ApiState;

/// The states of all QEMU releases. Source: `qapi/run-state.json`, `RunState`.
const OF_QEMU: [&str; 17] = [
    "colo",
    "debug",
    "finish-migrate",
    "guest-panicked",
    "inmigrate",
    "internal-error",
    "io-error",
    "paused",
    "postmigrate",
    "preconfig",
    "prelaunch",
    "restore-vm",
    "running",
    "save-vm",
    "shutdown",
    "suspended",
    "watchdog",
];

/// QEMU announced its exit, and its monitor closed.
const ENDED: &str = "ended";

/// The monitor closed without an announcement.
const GONE: &str = "gone";

/// How long a VM that left the hub keeps its series, if it ended without an announcement and no VM of its name is followed.
const GONE_KEPT: Duration = Duration::from_secs(24 * 3_600);

/// A state that [`OF_QEMU`] lacks.
const OTHER: &str = "other";

/// The monitor is not attached, or does not answer.
const UNKNOWN: &str = "unknown";

const OF_THE_HUB: [&str; 4] = [ENDED, GONE, OTHER, UNKNOWN];

pub(super) fn metrics(
    api: &ApiState,
    all: &[Arc<FollowedVm>],
    of_other_hosts: &[&JournalVm],
    to: &mut Exposition,
) {
    let help = "Whether the VM is in this run state; \"unknown\" while its monitor is not attached or does not answer.";
    let mut family = to.family("qmp_vm_run_state", Type::Gauge, help);
    let names = all.iter().map(|vm| vm.name.as_str());
    let known = api.vm_states.run_states(names, |run_state| run_state.map(listed));
    for (vm, known) in all.iter().zip(known) {
        let is_certain = vm.status().state == MonitorState::Attached && vm.silence.since().is_none();
        samples(&mut family, &[("vm", vm.name.as_str())], present(known, is_certain));
    }
    for vm in left_and_gone(api, all) {
        samples(&mut family, &[("vm", &vm)], GONE);
    }
    let names = of_other_hosts.iter().map(|vm| &*vm.vm);
    let known = api.vm_states.run_states(names, |run_state| run_state.map(listed));
    for (vm, known) in of_other_hosts.iter().zip(known) {
        samples(&mut family, &foreign::labels(&vm.vm), present(known, vm.attached));
    }
}

/// The series of one VM.
fn samples(family: &mut Family<'_>, vm: &[(&str, &str)], present: &str) {
    for state in OF_QEMU.into_iter().chain(OF_THE_HUB) {
        let labels: Vec<_> = vm.iter().copied().chain([("state", state)]).collect();
        family.sample(&labels, u8::from(state == present));
    }
}

/// The VMs that left the hub and ended without an announcement within [`GONE_KEPT`], in the order of their names.
fn left_and_gone(api: &ApiState, all: &[Arc<FollowedVm>]) -> Vec<Box<str>> {
    let kept = i64::try_from(GONE_KEPT.as_micros()).unwrap_or(i64::MAX);
    let mut gone = api.vm_states.gone_since(UnixMicros(clock::now().0 - kept));
    let has_left = |name: &str| all.iter().all(|vm| vm.name.as_str() != name);
    gone.retain(|name| QualifiedName::parse(name).is_none() && has_left(name));
    gone.sort_unstable();
    gone
}

/// The label of a run state.
fn listed(run_state: &str) -> &'static str {
    let labels = OF_QEMU.into_iter().chain([ENDED, GONE]);
    labels.into_iter().find(|label| *label == run_state).unwrap_or(OTHER)
}

/// The state whose value is 1, derived from the last known one.
fn present(known: Option<&'static str>, is_certain: bool) -> &'static str {
    match known {
        Some(over @ (ENDED | GONE)) => over,
        Some(state) if is_certain => state,
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_state_is_one_of_a_closed_list() {
        let cases = [
            (Some("running"), true, "running"),
            (Some("internal-error"), true, "internal-error"),
            (Some("running"), false, "unknown"),
            (Some("ended"), false, "ended"),
            (Some("gone"), false, "gone"),
            (Some("quiesced\"} 1\n"), true, "other"),
            (Some("unknown"), true, "other"),
            (Some("quiesced"), false, "unknown"),
            (None, true, "unknown"),
        ];
        for (run_state, is_certain, expected) in cases {
            let present = present(run_state.map(listed), is_certain);
            assert_eq!(present, expected, "{run_state:?} {is_certain}");
            let times = OF_QEMU.into_iter().chain(OF_THE_HUB).filter(|state| *state == present).count();
            assert_eq!(times, 1, "{present} is a label, once");
        }
    }
}
