//! The state of a VM of the hub, once it is settled.

use std::time::Duration;

use globset::Glob;
use qmp_host::clock;
use qmp_settings::suggest;
use qmp_wire::UnixMicros;
use tokio::time::Instant;

use crate::exit::Failure;
use crate::hub::{HubClient, HubInfo, VmInfo};

/// How long a VM may take to attach after the hub (re)started before it counts as gone.
const ATTACH_GRACE: Duration = Duration::from_secs(5);

/// How often the client checks whether the hub has attached a VM.
pub(super) const ATTACH_POLL: Duration = Duration::from_millis(100);

/// Requests the state of a VM of the hub; `None` if the hub does not follow it.
///
/// Waits up to [`ATTACH_GRACE`] while the hub is connecting to the VM or has just started, or until the journal has the end
/// of the VM's epoch.
pub(super) async fn vm_state(client: &HubClient, name: &str) -> Result<Option<VmInfo>, Failure> {
    let deadline = Instant::now() + ATTACH_GRACE;
    loop {
        let is_late = Instant::now() >= deadline;
        match client.vm(name).await {
            Ok(vm) if is_late || vm.is_settled() => return Ok(Some(vm)),
            Err(error) if error.is_unknown_vm() => match client.info().await {
                Ok(info) if is_late || !is_starting(&info) => return Ok(None),
                Err(error) if !error.is_passing() => return Err(error.into()),
                _ => {}
            },
            Err(error) if !error.is_passing() => return Err(error.into()),
            _ => {}
        }
        tokio::time::sleep(ATTACH_POLL).await;
    }
}

/// Whether a hub was started so recently that it may not have found its VMs.
fn is_starting(hub: &HubInfo) -> bool {
    let started = hub.started.as_deref().and_then(|started| started.parse::<UnixMicros>().ok());
    let grace_us = i64::try_from(ATTACH_GRACE.as_micros()).unwrap_or(i64::MAX);
    started.is_some_and(|started| (0..grace_us).contains(&(clock::now().0 - started.0)))
}

/// The VMs of the hub that match `pattern`, at least one.
pub(super) fn known_vms<'a>(vms: &'a [VmInfo], pattern: &str) -> Result<Vec<&'a VmInfo>, Failure> {
    let glob = Glob::new(pattern).map_err(|error| Failure::usage(error.to_string()))?.compile_matcher();
    let known: Vec<&VmInfo> = vms.iter().filter(|vm| glob.is_match(&vm.vm)).collect();
    if !known.is_empty() {
        return Ok(known);
    }
    let failure = Failure::gone(format_args!("the hub has no VM {pattern}"));
    let names: Vec<&str> = vms.iter().map(|vm| vm.vm.as_str()).collect();
    Err(match (suggest::nearest(pattern, names.iter().copied()), names.as_slice()) {
        (Some(near), _) => failure.hint(format_args!("did you mean {near}?")),
        (None, []) => failure.hint("it has none at all: qmp serve --attach NAME=ADDR"),
        (None, names) => failure.hint(format_args!("it has {}", names.join(", "))),
    })
}
