//! Compares the VMs that a rule found with the list of its source, and adds and removes VMs.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use qmp_client::{Address, Follow};
use qmp_host::blocking;
use tokio::sync::mpsc;

use super::claims::{Claims, Endpoint};
use super::naming;
use super::rule::DiscoveryRule;
use super::rule_update::RuleUpdate;
use super::vm_source::{DISCOVERED_MAX, DiscoveredVm, VmSource};
use crate::domain_commands::{DomainCommander, DomainLink};
use crate::domain_recorder::DomainRecorder;
use crate::layout::Parts;
use crate::registry::{VmRegistry, VmRegistryError};
use crate::relay::RelayConfig;
use crate::silence::Setting;
use crate::vm::{MonitorState, VmName, VmOrigin};

/// When to compare again without a change: a VM is still attached after its socket was removed, or a name is about to be free.
const SOON: Duration = Duration::from_millis(500);

/// How long to wait for a monitor in use before another monitor of the same VM is tried.
const NEXT_MONITOR: Duration = Duration::from_secs(60);

/// Keeps the VMs of one rule.
pub(super) struct RuleKeeper {
    pub(super) rule: Arc<DiscoveryRule>,
    pub(super) updates: mpsc::Receiver<RuleUpdate>,
    pub(super) registry: VmRegistry,
    /// The setting of the rule, which may change while it runs.
    silent_after: Arc<Setting>,
    origin: Arc<str>,
    claims: Arc<Claims>,
    known: HashMap<Box<str>, TrackedVm>,
    /// Subjects of warnings that were logged: each is logged once.
    said: HashSet<Box<str>>,
}

/// A VM that the rule found.
struct TrackedVm {
    name: VmName,
    parts: Parts,
    endpoints: Vec<Endpoint>,
    /// Which of its monitors is followed, and how many were tried since one was attached.
    monitor: usize,
    tried: usize,
    since: tokio::time::Instant,
}

impl RuleKeeper {
    pub(super) fn new(
        rule: Arc<DiscoveryRule>,
        updates: mpsc::Receiver<RuleUpdate>,
        silent_after: Arc<Setting>,
        origin: Arc<str>,
        registry: VmRegistry,
        claims: Arc<Claims>,
    ) -> Self {
        let (known, said) = (HashMap::new(), HashSet::new());
        Self { rule, updates, registry, silent_after, origin, claims, known, said }
    }

    /// Scans and compares for ever.
    pub(super) async fn run(mut self, mut look: impl VmSource) {
        let mut update: Option<RuleUpdate> = None;
        loop {
            let work = move || {
                let found = look.look();
                (look, found)
            };
            let (back, found) = blocking(work).await;
            look = back;
            if update.is_some() {
                self.follow_rule().await;
            }
            let soon = self.compare(found, look.gone()).await;
            // The reload waits for this.
            drop(update.take());
            let changed = async {
                if soon {
                    let _ = tokio::time::timeout(SOON, look.changed()).await;
                } else {
                    look.changed().await;
                }
            };
            tokio::select! {
                () = changed => {}
                Some(next) = self.updates.recv() => {
                    self.rule = Arc::clone(&next.rule);
                    look.set_rule(&self.rule);
                    update = Some(next);
                }
            }
        }
    }

    /// The rule has changed: removes the VMs that it does not select or names otherwise, and sets the relays of the others.
    async fn follow_rule(&mut self) {
        let keys: Vec<Box<str>> = self.known.keys().cloned().collect();
        for key in keys {
            let kept = &self.known[&key];
            let name = kept.name.as_str();
            let is_own = self.registry.vms().get(name).is_some_and(|vm| vm.origin == self.origin());
            match self.rule.rejection(&kept.parts, &kept.name) {
                // An error means that it was removed already.
                Some(detail) => {
                    if is_own {
                        let _ = self.registry.remove(name, detail).await;
                    }
                    self.forget(&key);
                }
                None if is_own => {
                    let _ = self.registry.set_relays(name, self.rule.relays_of(&kept.name)).await;
                }
                None => {}
            }
        }
    }

    /// Makes the registry follow the listed VMs. Returns whether to compare again soon.
    async fn compare(&mut self, found: Vec<DiscoveredVm>, gone: &'static str) -> bool {
        let named = self.named_elsewhere();
        let found: HashMap<Box<str>, DiscoveredVm> =
            found.into_iter().map(|vm| (vm.key.clone(), vm)).collect();
        let mut soon = self.remove_gone(&found, &named, gone).await;
        let mut fresh = Vec::new();
        for (key, vm) in &found {
            if self.known.contains_key(key) {
                soon |= self.try_next_monitor(key, vm).await;
            } else {
                fresh.push(vm);
            }
        }
        // In a fixed order, so that VMs with the same name get the same numbers every time.
        fresh.sort_by(|one, other| one.key.cmp(&other.key));
        self.registry.expect(fresh.len(), 0);
        for vm in fresh {
            let endpoints: Vec<_> = vm.monitors.iter().map(Endpoint::of).collect();
            if endpoints.iter().any(|endpoint| named.contains(endpoint)) || self.is_excluded(&vm.parts) {
                continue;
            }
            if self.known.len() >= DISCOVERED_MAX {
                self.say_once("", &format!("more than {DISCOVERED_MAX} VMs; the others are left alone"));
                break;
            }
            // Otherwise another rule follows it, and may release it later.
            if self.claims.claim(&endpoints) {
                soon |= self.follow(vm, endpoints).await;
            }
        }
        soon
    }

    /// Monitors that the configuration, the command line or the program name.
    fn named_elsewhere(&self) -> HashSet<Endpoint> {
        let all = self.registry.vms().all();
        let named = all.iter().filter(|vm| !matches!(vm.origin, VmOrigin::Discovered(_)));
        named.map(|vm| Endpoint::of(&vm.address)).collect()
    }

    async fn remove_gone(
        &mut self,
        found: &HashMap<Box<str>, DiscoveredVm>,
        named: &HashSet<Endpoint>,
        gone: &'static str,
    ) -> bool {
        let mut soon = false;
        let keys: Vec<Box<str>> = self.known.keys().cloned().collect();
        for key in keys {
            let kept = &self.known[&key];
            let vm = self.registry.vms().get(kept.name.as_str()).filter(|vm| vm.origin == self.origin());
            let Some(vm) = vm else {
                // It was removed elsewhere. If it still exists, it is found again.
                soon = true;
                self.forget(&key);
                continue;
            };
            let detail = if kept.endpoints.iter().any(|endpoint| named.contains(endpoint)) {
                "it is named elsewhere now"
            } else if found.contains_key(&key) {
                continue;
            } else {
                gone
            };
            if detail == gone && matches!(vm.status().state, MonitorState::Attached | MonitorState::Overrun) {
                soon = true;
                continue;
            }
            // An error means that it was removed already.
            let _ = self.registry.remove(vm.name.as_str(), detail).await;
            self.forget(&key);
        }
        soon
    }

    fn forget(&mut self, key: &str) {
        if let Some(kept) = self.known.remove(key) {
            self.claims.release(&kept.endpoints);
        }
    }

    /// Switches to another monitor of the same VM if the current one is in use.
    async fn try_next_monitor(&mut self, key: &str, vm: &DiscoveredVm) -> bool {
        let Some(kept) = self.known.get_mut(key) else { return false };
        if vm.monitors.len() < 2 {
            return false;
        }
        let state = self.registry.vms().get(kept.name.as_str()).map(|vm| vm.status().state);
        match state {
            Some(MonitorState::InUse) => {}
            Some(MonitorState::Connecting) => return true,
            _ => {
                kept.tried = 0;
                return false;
            }
        }
        if kept.tried + 1 >= vm.monitors.len() && kept.since.elapsed() < NEXT_MONITOR {
            return false;
        }
        let (monitor, tried) = ((kept.monitor + 1) % vm.monitors.len(), kept.tried + 1);
        let Some(kept) = self.known.remove(key) else { return false };
        let _ = self.registry.remove(kept.name.as_str(), "another client holds this monitor of it").await;
        if self.add(vm, &kept.name, monitor).await.is_ok() {
            let since = tokio::time::Instant::now();
            self.known.insert(key.into(), TrackedVm { monitor, tried, since, ..kept });
        } else {
            self.claims.release(&kept.endpoints);
        }
        true
    }

    /// Follows a VM whose endpoints are claimed. Returns whether to retry soon.
    async fn follow(&mut self, vm: &DiscoveredVm, endpoints: Vec<Endpoint>) -> bool {
        let text = self.rule.name.fill(&vm.parts);
        for name in naming::candidates(&text) {
            match self.add(vm, &name, 0).await {
                Ok(()) => {
                    let since = tokio::time::Instant::now();
                    let parts = vm.parts.clone();
                    let kept = TrackedVm { name, parts, endpoints, monitor: 0, tried: 0, since };
                    self.known.insert(vm.key.clone(), kept);
                    return false;
                }
                Err(VmRegistryError::NameTaken { .. }) => {}
                Err(error) => {
                    self.claims.release(&endpoints);
                    return matches!(error, VmRegistryError::NameInUse { .. });
                }
            }
        }
        self.claims.release(&endpoints);
        self.say_once(
            &vm.key,
            &format!("too many VMs are called {text:?}; the one at {} is left alone", vm.key),
        );
        false
    }

    /// Adds a VM to the registry.
    async fn add(&mut self, vm: &DiscoveredVm, name: &VmName, monitor: usize) -> Result<(), VmRegistryError> {
        let address = vm.monitors[monitor].clone();
        let relays = self.rule.relays_of(name);
        self.add_followed(name, self.registry.follow(address), relays, &vm.parts.uuid).await?;
        tracing::info!(vm = %name, "found {} by {}", vm.monitors[monitor], self.origin());
        Ok(())
    }

    /// Adds a VM by the settings of the rule; `uuid` is empty if it is not known yet.
    pub(super) async fn add_followed(
        &self,
        name: &VmName,
        follow: Box<Follow>,
        relays: Vec<RelayConfig>,
        uuid: &str,
    ) -> Result<(), VmRegistryError> {
        let silent_after = self.silent_after.get();
        let prepared =
            self.registry.prepare(name.clone(), follow, relays, self.origin(), silent_after).await?;
        // Through libvirt, a domain of that UUID is not followed from here on.
        prepared.vm.set_uuid(Some(uuid).filter(|uuid| !uuid.is_empty()));
        prepared.launch()
    }

    /// Adds the VM of a domain that is followed through libvirt at this socket.
    pub(super) async fn add_domain(
        &self,
        name: &VmName,
        address: Address,
        link: DomainLink,
        commands: Option<DomainCommander>,
    ) -> Result<Arc<DomainRecorder>, VmRegistryError> {
        let follow = self.registry.follow(address);
        let prepared = self.registry.prepare(name.clone(), follow, Vec::new(), self.origin(), None).await?;
        prepared.launch_domain(link, commands)
    }

    /// Removes a VM in a task of its own, because that may wait for the journal. `until_removed` is kept until then.
    pub(super) fn remove_soon(
        &self,
        name: &VmName,
        detail: String,
        until_removed: Option<mpsc::Sender<Infallible>>,
    ) {
        let (registry, name) = (self.registry.clone(), name.clone());
        tokio::spawn(async move {
            // An error means that it was removed already.
            let _ = registry.remove(name.as_str(), &detail).await;
            drop(until_removed);
        });
    }

    pub(super) fn origin(&self) -> VmOrigin {
        VmOrigin::Discovered(Arc::clone(&self.origin))
    }

    pub(super) fn is_excluded(&self, parts: &Parts) -> bool {
        self.rule.excludes(parts)
    }

    /// Warns, once for each of the first [`DISCOVERED_MAX`] subjects.
    pub(super) fn say_once(&mut self, subject: &str, what: &str) {
        if self.said.len() < DISCOVERED_MAX && self.said.insert(subject.into()) {
            tracing::warn!("{}: {what}", self.origin());
        }
    }
}

impl Drop for RuleKeeper {
    fn drop(&mut self) {
        for kept in self.known.values() {
            self.claims.release(&kept.endpoints);
        }
    }
}
