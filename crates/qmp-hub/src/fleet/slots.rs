//! What each name of the fleet stands for: a VM that is followed, or one that is being added or removed.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::{FILES_OF_A_VM, Fleet, FleetError};
use crate::attach::Leave;
use crate::relay::{FILES_OF_A_RELAY, OfVm};
use crate::vm::Vm;
use crate::vm::VmName;

#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) by_name: HashMap<VmName, Place>,
    /// Removals under way. They go on when nobody waits for them.
    pub(super) leaving: JoinSet<()>,
    /// Open files that the VMs are counted with.
    pub(super) files: usize,
    pub(super) stopping: bool,
}

/// What a name stands for.
#[derive(Debug)]
pub(super) enum Place {
    /// A VM that is being added or removed.
    Reserved,
    Followed(Followed),
}

#[derive(Debug)]
pub(super) struct Followed {
    pub(super) vm: Arc<Vm>,
    pub(super) leave: oneshot::Sender<Leave>,
    pub(super) task: JoinHandle<()>,
    pub(super) relays: Option<Box<OfVm>>,
}

/// A name that nobody else can take, and the files that its VM is counted with.
#[derive(Debug)]
pub(super) struct Reserved {
    pub(super) fleet: Fleet,
    pub(super) name: VmName,
    pub(super) files: usize,
    /// Name and files belong to a VM, and are not given back here.
    pub(super) used: bool,
}

impl Places {
    /// Counts so many open files more.
    pub(super) fn add_files(&mut self, fleet: &Fleet, files: usize) {
        self.files += files;
        let (files, relays) = self.files_and_relays();
        fleet.0.open_files.allow(files, relays);
    }

    /// The open files, and how many relays are among those that they belong to.
    pub(super) fn files_and_relays(&self) -> (usize, usize) {
        let of_relays = self.files.saturating_sub(self.by_name.len() * FILES_OF_A_VM);
        (self.files, of_relays / FILES_OF_A_RELAY)
    }

    /// The VM of that name.
    pub(super) fn followed(&mut self, name: &str) -> Result<&mut Followed, FleetError> {
        if self.stopping {
            return Err(FleetError::Stopping);
        }
        match self.by_name.get_key_value(name) {
            None => return Err(FleetError::Unknown { name: name.into() }),
            Some((name, Place::Reserved)) => return Err(FleetError::NameInUse { name: name.clone() }),
            Some(_) => {}
        }
        match self.by_name.get_mut(name) {
            Some(Place::Followed(followed)) => Ok(followed),
            _ => Err(FleetError::Unknown { name: name.into() }),
        }
    }

    /// Takes a VM out; its name stays reserved.
    pub(super) fn take(&mut self, name: &str) -> Result<(VmName, Followed), FleetError> {
        if self.stopping {
            return Err(FleetError::Stopping);
        }
        let Some((name, _)) = self.by_name.get_key_value(name) else {
            return Err(FleetError::Unknown { name: name.into() });
        };
        let name = name.clone();
        match self.by_name.insert(name.clone(), Place::Reserved) {
            Some(Place::Followed(followed)) => Ok((name, followed)),
            _ => Err(FleetError::NameInUse { name }),
        }
    }
}

impl Reserved {
    /// Takes a name for a VM with that many open files, if it is free.
    pub(super) fn take(fleet: &Fleet, name: VmName, files: usize) -> Result<Self, FleetError> {
        let mut places = fleet.places();
        if places.stopping {
            return Err(FleetError::Stopping);
        }
        match places.by_name.get(&name) {
            None => {}
            Some(Place::Reserved) => return Err(FleetError::NameInUse { name }),
            Some(Place::Followed(other)) => {
                let origin = other.vm.origin.clone();
                return Err(FleetError::NameTaken { name, origin });
            }
        }
        places.by_name.insert(name.clone(), Place::Reserved);
        places.add_files(fleet, files);
        drop(places);
        Ok(Self { fleet: fleet.clone(), name, files, used: false })
    }
}

impl Place {
    pub(super) fn followed(self) -> Option<Followed> {
        match self {
            Self::Followed(followed) => Some(followed),
            Self::Reserved => None,
        }
    }
}

impl Followed {
    pub(super) fn files(&self) -> usize {
        FILES_OF_A_VM + self.relays.as_ref().map_or(0, |relays| relays.configs().count()) * FILES_OF_A_RELAY
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if !self.used {
            let mut places = self.fleet.places();
            places.by_name.remove(&self.name);
            places.files -= self.files;
        }
    }
}
