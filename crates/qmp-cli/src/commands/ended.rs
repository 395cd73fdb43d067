//! The end of QEMU: its monitor is closed and, if the system reports it, its process has exited.

use std::time::Duration;

use qmp_client::{Address, ConnectError, FollowConfig, FollowEvent};
use qmp_findings::PROCESS_ENDED;
use qmp_host::clock;
use qmp_wire::{Body, DetachReason, Epoch, Offset, Record};
use serde::Deserialize;

use super::detached::is_gone;
use super::left;
use crate::exit::Failure;
use crate::hub::{HubClient, HubError, HubFollow, HubItem};
use crate::output;

/// How long to wait for the exit of QEMU after its monitor closed. A process with hundreds of GiB frees them meanwhile; one
/// that runs longer closed its monitor and continues.
const PROCESS_END_MAX: Duration = Duration::from_secs(25);

/// How often a process of this host is checked.
const PROCESS_LOOK_EVERY: Duration = Duration::from_millis(20);

/// Waits directly at a monitor. If no process listens there and nothing shows that one ever did, prints a note: the address may
/// be wrong.
pub(super) async fn at_monitor(address: Address) -> Result<(), Failure> {
    let mut follow = qmp_client::follow(address, FollowConfig::default());
    let (mut is_noted, mut was_seen) = (false, false);
    loop {
        match follow.next().await {
            FollowEvent::Detached { reason, process, .. }
                if reason.detach_reason() == DetachReason::PeerClosed =>
            {
                if let Some(pid) = process.map(|process| process.pid()).filter(|pid| is_qemu(&name_of(*pid)))
                {
                    // After the timeout, QEMU continues without a monitor.
                    let _ = tokio::time::timeout(PROCESS_END_MAX, exited(pid)).await;
                }
                return Ok(());
            }
            FollowEvent::Failed { error, .. } => match error {
                ConnectError::NoSuchSocket { .. } | ConnectError::Refused { .. } if was_seen => return Ok(()),
                // The file of a socket without a listener was left by a process that has ended.
                ConnectError::Refused { address: Address::Unix { .. } } => return Ok(()),
                ConnectError::NoSuchSocket { .. } | ConnectError::Refused { .. } => {
                    output::note(format_args!("note: {error}; it has ended, or never was there"));
                    return Ok(());
                }
                // The next attempt shows whether QEMU is still running.
                ConnectError::Ended { .. } => was_seen = true,
                error if error.is_monitor_in_use() => {
                    was_seen = true;
                    if !std::mem::replace(&mut is_noted, true) {
                        output::note(format_args!("note: QEMU has not ended: {error}"));
                    }
                }
                error => {
                    return Err(Failure::failed(error).hint("this error does not say whether QEMU has ended"));
                }
            },
            FollowEvent::Reply(reply) => reply.release(),
            // Events must be consumed: others are yielded again at once.
            FollowEvent::Events(mut events) => while events.next().is_some() {},
            FollowEvent::Attached { .. } | FollowEvent::Detached { .. } => was_seen = true,
            _ => {}
        }
    }
}

/// The record of the end of the VM's last epoch, if it had one.
pub(super) async fn last_end(client: &HubClient, vm: &str) -> Result<Option<Record<'static>>, HubError> {
    left::last(client, vm, Some("detached")).await
}

/// The end of a VM that the hub no longer follows. A discovered VM leaves the hub when its process ends.
///
/// # Errors
///
/// `failure`, if no record shows that QEMU closed its monitor.
pub(super) async fn of_removed(
    client: &HubClient,
    vm: &str,
    failure: Failure,
) -> Result<Record<'static>, Failure> {
    last_end(client, vm).await?.filter(is_gone).ok_or(failure)
}

/// Waits until the process of the epoch that `end` closed has exited, if the system reports it.
pub(super) async fn process_exit(client: &HubClient, vm: &str, end: &Record<'_>) -> Result<(), HubError> {
    let since_end_us = clock::now().0.saturating_sub(end.received.0);
    let since_end = Duration::from_micros(u64::try_from(since_end_us).unwrap_or(0));
    let Some(left) = PROCESS_END_MAX.checked_sub(since_end) else { return Ok(()) };
    // The record that opened the epoch names its process; a later epoch has another.
    let opened = left::last(client, vm, Some("attached")).await?.filter(|opened| opened.epoch == end.epoch);
    let Some(pid) = opened.as_ref().and_then(process_of) else { return Ok(()) };
    let exit = async {
        tokio::select! {
            recorded = exit_of(client, vm, end.epoch, end.offset.unwrap_or_default()) => recorded,
            // If the parent does not reap the process, its exit is not recorded.
            () = exited(pid), if client.is_on_this_host() => Ok(()),
        }
    };
    match tokio::time::timeout(left, exit).await {
        Ok(exited) => exited,
        Err(_) => {
            output::note("note: the monitor is closed; the exit of the QEMU process was not observed");
            Ok(())
        }
    }
}

/// Waits until a process of this host has exited, reaped by its parent or not.
async fn exited(pid: i32) {
    while is_running(pid) {
        tokio::time::sleep(PROCESS_LOOK_EVERY).await;
    }
}

/// Source: proc(5), `/proc/pid/stat`: the state follows the name in parentheses.
fn is_running(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// The name of a process; empty if it has exited.
fn name_of(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

/// Whether a process name is that of QEMU, not of a manager that opened the socket for it.
fn is_qemu(name: &str) -> bool {
    name.starts_with("qemu-") || name == "kvm"
}

async fn exit_of(client: &HubClient, vm: &str, epoch: Epoch, after: Offset) -> Result<(), HubError> {
    let mut follow = HubFollow::new(client.clone(), left::of(vm), after);
    loop {
        let HubItem::Record(record) = follow.next().await? else { continue };
        match &record.body {
            Body::Finding { finding, .. } if finding == PROCESS_ENDED && record.epoch == epoch => {
                return Ok(());
            }
            // The socket has a new process.
            Body::Attached { .. } => return Ok(()),
            _ => {}
        }
    }
}

/// The process of the QEMU that serves the monitor, if the snapshot names it.
fn process_of(record: &Record<'_>) -> Option<i32> {
    #[derive(Deserialize)]
    struct Snapshot {
        process: Option<ProcessInfo>,
    }
    #[derive(Deserialize)]
    struct ProcessInfo {
        pid: i32,
        name: String,
    }
    let Body::Attached { snapshot } = &record.body else { return None };
    let process = serde_json::from_str::<Snapshot>(snapshot).ok()?.process?;
    is_qemu(&process.name).then_some(process.pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_that_exited_is_not_running() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let is_over = (0..1_000).any(|_| {
            std::thread::sleep(Duration::from_millis(2));
            !is_running(pid)
        });
        assert!(is_over, "the process has exited and is not reaped");
        child.wait().unwrap();
        assert!(!is_running(pid));
        assert!(is_running(i32::try_from(std::process::id()).unwrap()));
    }

    #[test]
    fn qemu_is_distinguished_from_its_manager() {
        let cases =
            [("qemu-system-x86", true), ("qemu-kvm", true), ("kvm", true), ("libvirtd", false), ("", false)];
        for (name, expected) in cases {
            assert_eq!(is_qemu(name), expected, "{name}");
        }
    }
}
