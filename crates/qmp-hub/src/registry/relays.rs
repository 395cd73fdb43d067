//! Changes of a VM's relays while it is followed. Its connection and its epoch stay open.

use std::sync::Arc;

use super::error::VmRegistryError;
use super::slots::Slots;
use crate::relay::{ClosingRelays, FILES_OF_A_RELAY, ListeningSockets, RelayConfig, Relays};
use crate::vm::FollowedVm;

/// Serves the VM of that name at the wanted relays, and no others.
pub(super) async fn set(
    slots: &Slots,
    relays: &Relays,
    name: &str,
    wanted: Vec<RelayConfig>,
) -> Result<(), VmRegistryError> {
    let (vm, has) = {
        let mut state = slots.lock();
        let running = state.running(name)?;
        let has: Vec<_> = running.relays.iter().flat_map(|relays| relays.configs()).cloned().collect();
        (Arc::clone(&running.vm), has)
    };
    let is_free = |relay: &RelayConfig| !has.iter().any(|other| other.path == relay.path);
    let more = wanted.iter().filter(|relay| !has.contains(relay)).cloned();
    let (free, changed): (Vec<_>, Vec<_>) = more.partition(is_free);
    let mut listening = ListeningSockets::at(free, &slots.open_files).await;
    part(slots, relays, &vm, &wanted).await?;
    listening.append(ListeningSockets::at(changed, &slots.open_files).await);

    let mut state = slots.lock();
    let running = state.running(name)?;
    // The name may belong to another VM by now.
    if !Arc::ptr_eq(&running.vm, &vm) {
        return Err(VmRegistryError::Unknown { name: name.into() });
    }
    let files = listening.len() * FILES_OF_A_RELAY;
    relays.open(vm.relayed(), &mut running.relays, listening);
    state.add_files(&slots.open_files, files);
    Ok(())
}

/// Ends the relays that are not wanted, and the line of a VM without wanted relays.
async fn part(
    slots: &Slots,
    relays: &Relays,
    vm: &Arc<FollowedVm>,
    wanted: &[RelayConfig],
) -> Result<(), VmRegistryError> {
    let (parted, last): (Option<ClosingRelays>, _) = {
        let mut state = slots.lock();
        let running = state.running(vm.name.as_str())?;
        let before = running.files();
        let last = if wanted.is_empty() { running.relays.take() } else { None };
        if last.is_some() {
            // Between two appends, so that the line has counted every record that it must hand out.
            vm.tap.lock().line = None;
        }
        let parted = running.relays.as_mut().map(|relays| relays.part(|relay| wanted.contains(relay)));
        let after = running.files();
        state.files -= before - after;
        (parted, last)
    };
    if let Some(parted) = parted {
        parted.ended().await;
    }
    if let Some(last) = last {
        relays.close(last).await;
    }
    Ok(())
}
