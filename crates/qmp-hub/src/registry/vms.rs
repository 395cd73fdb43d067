//! The VMs of a hub, for readers.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use qmp_client::Address;
use tokio::sync::Notify;

use crate::observer::FollowedVms;
use crate::relay::RelayConfig;
use crate::vm::{FollowedVm, VmName, VmOrigin};

/// A VM of the registry.
#[derive(Clone, Debug)]
pub struct RegisteredVm {
    /// Its name.
    pub name: VmName,
    /// Its monitor.
    pub address: Address,
    /// Where it came from.
    pub origin: VmOrigin,
    /// The sockets that the hub serves in its place.
    pub relays: Vec<RelayConfig>,
}

/// Every VM of the hub, by name and in the order in which they were added. Clones share the VMs.
///
/// A reader of more than one takes [`all`](Self::all) once, so that everything that it reports is about the same VMs.
#[derive(Clone, Debug, Default)]
pub struct Vms(Arc<RwLock<VmIndex>>);

#[derive(Debug, Default)]
struct VmIndex {
    in_order: BTreeMap<u64, Arc<FollowedVm>>,
    places: HashMap<VmName, u64>,
    next_place: u64,
    changes_of_monitors: u64,
    /// Wakes the observer after a removal.
    removed: Arc<Notify>,
}

impl Vms {
    /// Adds a VM after the others; returns it if its name is in use.
    pub(crate) fn insert(&self, vm: Arc<FollowedVm>) -> Result<(), Arc<FollowedVm>> {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.places.contains_key(&vm.name) {
            return Err(vm);
        }
        let place = known.next_place;
        known.next_place += 1;
        known.changes_of_monitors += u64::from(!vm.is_through_libvirt());
        known.places.insert(vm.name.clone(), place);
        known.in_order.insert(place, vm);
        Ok(())
    }

    /// Removes a VM.
    pub(crate) fn remove(&self, name: &str) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let place = known.places.remove(name);
        if let Some(vm) = place.and_then(|place| known.in_order.remove(&place)) {
            known.changes_of_monitors += u64::from(!vm.is_through_libvirt());
            known.removed.notify_one();
        }
    }

    /// The VM of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<FollowedVm>> {
        let known = self.read();
        known.places.get(name).and_then(|place| known.in_order.get(place)).cloned()
    }

    /// The current VMs, in order.
    pub fn all(&self) -> Vec<Arc<FollowedVm>> {
        self.read().in_order.values().cloned().collect()
    }

    /// How often VMs whose own monitors are followed were added or removed.
    pub(crate) fn changes_of_monitors(&self) -> u64 {
        self.read().changes_of_monitors
    }

    fn read(&self) -> RwLockReadGuard<'_, VmIndex> {
        // Nothing panics between two steps of one change.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FollowedVms for Vms {
    fn contains(&self, name: &str) -> bool {
        self.read().places.contains_key(name)
    }

    fn removed(&self) -> Arc<Notify> {
        Arc::clone(&self.read().removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::tests::vm;

    #[test]
    fn names_stand_once_and_keep_their_order() {
        let vms = Vms::default();
        let names = || vms.all().iter().map(|vm| vm.name.to_string()).collect::<Vec<_>>().join(" ");
        for name in ["b", "a", "c"] {
            assert!(vms.insert(Arc::new(vm(name))).is_ok(), "{name}");
        }
        assert_eq!(vms.insert(Arc::new(vm("a"))).map_err(|vm| vm.name.to_string()), Err("a".to_owned()));
        assert_eq!(names(), "b a c");
        vms.remove("a");
        vms.remove("d");
        assert_eq!(names(), "b c");
        assert!(vms.get("a").is_none() && vms.get("c").is_some());
        assert!(vms.insert(Arc::new(vm("a"))).is_ok(), "a name that is free again");
        assert_eq!(names(), "b c a");
    }
}
