//! Failed attempts to attach: the status of the VM, and the log.

use std::sync::Arc;

use qmp_client::{Address, ConnectError};
use qmp_host::clock::Clock;
use qmp_host::{blocking, permissions};
use tokio::sync::Semaphore;

use crate::vm::FollowedVm;
use crate::{in_use, reason};

/// Searches for the reason why a monitor does not greet, at a time: each reads the list of all processes.
static LOOKS: Semaphore = Semaphore::const_new(1);

/// Counts a failed attempt, and logs an error that differs from the one before.
pub(super) fn record(vm: &Arc<FollowedVm>, error: &ConnectError, attempt: u32, clock: Clock) {
    vm.counts.attach_failures.add(1);
    if error.is_monitor_in_use() {
        tokio::spawn(explain(Arc::clone(vm), clock));
        return;
    }
    vm.set_left_out(matches!(error, ConnectError::NoDescriptors { .. }));
    let reason = reason::of_attempt(error);
    let error = described(error);
    if vm.attempt_failed(&error, reason, clock.now()) {
        let name = &vm.name;
        tracing::warn!(vm = %name, attempt, "cannot attach to {name}: {error}");
    }
}

/// Finds out why the monitor of a VM does not greet, and logs a change.
async fn explain(vm: Arc<FollowedVm>, clock: Clock) {
    // The semaphore lives as long as the program and is never closed.
    let Ok(_turn) = LOOKS.acquire().await else { return };
    let (address, vm_name) = (vm.address.clone(), vm.name.clone());
    let why = blocking(move || in_use::look(&address, vm_name.as_str())).await;
    if vm.set_in_use(&why, clock.now()) {
        let (name, reason, text) = (&vm.name, why.reason, why.text);
        tracing::warn!(vm = %name, reason, "the monitor of {name} is in use, and is retried from time to time: {text}");
    }
}

/// The error for people. If permission is denied, the owner of the socket shows which group to join.
fn described(error: &ConnectError) -> String {
    match error {
        ConnectError::PermissionDenied { address: Address::Unix { path, .. } } => {
            permissions::refused_socket(path)
        }
        error => error.to_string(),
    }
}
