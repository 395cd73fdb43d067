//! The names of a hub's VMs: each belongs to a VM that is followed, or that is being added or removed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use qmp_host::{OpenFiles, lock};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::error::VmRegistryError;
use crate::attach::LeaveRequest;
use crate::relay::{FILES_OF_A_RELAY, VmRelays};
use crate::vm::{FollowedVm, VmName};

/// Open files of a VM: the socket of its monitor. The descriptor of its process, for the exit status, is one more if the limit
/// permits.
pub(super) const FILES_OF_A_VM: usize = 1;

/// The names of a hub's VMs, and the open files that the VMs are counted with.
#[derive(Debug, Default)]
pub(super) struct Slots {
    pub(super) open_files: OpenFiles,
    state: Mutex<SlotState>,
}

/// The state of [`Slots`].
#[derive(Debug, Default)]
pub(super) struct SlotState {
    pub(super) by_name: HashMap<VmName, Slot>,
    /// Removals in progress. They continue when no caller waits for them.
    pub(super) leaving: JoinSet<()>,
    /// Open files that the VMs are counted with.
    pub(super) files: usize,
    /// VMs that are there, or are known to be added: relays leave the open files for their monitors.
    expected_vms: usize,
    pub(super) stopping: bool,
}

/// The state of a name.
#[derive(Debug)]
pub(super) enum Slot {
    /// A VM that is being added or removed.
    Reserved,
    /// A VM that is followed.
    Running(RunningVm),
}

/// A VM, the task that follows it, and its relays.
#[derive(Debug)]
pub(super) struct RunningVm {
    pub(super) vm: Arc<FollowedVm>,
    pub(super) leave: oneshot::Sender<LeaveRequest>,
    pub(super) task: JoinHandle<()>,
    pub(super) relays: Option<Box<VmRelays>>,
}

/// A name that no other VM can have, and the files that its VM is counted with.
#[derive(Debug)]
pub(super) struct ReservedName {
    pub(super) slots: Arc<Slots>,
    pub(super) name: VmName,
    pub(super) files: usize,
    /// Name and files belong to a VM, and are not given back here.
    pub(super) used: bool,
}

impl Slots {
    /// Reserves a name for a VM with that many open files, if it is free.
    pub(super) fn reserve(
        self: &Arc<Self>,
        name: VmName,
        files: usize,
    ) -> Result<ReservedName, VmRegistryError> {
        let mut state = self.lock();
        if state.stopping {
            return Err(VmRegistryError::Stopping);
        }
        match state.by_name.get(&name) {
            None => {}
            Some(Slot::Reserved) => return Err(VmRegistryError::NameInUse { name }),
            Some(Slot::Running(other)) => {
                let origin = other.vm.origin.clone();
                return Err(VmRegistryError::NameTaken { name, origin });
            }
        }
        state.by_name.insert(name.clone(), Slot::Reserved);
        state.add_files(&self.open_files, files);
        drop(state);
        Ok(ReservedName { slots: Arc::clone(self), name, files, used: false })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, SlotState> {
        lock(&self.state)
    }
}

impl SlotState {
    /// Counts more open files.
    pub(super) fn add_files(&mut self, open_files: &OpenFiles, files: usize) {
        self.files += files;
        open_files.allow(self.files, self.expected_vms.max(self.by_name.len()));
    }

    /// Raises the limit of open files at once for VMs and relays that are about to be added.
    pub(super) fn expect(&mut self, open_files: &OpenFiles, vms: usize, relays: usize) {
        self.expected_vms = self.by_name.len() + vms;
        let files = self.files + vms * FILES_OF_A_VM + relays * FILES_OF_A_RELAY;
        open_files.allow(files, self.expected_vms);
    }

    /// The VM of that name.
    pub(super) fn running(&mut self, name: &str) -> Result<&mut RunningVm, VmRegistryError> {
        if self.stopping {
            return Err(VmRegistryError::Stopping);
        }
        match self.by_name.get_key_value(name) {
            None => return Err(VmRegistryError::Unknown { name: name.into() }),
            Some((name, Slot::Reserved)) => return Err(VmRegistryError::NameInUse { name: name.clone() }),
            Some(_) => {}
        }
        match self.by_name.get_mut(name) {
            Some(Slot::Running(running)) => Ok(running),
            _ => Err(VmRegistryError::Unknown { name: name.into() }),
        }
    }

    /// Removes a VM; its name stays reserved.
    pub(super) fn take(&mut self, name: &str) -> Result<(VmName, RunningVm), VmRegistryError> {
        if self.stopping {
            return Err(VmRegistryError::Stopping);
        }
        let Some((name, _)) = self.by_name.get_key_value(name) else {
            return Err(VmRegistryError::Unknown { name: name.into() });
        };
        let name = name.clone();
        match self.by_name.insert(name.clone(), Slot::Reserved) {
            Some(Slot::Running(running)) => Ok((name, running)),
            _ => Err(VmRegistryError::NameInUse { name }),
        }
    }
}

impl Slot {
    pub(super) fn running(self) -> Option<RunningVm> {
        match self {
            Self::Running(running) => Some(running),
            Self::Reserved => None,
        }
    }
}

impl RunningVm {
    pub(super) fn files(&self) -> usize {
        FILES_OF_A_VM + self.relays.as_ref().map_or(0, |relays| relays.configs().count()) * FILES_OF_A_RELAY
    }
}

impl Drop for ReservedName {
    fn drop(&mut self) {
        if !self.used {
            let mut state = self.slots.lock();
            state.by_name.remove(&self.name);
            state.files -= self.files;
        }
    }
}

/// Logs the panic of a task, which is an error of this program.
pub(super) fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!("a task of the hub died: {error}");
    }
}
