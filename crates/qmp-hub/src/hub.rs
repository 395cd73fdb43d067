//! A hub: the VMs that it follows, the tasks that read their records, and the order of starting and stopping.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use qmp_client::Address;
use qmp_findings::{OpenAlert, StateRule};
use qmp_host::{ends_after, join_all};
use qmp_journal::Journal;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::absence::Absence;
use crate::asking::Asker;
use crate::discovery::{Discovery, DiscoveryRule};
use crate::environment::Environment;
use crate::limits::STOP_COMMIT_MAX;
use crate::observer::{Observer, StateRules, VmStates};
use crate::registry::{PreparedVm, VmRegistry, VmRegistryError};
use crate::relay::{RelayConfig, RelayStatus};
use crate::silence::SilentAfter;
use crate::silence_watch::Recorder;
use crate::vm::{FollowedVm, MonitorState, VmName, VmOrigin};

/// Which VMs a hub follows, and how.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// The VMs, each name once.
    pub attach: Vec<(VmName, Address)>,
    /// Where they came from; the others come from the program itself.
    pub origins: HashMap<VmName, VmOrigin>,
    /// Whether findings of the correlators are recorded. The states of the VMs are known in any case.
    pub findings: bool,
    /// Sockets that the hub serves in place of those of the VMs.
    pub relays: Vec<(VmName, RelayConfig)>,
    /// How long a VM may be quiet before it is probed.
    pub silent_after: SilentAfter,
    /// The same for single VMs.
    pub silent_after_of: HashMap<VmName, SilentAfter>,
    /// The rules on states, which need findings.
    pub state_rules: Vec<StateRule>,
    /// The alerts of these rules that are not resolved.
    pub open_alerts: Vec<OpenAlert>,
    /// Notified when the silences of these rules change.
    pub silences_changed: Arc<Notify>,
}

/// A running hub. [`stop`](Self::stop) ends it cleanly; dropping it leaves the epochs open, as a crash does.
#[derive(Debug)]
pub struct Hub {
    // Tasks are dropped first, because they use the fields below.
    discovery: Discovery,
    registry: OwnedRegistry,
    /// The watches for silent VMs and for unobserved ends.
    watch: JoinSet<()>,
    observer: JoinSet<()>,
    stop_observer: watch::Sender<bool>,
    state_rules: watch::Sender<StateRules>,
    vm_states: VmStates,
}

/// The registry. Other components have clones of it; its tasks end with the hub.
#[derive(Debug)]
struct OwnedRegistry(VmRegistry);

/// Errors of starting a hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubStartError {
    /// Two VMs have one name.
    #[error("two VMs are called {name}; each needs a name of its own")]
    DuplicateName {
        /// The name.
        name: VmName,
    },
    /// The VM of a relay does not exist.
    #[error("there is a relay for {name}, and no VM of this name")]
    RelayWithoutVm {
        /// The name.
        name: VmName,
    },
    /// A VM cannot be followed.
    #[error(transparent)]
    Registry(VmRegistryError),
}

impl HubConfig {
    /// Checks that each VM has a name of its own, and each relay a VM.
    ///
    /// # Errors
    ///
    /// [`HubStartError::DuplicateName`] or [`HubStartError::RelayWithoutVm`].
    pub fn check(&self) -> Result<(), HubStartError> {
        relays_by_name(&self.attach, self.relays.clone()).map(|_| ())
    }
}

impl Hub {
    /// Starts to follow every VM, and to record in the journal what they send. Retries with back-off until a VM can be
    /// attached.
    ///
    /// Must be called within a tokio runtime with I/O and time enabled. Raises the process's limit of open files
    /// if the VMs need more.
    ///
    /// # Errors
    ///
    /// Any [`HubStartError`]; nothing has been started then.
    pub async fn start(config: HubConfig, journal: &Journal) -> Result<Self, HubStartError> {
        Self::start_in(Environment::default(), config, journal).await
    }

    /// As [`start`](Self::start), in another environment than the host's.
    ///
    /// # Errors
    ///
    /// Any [`HubStartError`]; nothing has been started then.
    pub async fn start_in(
        environment: Environment,
        config: HubConfig,
        journal: &Journal,
    ) -> Result<Self, HubStartError> {
        let clock = environment.clock;
        let mut relays = relays_by_name(&config.attach, config.relays)?;
        let registry =
            OwnedRegistry(VmRegistry::new_in(environment, journal, config.findings, config.silent_after));
        registry.0.expect(config.attach.len(), relays.values().map(Vec::len).sum());
        let mut prepared = Vec::with_capacity(config.attach.len());
        for (name, address) in config.attach {
            let relays = relays.remove(&name).unwrap_or_default();
            let origin = config.origins.get(&name).cloned().unwrap_or(VmOrigin::Program);
            let follow = registry.0.follow(address);
            let silent_after = config.silent_after_of.get(&name).copied();
            prepared.push(registry.0.prepare(name, follow, relays, origin, silent_after).await?);
        }
        let (stop_observer, observing_ends) = watch::channel(false);
        prepared.into_iter().try_for_each(PreparedVm::launch)?;
        let (rules, open) = (config.state_rules, config.open_alerts);
        let state_rules = watch::Sender::new(StateRules { rules, open });
        let mut correlating = Observer::new(journal, config.findings).with_clock(clock).with_state_rules(
            state_rules.subscribe(),
            config.silences_changed,
            Box::new(registry.0.vms().clone()),
        );
        let vm_states = correlating.vm_states();
        if config.findings {
            let asker = Asker::new(registry.0.vms().clone(), vm_states.clone(), journal.appender(), clock);
            correlating = correlating.with_questions(move |questions| asker.offer(questions));
        }
        let mut watch = JoinSet::new();
        let duties = journal.duties();
        let watching = registry.0.watch().run(Recorder {
            appender: journal.appender(),
            vm_states: vm_states.clone(),
            records_findings: config.findings,
            clock,
        });
        watch.spawn(duties.watch("watch for silent VMs", || false, watching));
        if config.findings {
            let absence = Absence {
                vms: registry.0.vms().clone(),
                vm_states: correlating.vm_states(),
                appender: journal.appender(),
                clock,
            };
            // If the head cannot be read, the observer starts at the end, and there is nothing to wait for.
            let looking = absence.run(journal.reader().head().unwrap_or_default());
            watch.spawn(duties.watch("watch for VMs that are gone", || false, looking));
        }
        let mut observer = JoinSet::new();
        let may_end = ends_after(&stop_observer);
        observer.spawn(duties.watch("observer", may_end, correlating.run(observing_ends)));
        let discovery = Discovery::new(&registry.0);
        Ok(Self { discovery, registry, watch, observer, stop_observer, state_rules, vm_states })
    }

    /// The registry of VMs.
    #[must_use]
    pub fn registry(&self) -> VmRegistry {
        self.registry.0.clone()
    }

    /// The states of the VMs, by their records.
    #[must_use]
    pub fn vm_states(&self) -> VmStates {
        self.vm_states.clone()
    }

    /// Replaces the rules of discovery. Unchanged rules continue; the VMs of other rules are removed. Returns whether anything
    /// changed.
    pub async fn discover(&self, rules: Vec<DiscoveryRule>) -> bool {
        self.discovery.set(rules).await
    }

    /// Replaces the rules on states. `open` are their alerts that are not resolved by the records in the journal; those of a
    /// rule that the hub has had since its start are known.
    pub fn set_state_rules(&self, rules: Vec<StateRule>, open: Vec<OpenAlert>) {
        self.state_rules.send_replace(StateRules { rules, open });
    }

    /// Sets how long VMs may be quiet before they are probed: `default` for VMs without a setting, `own` for those of the
    /// configuration. Call it after [`Self::discover`], whose rules have settings too. Returns whether anything changed.
    pub async fn set_silent_after(&self, default: SilentAfter, own: &HashMap<VmName, SilentAfter>) -> bool {
        let discovered = self.discovery.silent_after().await;
        self.registry.0.set_silent_after(default, |vm| match &vm.origin {
            VmOrigin::Configuration | VmOrigin::CommandLine => Some(own.get(&vm.name).copied()),
            origin => discovered.get(origin).copied(),
        })
    }

    /// The status of each relay, in the order of the VMs.
    #[must_use]
    pub fn relays(&self) -> Vec<RelayStatus> {
        self.registry.0.relays()
    }

    /// How many VMs are attached, and how many there are.
    #[must_use]
    pub fn attached(&self) -> (usize, usize) {
        let vms = self.registry.0.vms().all();
        let is_attached = |vm: &&Arc<FollowedVm>| vm.status().state == MonitorState::Attached;
        (vms.iter().filter(is_attached).count(), vms.len())
    }

    /// Closes every open epoch with `hub stopped`, commits everything, records the last findings, and leaves the monitors.
    pub async fn stop(&mut self) {
        self.discovery.stop().await;
        self.watch.shutdown().await;
        self.registry.0.stop().await;
        // After the last records, so that their findings are recorded.
        self.stop_observer.send_replace(true);
        if tokio::time::timeout(STOP_COMMIT_MAX, join_all(&mut self.observer)).await.is_err() {
            tracing::error!("the last findings were not recorded; the next start finds them again");
            self.observer.shutdown().await;
        }
    }
}

/// The relays of each VM. Checks that names are unique and that every relay has a VM.
fn relays_by_name(
    attach: &[(VmName, Address)],
    relays: Vec<(VmName, RelayConfig)>,
) -> Result<HashMap<VmName, Vec<RelayConfig>>, HubStartError> {
    let mut names = HashSet::with_capacity(attach.len());
    if let Some((name, _)) = attach.iter().find(|(name, _)| !names.insert(name)) {
        return Err(HubStartError::DuplicateName { name: name.clone() });
    }
    let mut by_name: HashMap<VmName, Vec<RelayConfig>> = HashMap::new();
    for (name, relay) in relays {
        if !names.contains(&name) {
            return Err(HubStartError::RelayWithoutVm { name });
        }
        by_name.entry(name).or_default().push(relay);
    }
    Ok(by_name)
}

impl Drop for OwnedRegistry {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl From<VmRegistryError> for HubStartError {
    fn from(error: VmRegistryError) -> Self {
        Self::Registry(error)
    }
}
