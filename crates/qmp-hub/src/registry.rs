//! The registry: the VMs that the hub follows, which are added and removed while it runs.
//!
//! A VM is added in two steps: the checks that can fail (its name, the sockets of its relays), and then it is followed. It is
//! removed in the order in which nothing is lost: the epoch is closed and committed, the monitor is left, the clients of its
//! relays get the last events and replies, and then its name is free. Other VMs are not affected.

mod error;
mod slots;
mod relays;
mod vms;

use std::sync::{Arc, MutexGuard};

use qmp_client::{Address, Follow, FollowConfig, IncomingMonitors};
use qmp_host::reader_memory::{READER_MEMORY_MAX_BYTES, ReaderMemory};
use qmp_host::{Budget, Duties};
use qmp_journal::{Appender, Journal, Reader};
use qmp_wire::DetachReason;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::attach::{Attachment, LeaveRequest, Recorder};
use crate::domain_commands::{DomainCommander, DomainLink};
use crate::domain_recorder::DomainRecorder;
use crate::environment::Environment;
use crate::limits::STOP_COMMIT_MAX;
use crate::relay::{FILES_OF_A_RELAY, ListeningSockets, RelayConfig, RelayStatus, Relays, VmRelays};
use crate::silence::SilentAfter;
use crate::silence_watch::SilenceWatch;
use crate::vm::{FollowedVm, VmName, VmOrigin};
pub use error::VmRegistryError;
use slots::{FILES_OF_A_VM, ReservedName, RunningVm, Slot, SlotState, Slots, report};
pub use vms::{RegisteredVm, Vms};

/// The VMs of a running hub. Clones are handles of the same registry.
#[derive(Clone, Debug)]
pub struct VmRegistry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    vms: Vms,
    relays: Relays,
    appender: Appender,
    reader: Reader,
    duties: Duties,
    /// Whether findings are recorded, and how the processes of VMs ended.
    records_findings: bool,
    /// The watch for silent VMs.
    watch: SilenceWatch,
    /// The memory of all readers and clients of relays.
    memory: ReaderMemory,
    slots: Arc<Slots>,
    /// How monitors are followed, shared by all.
    following: Arc<FollowConfig>,
    environment: Environment,
}

/// A VM that can be followed: its name is reserved, and its relays listen. Dropping it gives both back.
#[derive(Debug)]
pub(crate) struct PreparedVm {
    registry: VmRegistry,
    reserved: ReservedName,
    pub(crate) vm: Arc<FollowedVm>,
    follow: Box<Follow>,
    listening: ListeningSockets,
}

impl VmRegistry {
    /// A registry without VMs, which records in that journal.
    #[must_use]
    pub fn new(journal: &Journal, records_findings: bool, silent_after: SilentAfter) -> Self {
        Self::new_in(Environment::default(), journal, records_findings, silent_after)
    }

    /// The same in another environment than the host's.
    pub(crate) fn new_in(
        environment: Environment,
        journal: &Journal,
        records_findings: bool,
        silent_after: SilentAfter,
    ) -> Self {
        let (slots, memory) = (Arc::<Slots>::default(), ReaderMemory::new(READER_MEMORY_MAX_BYTES));
        let mut following = FollowConfig::default();
        following.connect.dial.clone_from(&environment.dial);
        following.connect.sockets = Some(Arc::clone(slots.open_files.monitors()));
        Self(Arc::new(Inner {
            vms: Vms::default(),
            relays: Relays::new(journal, &memory, &slots.open_files),
            memory,
            appender: journal.appender(),
            reader: journal.reader(),
            duties: journal.duties(),
            records_findings,
            watch: SilenceWatch::new(silent_after),
            slots,
            following: Arc::new(following),
            environment,
        }))
    }

    /// Follows one more VM, after the others. Retries with back-off until the VM can be attached.
    ///
    /// Must be called in the hub's runtime.
    ///
    /// # Errors
    ///
    /// `NameTaken`, `NameInUse`, `Stopping`; the registry is unchanged then. A socket of a relay that cannot be opened is not
    /// an error: [`relays`](Self::relays) reports it, and it is retried.
    pub async fn add(
        &self,
        name: VmName,
        address: Address,
        relays: Vec<RelayConfig>,
        origin: VmOrigin,
    ) -> Result<(), VmRegistryError> {
        self.add_followed(name, self.follow(address), relays, origin, None).await
    }

    /// Follows the monitor at that address, once it is polled.
    pub fn follow(&self, address: Address) -> Box<Follow> {
        Box::new(qmp_client::follow(address, Arc::clone(&self.0.following)))
    }

    /// Follows a monitor that dials in; its connections are handed over by the caller.
    pub(crate) fn follow_incoming(&self, address: Address) -> (Box<Follow>, IncomingMonitors) {
        let (follow, callers) = qmp_client::follow_incoming(address, Arc::clone(&self.0.following));
        (Box::new(follow), callers)
    }

    /// As [`add`](Self::add), with a follower that the caller made.
    pub async fn add_followed(
        &self,
        name: VmName,
        follow: Box<Follow>,
        relays: Vec<RelayConfig>,
        origin: VmOrigin,
        silent_after: Option<SilentAfter>,
    ) -> Result<(), VmRegistryError> {
        self.prepare(name, follow, relays, origin, silent_after).await?.launch()
    }

    /// Sets how long VMs may be quiet before they are probed: `default` for VMs without a setting, and the settings that `own`
    /// returns. Returns whether any setting changed.
    pub(crate) fn set_silent_after(
        &self,
        default: SilentAfter,
        own: impl Fn(&FollowedVm) -> Option<Option<SilentAfter>>,
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

    /// A reader of the journal.
    pub(crate) fn reader(&self) -> Reader {
        self.0.reader.clone()
    }

    /// The watch for tasks that end.
    pub(crate) fn duties(&self) -> Duties {
        self.0.duties.clone()
    }

    /// The watch for silent VMs.
    pub(crate) fn watch(&self) -> SilenceWatch {
        self.0.watch.clone()
    }

    /// Leaves a VM: closes its epoch with the reason `removed` and this detail, and ends its relays. Returns after the commit;
    /// the removal continues if the caller stops waiting. The VM's records stay.
    ///
    /// # Errors
    ///
    /// `Unknown`, `NameInUse`, `Stopping`.
    pub async fn remove(&self, name: &str, detail: &str) -> Result<(), VmRegistryError> {
        let (done, is_done) = oneshot::channel();
        let leave = LeaveRequest { reason: DetachReason::Removed, detail: detail.into() };
        {
            let mut state = self.state();
            let (name, running) = state.take(name)?;
            let (slots, files) = (Arc::clone(&self.0.slots), running.files());
            let reserved = ReservedName { slots, name, files, used: false };
            while state.leaving.try_join_next().is_some() {}
            let registry = self.clone();
            state.leaving.spawn(async move {
                registry.leave(running, leave).await;
                drop(reserved);
                let _ = done.send(());
            });
        }
        // The task was dropped with the hub.
        is_done.await.map_err(|_| VmRegistryError::Stopping)
    }

    /// The current VMs, in the order in which they were added.
    #[must_use]
    pub fn list(&self) -> Vec<RegisteredVm> {
        self.each(|vm, relays| RegisteredVm {
            name: vm.name.clone(),
            address: vm.address.clone(),
            origin: vm.origin.clone(),
            relays: relays.into_iter().flat_map(VmRelays::configs).cloned().collect(),
        })
    }

    /// The status of each relay, in the order of the VMs.
    #[must_use]
    pub fn relays(&self) -> Vec<RelayStatus> {
        let statuses =
            self.each(|_, relays| relays.into_iter().flat_map(VmRelays::statuses).collect::<Vec<_>>());
        statuses.into_iter().flatten().collect()
    }

    /// The connections of clients that may be open.
    #[must_use]
    pub fn clients(&self) -> &Arc<Budget> {
        self.0.slots.open_files.clients()
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

    /// Serves a VM at these relays, and no others. Relays that it already has are unchanged, and keep their clients; the VM's
    /// connection and epoch stay open.
    ///
    /// # Errors
    ///
    /// `Unknown`, `NameInUse`, `Stopping`; the VM's relays are unchanged then.
    pub async fn set_relays(&self, name: &str, wanted: Vec<RelayConfig>) -> Result<(), VmRegistryError> {
        relays::set(&self.0.slots, &self.0.relays, name, wanted).await
    }

    /// Raises the limit of open files at once for VMs that are about to be added.
    pub(crate) fn expect(&self, vms: usize, relays: usize) {
        self.state().expect(&self.0.slots.open_files, vms, relays);
    }

    /// The first step: every check that can fail.
    pub(crate) async fn prepare(
        &self,
        name: VmName,
        follow: Box<Follow>,
        relays: Vec<RelayConfig>,
        origin: VmOrigin,
        silent_after: Option<SilentAfter>,
    ) -> Result<PreparedVm, VmRegistryError> {
        let files = FILES_OF_A_VM + relays.len() * FILES_OF_A_RELAY;
        let reserved = self.0.slots.reserve(name, files)?;
        let listening = ListeningSockets::at(relays, &self.0.slots.open_files).await;
        let address = follow.address().clone();
        let vm = FollowedVm::new(
            reserved.name.clone(),
            address,
            origin,
            follow.commander(),
            self.0.environment.clock.now(),
        );
        vm.silence.setting.set(silent_after);
        Ok(PreparedVm { registry: self.clone(), reserved, vm: Arc::new(vm), follow, listening })
    }

    /// Leaves all VMs: closes every epoch, waits for the commits, then ends the relays. No VM can be added from here on.
    pub(crate) async fn stop(&self) {
        let (running, mut leaving) = {
            let mut state = self.state();
            state.stopping = true;
            let state = &mut *state;
            let running = state.by_name.drain().filter_map(|(_, slot)| slot.running());
            (running.collect::<Vec<_>>(), std::mem::take(&mut state.leaving))
        };
        let leave =
            LeaveRequest { reason: DetachReason::HubStopped, detail: "the hub was asked to stop".into() };
        let (mut tasks, mut relays) = (Vec::with_capacity(running.len()), Vec::new());
        for RunningVm { leave: tell, task, relays: of_vm, .. } in running {
            // The receiver is dropped if the task panicked.
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

    /// Aborts everything, as a crash would.
    pub(crate) fn abort(&self) {
        let mut state = self.state();
        state.stopping = true;
        for (_, slot) in state.by_name.drain() {
            if let Slot::Running(running) = slot {
                running.task.abort();
            }
        }
        state.leaving.abort_all();
        self.0.relays.abort();
    }

    async fn leave(&self, running: RunningVm, leave: LeaveRequest) {
        let RunningVm { vm, leave: tell, task, relays } = running;
        tracing::info!(vm = %vm.name, "removed: {}", leave.detail);
        let _ = tell.send(leave);
        report(task.await);
        if let Some(relays) = relays {
            self.0.relays.close(relays).await;
        }
        self.0.vms.remove(vm.name.as_str());
    }

    fn each<T>(&self, mut of: impl FnMut(&FollowedVm, Option<&VmRelays>) -> T) -> Vec<T> {
        let all = self.0.vms.all();
        let state = self.state();
        let relays = |vm: &FollowedVm| match state.by_name.get(&vm.name) {
            Some(Slot::Running(running)) => running.relays.as_deref(),
            _ => None,
        };
        all.iter().map(|vm| of(vm, relays(vm))).collect()
    }

    fn state(&self) -> MutexGuard<'_, SlotState> {
        self.0.slots.lock()
    }
}

impl PreparedVm {
    /// The second step: serves at the relays, and follows.
    pub(crate) fn launch(self) -> Result<(), VmRegistryError> {
        let inner = Arc::clone(&self.registry.0);
        let (clock, findings) = (inner.environment.clock, inner.records_findings);
        self.start(|vm, follow, leave| {
            Attachment::new(vm, inner.appender.clone(), findings, clock).run(follow, leave)
        })
    }

    /// The second step for a domain whose events come through libvirt. `link` takes its requests.
    pub(crate) fn launch_domain(
        self,
        link: DomainLink,
        commands: Option<DomainCommander>,
    ) -> Result<Arc<DomainRecorder>, VmRegistryError> {
        self.vm.set_through_libvirt(link.clone(), commands);
        let inner = &self.registry.0;
        let recorder = Recorder::new(Arc::clone(&self.vm), inner.appender.clone(), inner.environment.clock);
        let recorder = Arc::new(DomainRecorder::new(recorder, inner.records_findings, link));
        // The follower is never polled: its queue refuses commands, as for a VM that is not attached.
        self.start(|_, follow, leave| Arc::clone(&recorder).run(leave, follow))?;
        Ok(recorder)
    }

    fn start<F: Future<Output = ()> + Send + 'static>(
        self,
        run: impl FnOnce(Arc<FollowedVm>, Box<Follow>, oneshot::Receiver<LeaveRequest>) -> F,
    ) -> Result<(), VmRegistryError> {
        let Self { registry, mut reserved, vm, follow, listening } = self;
        let inner = &registry.0;
        let mut state = registry.state();
        if state.stopping {
            // Dropping the reserved name takes the lock.
            drop(state);
            return Err(VmRegistryError::Stopping);
        }
        // Its name was reserved, and the removal of a VM frees its name last.
        inner.vms.insert(Arc::clone(&vm)).unwrap_or_else(|vm| unreachable!("{} was reserved", vm.name));
        inner.watch.add(&vm);
        let mut relays = None;
        inner.relays.open(vm.relayed(), &mut relays, listening);
        let (leave, told) = oneshot::channel();
        // It returns only on request; after a panic the VM would not be read any more.
        let run = run(Arc::clone(&vm), follow, told);
        let task = tokio::spawn(inner.duties.watch(format!("VM {}", vm.name), || true, run));
        let running = RunningVm { vm, leave, task, relays };
        state.by_name.insert(reserved.name.clone(), Slot::Running(running));
        reserved.used = true;
        Ok(())
    }
}
