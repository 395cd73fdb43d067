//! The fleet: the VMs that the hub follows, which come and go while it runs.
//!
//! A VM is added in two steps: what can be refused comes first (its name, the sockets of its relays), and then it is
//! followed. It is removed in the order in which nothing gets lost: the epoch is closed and committed, the monitor is
//! left, the clients of its relays get what was said last, and only then its name is free. Other VMs notice nothing.

mod relays;
mod slots;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use qmp_client::{Address, Callers, Follow, FollowConfig};
use qmp_host::Duties;
use qmp_host::clock;
use qmp_host::reader_memory::{READER_MEMORY_MAX_BYTES, ReaderMemory};
use qmp_host::{Budget, OpenFiles};
use qmp_journal::{Appender, Journal};
use qmp_wire::DetachReason;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use self::slots::{Followed, Place, Places, Reserved};
use crate::attach::{Attachment, Leave};
use crate::limits::STOP_COMMIT_MAX;
use crate::relay::{FILES_OF_A_RELAY, Listening, OfVm, RelayConfig, RelayStatus, Relays};
use crate::silence::SilentAfter;
use crate::silence_watch::Watch;
use crate::vm::Origin;
use crate::vm::VmName;
use crate::vm::{Vm, Vms};

/// Open files of a VM: the socket of its monitor. Its process, which is to tell its exit status, is one more if there is
/// room.
const FILES_OF_A_VM: usize = 1;

/// The VMs of a running hub. Clones are handles of the same fleet.
#[derive(Clone, Debug)]
pub struct Fleet(Arc<Inner>);

/// A VM of the fleet.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name.
    pub name: VmName,
    /// Its monitor.
    pub address: Address,
    /// Where the hub has it from.
    pub origin: Origin,
    /// The sockets in its place.
    pub relays: Vec<RelayConfig>,
}

/// Errors of adding and removing VMs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// Another VM has that name.
    #[error("a VM called {name} is here already ({origin}); each VM needs a name of its own")]
    NameTaken {
        /// The name.
        name: VmName,
        /// Where the other one came from.
        origin: Origin,
    },
    /// A VM of that name is being added or removed in this moment.
    #[error("a VM called {name} is just being added or removed; try again")]
    NameInUse {
        /// The name.
        name: VmName,
    },
    /// There is no VM of that name.
    #[error("there is no VM called {name}")]
    Unknown {
        /// The name.
        name: Box<str>,
    },
    /// The hub stops.
    #[error("the hub stops")]
    Stopping,
}

#[derive(Debug)]
struct Inner {
    vms: Vms,
    relays: Relays,
    appender: Appender,
    duties: Duties,
    /// Whether findings are recorded, and how the processes of VMs ended.
    records_findings: bool,
    /// Finds out which VMs are silent.
    watch: Watch,
    open_files: OpenFiles,
    /// What readers and clients of relays have together.
    memory: ReaderMemory,
    places: Mutex<Places>,
    /// How monitors are followed, shared by all.
    following: Arc<FollowConfig>,
}

/// A VM that can be followed: its name is reserved, and its relays listen. Dropped, it never was there.
#[derive(Debug)]
pub(crate) struct Prepared {
    reserved: Reserved,
    vm: Arc<Vm>,
    follow: Box<Follow>,
    listening: Listening,
}

impl Fleet {
    /// A fleet without VMs, whose records go to that journal.
    #[must_use]
    pub fn new(journal: &Journal, records_findings: bool, silent_after: SilentAfter) -> Self {
        let (open_files, memory) = (OpenFiles::default(), ReaderMemory::new(READER_MEMORY_MAX_BYTES));
        let mut following = FollowConfig::default();
        following.connect.sockets = Some(Arc::clone(open_files.monitors()));
        Self(Arc::new(Inner {
            vms: Vms::default(),
            relays: Relays::new(journal, &memory, open_files.clients()),
            memory,
            appender: journal.appender(),
            duties: journal.duties(),
            records_findings,
            watch: Watch::new(silent_after),
            open_files,
            places: Mutex::default(),
            following: Arc::new(following),
        }))
    }

    /// Follows one more VM, behind the others. One that is not there yet is tried for ever, with back-off.
    ///
    /// Must be called in the hub's runtime.
    ///
    /// # Errors
    ///
    /// `NameTaken`, `NameInUse`, `Stopping`; the fleet is as it was then. A relay whose socket cannot be had is no error:
    /// [`relays`](Self::relays) says so, and it is tried again.
    pub async fn add(
        &self,
        name: VmName,
        address: Address,
        relays: Vec<RelayConfig>,
        origin: Origin,
    ) -> Result<(), FleetError> {
        self.add_followed(name, self.follow(address), relays, origin, None).await
    }

    /// Follows the monitor at that address, once it is polled.
    pub fn follow(&self, address: Address) -> Box<Follow> {
        Box::new(qmp_client::follow(address, Arc::clone(&self.0.following)))
    }

    /// Follows a monitor that dials in, whose connections are handed over.
    pub(crate) fn follow_callers(&self, address: Address) -> (Box<Follow>, Callers) {
        let (follow, callers) = qmp_client::follow_callers(address, Arc::clone(&self.0.following));
        (Box::new(follow), callers)
    }

    /// The same for a VM that is followed in a way of its own.
    pub async fn add_followed(
        &self,
        name: VmName,
        follow: Box<Follow>,
        relays: Vec<RelayConfig>,
        origin: Origin,
        silent_after: Option<SilentAfter>,
    ) -> Result<(), FleetError> {
        self.prepare(name, follow, relays, origin, silent_after).await?.launch()
    }

    /// Sets after how long without a word VMs are probed: those without a setting of their own, and those for which
    /// `own` gives another one. Returns whether anything differs.
    pub(crate) fn set_silent_after(
        &self,
        default: SilentAfter,
        own: impl Fn(&Vm) -> Option<Option<SilentAfter>>,
    ) -> bool {
        let all = self.0.vms.all();
        let mut differs = self.0.watch.set_default(default);
        for vm in &all {
            differs |= own(vm).is_some_and(|silent_after| vm.silence.setting.set(silent_after));
        }
        if differs {
            self.0.watch.restart(&all);
        }
        differs
    }

    /// What finds out which VMs are silent.
    pub(crate) fn duties(&self) -> Duties {
        self.0.duties.clone()
    }

    pub(crate) fn watch(&self) -> Watch {
        self.0.watch.clone()
    }

    /// Leaves a VM: closes its epoch with the reason `removed` and this detail, and ends its relays. Returns when that is
    /// committed; it is carried on if nobody waits for it. Its records stay.
    ///
    /// # Errors
    ///
    /// `Unknown`, `NameInUse`, `Stopping`.
    pub async fn remove(&self, name: &str, detail: &str) -> Result<(), FleetError> {
        let (done, is_done) = oneshot::channel();
        let leave = Leave { reason: DetachReason::Removed, detail: detail.into() };
        {
            let mut places = self.places();
            let (name, followed) = places.take(name)?;
            let reserved = Reserved { fleet: self.clone(), name, files: followed.files(), used: false };
            while places.leaving.try_join_next().is_some() {}
            places.leaving.spawn(async move {
                reserved.fleet.leave(followed, leave).await;
                drop(reserved);
                let _ = done.send(());
            });
        }
        // Without an answer the hub was dropped, and everything with it.
        is_done.await.map_err(|_| FleetError::Stopping)
    }

    /// The VMs of this moment, in the order in which they came.
    #[must_use]
    pub fn list(&self) -> Vec<Member> {
        self.each(|vm, relays| Member {
            name: vm.name.clone(),
            address: vm.address.clone(),
            origin: vm.origin.clone(),
            relays: relays.into_iter().flat_map(OfVm::configs).cloned().collect(),
        })
    }

    /// How each relay stands, in the order of the VMs.
    #[must_use]
    pub fn relays(&self) -> Vec<RelayStatus> {
        let statuses = self.each(|_, relays| relays.into_iter().flat_map(OfVm::statuses).collect::<Vec<_>>());
        statuses.into_iter().flatten().collect()
    }

    /// The connections of clients that may be open.
    #[must_use]
    pub fn clients(&self) -> &Arc<Budget> {
        self.0.open_files.clients()
    }

    /// The memory of all readers.
    #[must_use]
    pub fn reader_memory(&self) -> &ReaderMemory {
        &self.0.memory
    }

    /// The VMs, for readers.
    pub fn vms(&self) -> &Vms {
        &self.0.vms
    }

    /// Raises the limit of open files at once for VMs that are about to be added.
    pub(crate) fn expect(&self, vms: usize, relays: usize) {
        let (files, has_relays) = self.places().files_and_relays();
        let files = files + vms * FILES_OF_A_VM + relays * FILES_OF_A_RELAY;
        self.0.open_files.allow(files, has_relays + relays);
    }

    /// The first step: everything that can be refused.
    pub(crate) async fn prepare(
        &self,
        name: VmName,
        follow: Box<Follow>,
        relays: Vec<RelayConfig>,
        origin: Origin,
        silent_after: Option<SilentAfter>,
    ) -> Result<Prepared, FleetError> {
        let reserved = Reserved::take(self, name, FILES_OF_A_VM + relays.len() * FILES_OF_A_RELAY)?;
        let listening = Listening::at(relays).await;
        let address = follow.address().clone();
        let vm = Vm::new(reserved.name.clone(), address, origin, follow.commander(), clock::now());
        vm.silence.setting.set(silent_after);
        Ok(Prepared { reserved, vm: Arc::new(vm), follow, listening })
    }

    /// Leaves all VMs: closes every epoch, waits for the commits, then ends the relays. Nothing is added any more.
    pub(crate) async fn stop(&self) {
        let (followed, mut leaving) = {
            let mut places = self.places();
            places.stopping = true;
            let places = &mut *places;
            let followed = places.by_name.drain().filter_map(|(_, place)| place.followed());
            (followed.collect::<Vec<_>>(), std::mem::take(&mut places.leaving))
        };
        let leave = Leave { reason: DetachReason::HubStopped, detail: "the hub was asked to stop".into() };
        let (mut tasks, mut relays) = (Vec::with_capacity(followed.len()), Vec::new());
        for Followed { leave: tell, task, relays: of_vm, .. } in followed {
            // One whose task died is not told.
            let _ = tell.send(leave.clone());
            tasks.push(task);
            relays.extend(of_vm.map(|relays| *relays));
        }
        let all_left = async {
            for task in &mut tasks {
                report(task.await);
            }
            while let Some(left) = leaving.join_next().await {
                report(left);
            }
        };
        if tokio::time::timeout(STOP_COMMIT_MAX, all_left).await.is_err() {
            tracing::error!("the journal did not take the last records within {STOP_COMMIT_MAX:?}");
            tasks.iter().for_each(JoinHandle::abort);
            leaving.shutdown().await;
        }
        self.0.relays.stop(relays).await;
    }

    /// Ends everything where it stands, as a crash would.
    pub(crate) fn abort(&self) {
        let mut places = self.places();
        places.stopping = true;
        for (_, place) in places.by_name.drain() {
            if let Place::Followed(followed) = place {
                followed.task.abort();
            }
        }
        places.leaving.abort_all();
        self.0.relays.abort();
    }

    async fn leave(&self, followed: Followed, leave: Leave) {
        let Followed { vm, leave: tell, task, relays } = followed;
        tracing::info!(vm = %vm.name, "removed: {}", leave.detail);
        let _ = tell.send(leave);
        report(task.await);
        if let Some(relays) = relays {
            self.0.relays.close(relays).await;
        }
        self.0.vms.remove(vm.name.as_str());
    }

    fn each<T>(&self, mut of: impl FnMut(&Vm, Option<&OfVm>) -> T) -> Vec<T> {
        let all = self.0.vms.all();
        let places = self.places();
        let relays = |vm: &Vm| match places.by_name.get(&vm.name) {
            Some(Place::Followed(followed)) => followed.relays.as_deref(),
            _ => None,
        };
        all.iter().map(|vm| of(vm, relays(vm))).collect()
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        // Nothing panics between two steps of one change.
        self.0.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Prepared {
    /// The second step: serves at the relays, and follows.
    pub(crate) fn launch(self) -> Result<(), FleetError> {
        let Self { mut reserved, vm, follow, listening } = self;
        let fleet = reserved.fleet.clone();
        let inner = &fleet.0;
        let mut places = fleet.places();
        if places.stopping {
            // Giving back what was reserved takes the lock.
            drop(places);
            return Err(FleetError::Stopping);
        }
        // Its name was reserved, and a VM that leaves frees its name last.
        inner.vms.insert(Arc::clone(&vm)).unwrap_or_else(|vm| unreachable!("{} was reserved", vm.name));
        inner.watch.add(&vm);
        let mut relays = None;
        inner.relays.open(vm.relayed(), &mut relays, listening);
        let (leave, told) = oneshot::channel();
        let attachment = Attachment::new(Arc::clone(&vm), inner.appender.clone(), inner.records_findings);
        // It returns when it is told to; one that dies leaves its VM unread.
        let run = attachment.run(follow, told);
        let task = tokio::spawn(inner.duties.watch(format!("VM {}", vm.name), || true, run));
        let followed = Followed { vm, leave, task, relays };
        places.by_name.insert(reserved.name.clone(), Place::Followed(followed));
        reserved.used = true;
        Ok(())
    }
}

/// A task that died is a fault of this program, and must not pass unnoticed.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!("a task of the hub died: {error}");
    }
}
