//! Discovery: VMs that are not configured one by one.
//!
//! A *rule* names a place to search. Its source lists the VMs that exist there, and waits until the list may have changed; a
//! keeper compares the list with the VMs that the rule found before, and adds and removes VMs in the registry. A rule for
//! QEMUs that dial in has no list: each connection is a VM. A rule for libvirt has none either: its daemon reports domains.
//!
//! ```text
//! paths (inotify) ─┐
//! processes ───────┴─ list of VMs ─── keeper ─ add, remove ─ registry
//! dial-in ─ connection ─ identity ─────────── add, hand over ─┤
//! libvirt ─ domains ─ items ───────────────── add, record ────┘
//! ```
//!
//! Rules skip VMs that the configuration or the command line names. A VM is removed when it is not attached *and* is missing in
//! the list: the monitor of a QEMU whose socket was deleted is still followed.
//!
//! Names come from paths and processes, which untrusted users may choose: they are reduced to the characters of a
//! [`VmName`](crate::VmName) (see `naming.rs`), and at most [`DISCOVERED_MAX`] VMs are followed.

mod claims;
mod naming;
mod rule;
mod rule_update;
mod vm_source;
mod watch;
mod keeper;
mod paths;
mod processes;
mod dial_in;
mod libvirt;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use qmp_host::{ends_after, join_all};
use tokio::sync::watch::Sender;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

pub use crate::layout::{Layout, PathPattern, PatternError, UnknownLayout};
pub use naming::{Template, TemplateError};
pub use rule::{DiscoveryRule, Source, SourceError};
pub use vm_source::DISCOVERED_MAX;

use crate::registry::VmRegistry;
use crate::silence::{Setting, SilentAfter};
use crate::vm::VmOrigin;
use claims::Claims;
use keeper::RuleKeeper;
use rule_update::{RULE_UPDATES_MAX, RuleUpdate};

/// How long the end of a connection to a daemon may take, which replies at once.
const END_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a reload waits until a rule has followed an update. A directory of a file system that hangs takes longer.
const UPDATE_TIMEOUT: Duration = Duration::from_secs(3);

/// The rules of a running hub.
#[derive(Debug)]
pub(crate) struct Discovery {
    registry: VmRegistry,
    claims: Arc<Claims>,
    running: Mutex<RuleSet>,
}

#[derive(Debug, Default)]
struct RuleSet {
    rules: Vec<RunningRule>,
}

#[derive(Debug)]
struct RunningRule {
    rule: Arc<DiscoveryRule>,
    silent_after: Arc<Setting>,
    origin: Arc<str>,
    tasks: JoinSet<()>,
    updates: mpsc::Sender<RuleUpdate>,
    /// Ends the tasks that end their connections themselves.
    stop: Sender<bool>,
}

impl RuleSet {
    /// The name of a new rule: the source of its table, and a number if the table of another rule has the same source.
    fn origin(&self, rule: &DiscoveryRule) -> Arc<str> {
        let table = format!("[[discover]] {}", rule.source.table());
        let is_free = |origin: &String| self.rules.iter().all(|other| *other.origin != **origin);
        let numbered = (2..).map(|number| format!("{table}, table {number}"));
        let mut origins = std::iter::once(table.clone()).chain(numbered);
        // There are fewer rules than numbers.
        origins.find(is_free).unwrap_or(table).into()
    }
}

impl RunningRule {
    /// Puts the rule's next version in its place, and waits until its VMs are those of it.
    async fn update(&mut self, rule: DiscoveryRule) {
        self.silent_after.set(rule.silent_after);
        self.rule = Arc::new(rule);
        let (done, mut is_done) = mpsc::channel(1);
        let update = RuleUpdate { rule: Arc::clone(&self.rule), done };
        let updated = async {
            // An error means that the task of the rule ended.
            let _ = self.updates.send(update).await;
            is_done.recv().await
        };
        if tokio::time::timeout(UPDATE_TIMEOUT, updated).await.is_err() {
            tracing::warn!("{}: its changes take effect later", self.origin);
        }
    }

    async fn end(&mut self) {
        self.stop.send_replace(true);
        if matches!(self.rule.source, Source::Libvirt(_)) {
            let _ = tokio::time::timeout(END_TIMEOUT, join_all(&mut self.tasks)).await;
        }
        self.tasks.shutdown().await;
    }
}

impl Discovery {
    /// Discovery without rules.
    pub(crate) fn new(registry: &VmRegistry) -> Self {
        Self { registry: registry.clone(), claims: Arc::default(), running: Mutex::default() }
    }

    /// Replaces the rules. Rules that ran before continue, also with other names, patterns and relays; the VMs of other rules are
    /// removed. Returns whether anything changed.
    pub(crate) async fn set(&self, mut wanted: Vec<DiscoveryRule>) -> bool {
        let mut running = self.running.lock().await;
        let mut differing = Vec::new();
        for rule in std::mem::take(&mut running.rules) {
            match wanted.iter().position(|wanted| wanted.finds_the_same(&rule.rule)) {
                Some(index) => {
                    rule.silent_after.set(wanted.remove(index).silent_after);
                    running.rules.push(rule);
                }
                None => differing.push(rule),
            }
        }
        let differs = !(differing.is_empty() && wanted.is_empty());
        let mut updated = Vec::new();
        for mut rule in differing {
            if let Some(index) = wanted.iter().position(|wanted| rule.rule.continues_as(wanted)) {
                updated.push((rule, wanted.remove(index)));
            } else {
                rule.end().await;
                self.remove_vms(&VmOrigin::Discovered(rule.origin)).await;
            }
        }
        for (mut rule, wanted) in updated {
            rule.update(wanted).await;
            running.rules.push(rule);
        }
        for rule in wanted {
            let origin = running.origin(&rule);
            let started = self.start(rule, origin);
            running.rules.push(started);
        }
        differs
    }

    /// The settings of the rules, by the origin of the VMs that they found.
    pub(crate) async fn silent_after(&self) -> HashMap<VmOrigin, Option<SilentAfter>> {
        let running = self.running.lock().await;
        let setting =
            |rule: &RunningRule| (VmOrigin::Discovered(Arc::clone(&rule.origin)), rule.silent_after.get());
        running.rules.iter().map(setting).collect()
    }

    /// Ends all rules; VMs that were found stay.
    pub(crate) async fn stop(&self) {
        for mut rule in std::mem::take(&mut self.running.lock().await.rules) {
            rule.end().await;
        }
    }

    fn start(&self, rule: DiscoveryRule, origin: Arc<str>) -> RunningRule {
        tracing::info!("looking for VMs: {}", VmOrigin::Discovered(Arc::clone(&origin)));
        let rule = Arc::new(rule);
        let (registry, claims) = (self.registry.clone(), Arc::clone(&self.claims));
        let silent_after = Arc::new(Setting::new(rule.silent_after));
        let (updates, receiver) = mpsc::channel(RULE_UPDATES_MAX);
        let keeper = RuleKeeper::new(
            Arc::clone(&rule),
            receiver,
            Arc::clone(&silent_after),
            Arc::clone(&origin),
            registry,
            claims,
        );
        let (mut tasks, stop) = (JoinSet::new(), Sender::new(false));
        let (duties, name) = (self.registry.duties(), format!("discovery, {origin}"));
        // One arm for each kind of source.
        match &rule.source {
            Source::Paths(pattern) => {
                let run = keeper.run(paths::Paths::new(vec![pattern.clone()], None));
                drop(tasks.spawn(duties.watch(name, || false, run)));
            }
            Source::Layout { layout, root } => {
                let patterns = layout.patterns(root.as_deref());
                let run = keeper.run(paths::Paths::new(patterns, Some(*layout)));
                drop(tasks.spawn(duties.watch(name, || false, run)));
            }
            Source::Processes => {
                let run = keeper.run(processes::Processes::new(Arc::clone(&rule)));
                drop(tasks.spawn(duties.watch(name, || false, run)));
            }
            Source::DialIn(address) => {
                drop(tasks.spawn(duties.watch(name, || false, dial_in::serve(address.clone(), keeper))));
            }
            Source::Libvirt(daemon) => {
                let run = libvirt::serve(daemon.clone(), keeper, stop.subscribe());
                drop(tasks.spawn(duties.watch(name, ends_after(&stop), run)));
            }
        }
        RunningRule { rule, silent_after, origin, tasks, updates, stop }
    }

    async fn remove_vms(&self, origin: &VmOrigin) {
        for vm in self.registry.list().into_iter().filter(|vm| vm.origin == *origin) {
            // An error means that it was removed already.
            let _ = self.registry.remove(vm.name.as_str(), "no rule searches for it any more").await;
        }
    }
}
