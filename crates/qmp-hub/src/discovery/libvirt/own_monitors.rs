//! The VMs whose own monitors are followed, by UUID: libvirt leaves their domains to those monitors.

use std::collections::HashMap;
use std::time::Duration;

use qmp_libvirt::Uuid;
use tokio::time::Instant;

use crate::registry::Vms;
use crate::vm::{MonitorState, VmName};

/// How long the first session waits for monitors that the configuration names, whose UUIDs decide what libvirt is left.
const NAMED_TIMEOUT: Duration = Duration::from_secs(2);

/// An index of the registry, so that the comparison of all domains takes a time that grows linearly with the VMs.
///
/// A VM that is added or removed is noticed at once; a UUID that a VM reports later, with the next [`refresh`](Self::refresh).
#[derive(Debug, Default)]
pub(super) struct OwnMonitors {
    by_uuid: HashMap<Uuid, VmName>,
    /// The changes of the registry at the last refresh.
    changes: u64,
}

impl OwnMonitors {
    /// Reads the UUIDs of all VMs whose own monitors are followed, and are not in use by other clients.
    pub(super) fn refresh(&mut self, vms: &Vms) {
        self.changes = vms.changes_of_monitors();
        self.by_uuid.clear();
        for vm in vms.all().iter().filter(|vm| !vm.is_through_libvirt()) {
            let uuid = vm.uuid().and_then(|uuid| uuid.parse().ok());
            if let Some(uuid) = uuid.filter(|_| vm.status().state != MonitorState::InUse) {
                self.by_uuid.entry(uuid).or_insert_with(|| vm.name.clone());
            }
        }
    }

    /// As [`refresh`](Self::refresh), if a VM with its own monitor was added or removed since.
    pub(super) fn refresh_if_changed(&mut self, vms: &Vms) {
        if self.changes != vms.changes_of_monitors() {
            self.refresh(vms);
        }
    }

    /// The VM of this UUID.
    pub(super) fn get(&self, uuid: Uuid) -> Option<&VmName> {
        self.by_uuid.get(&uuid)
    }
}

/// Waits until each monitor of the VMs so far is attached or cannot be, or for [`NAMED_TIMEOUT`].
pub(super) async fn wait_for_named(vms: &Vms) {
    let end = Instant::now() + NAMED_TIMEOUT;
    let is_connecting = || vms.all().iter().any(|vm| vm.status().state == MonitorState::Connecting);
    while is_connecting() && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::vm::tests::vm;

    #[test]
    fn added_vm_is_noticed_at_once_and_a_reported_uuid_with_the_next_refresh() {
        let (vms, mut monitors) = (Vms::default(), OwnMonitors::default());
        let uuid = Uuid::from_bytes([7; 16]);
        let (known, reports_later) = (vm("known"), Arc::new(vm("later")));
        known.set_uuid(Some(&uuid.to_string().to_uppercase()));
        let name = |monitors: &OwnMonitors| monitors.get(uuid).map(ToString::to_string);
        vms.insert(Arc::clone(&reports_later)).expect("a free name");
        monitors.refresh_if_changed(&vms);
        assert_eq!(name(&monitors), None);
        reports_later.set_uuid(Some(&uuid.to_string()));
        monitors.refresh_if_changed(&vms);
        assert_eq!(name(&monitors), None);
        monitors.refresh(&vms);
        assert_eq!(name(&monitors).as_deref(), Some("later"));
        vms.remove("later");
        monitors.refresh_if_changed(&vms);
        assert_eq!(name(&monitors), None);
        vms.insert(Arc::new(known)).expect("a free name");
        monitors.refresh_if_changed(&vms);
        assert_eq!(name(&monitors).as_deref(), Some("known"));
    }
}
