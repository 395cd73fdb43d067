//! Domains whose own monitors are followed, which libvirt is not asked for.

use std::sync::Arc;
use std::time::Duration;

use qmp_libvirt::Uuid;
use tokio::time::Instant;

use crate::domain_recorder::DomainRecorder;
use crate::registry::VmRegistry;
use crate::vm::{FollowedVm, MonitorState, VmName};

/// How long the first session waits for monitors that the configuration names, whose UUIDs decide what libvirt is left.
const NAMED_TIMEOUT: Duration = Duration::from_secs(2);

/// Waits until the state of each named monitor is known, for a short time.
pub(super) async fn wait_for_named(registry: &VmRegistry) {
    let end = Instant::now() + NAMED_TIMEOUT;
    let is_connecting = || {
        let all = registry.vms().all();
        all.iter().any(|vm| vm.status().state == MonitorState::Connecting)
    };
    while is_connecting() && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The VM of this UUID whose own monitor is followed, and is not in use by another client.
pub(super) fn followed_elsewhere(registry: &VmRegistry, uuid: Uuid) -> Option<VmName> {
    let uuid = uuid.to_string();
    let all = registry.vms().all();
    let is_it = |vm: &&Arc<FollowedVm>| {
        !vm.is_through_libvirt() && vm.has_uuid(&uuid) && vm.status().state != MonitorState::InUse
    };
    let found = all.iter().find(is_it);
    found.map(|vm| vm.name.clone())
}

/// Removes a VM in a task of its own, because that may wait for the journal.
pub(super) fn remove(registry: &VmRegistry, recorder: &DomainRecorder, detail: &str) {
    let (registry, name) = (registry.clone(), recorder.vm.name.clone());
    let detail = detail.to_owned();
    tokio::spawn(async move {
        // An error means that it was removed already.
        let _ = registry.remove(name.as_str(), &detail).await;
    });
}
