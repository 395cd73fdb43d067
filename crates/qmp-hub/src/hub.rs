//! The hub: one journal, many monitors, and whoever wants to read.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use qmp_client::Address;
use qmp_host::blocking;
use qmp_journal::{Journal, JournalError};
use qmp_sinks::{Rules, RulesError, SinkStatus};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::discovery::{Discover, Discovery};
use crate::fleet::Prepared;
use crate::http::{self, HttpDoor, ListenError, Listening, Served};
use crate::observer::Observer;
use crate::relay::{RelayConfig, RelayStatus};
use crate::reload::Fixed;
use crate::silence::Recorder;
use crate::vms::{self, Vm};
use crate::{Fleet, FleetError, HubConfig, Origin, SilentAfter, VmName};

/// How long [`Hub::stop`] waits for the last commits. A disk that takes longer is taken for dead; systemd, which
/// kills after 90 s, must not come first.
pub const STOP_COMMIT_MAX: Duration = Duration::from_secs(30);

/// How long [`Hub::stop`] lets HTTP clients read what they asked for.
pub const STOP_HTTP_MAX: Duration = Duration::from_secs(2);

/// A running hub. [`stop`](Self::stop) ends it cleanly; dropping it leaves the epochs open, as a crash does.
#[derive(Debug)]
pub struct Hub {
    // Tasks first: what is dropped later must not be missed by one that still runs.
    discovery: Discovery,
    fleet: Running,
    /// Finds out which VMs are silent.
    watch: JoinSet<()>,
    observer: JoinSet<()>,
    rules: Rules,
    servers: JoinSet<()>,
    stop_observer: watch::Sender<bool>,
    stop_http: watch::Sender<bool>,
    http: Vec<HttpDoor>,
    served: Served,
    fixed: Fixed,
    journal: Journal,
}

/// The fleet, which others may hold, too: its tasks end with the hub.
#[derive(Debug)]
struct Running(Fleet);

/// Errors of starting and stopping a hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The journal cannot be opened, or not all of it could be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Two VMs have one name.
    #[error("two VMs are called {name}; each needs a name of its own")]
    DuplicateName {
        /// The name.
        name: VmName,
    },
    /// A relay stands in place of a VM that is none.
    #[error("there is a relay for {name}, and no VM of this name")]
    RelayOfNobody {
        /// The name.
        name: VmName,
    },
    /// The rules cannot be started.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// HTTP cannot be served.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A VM cannot be followed.
    #[error(transparent)]
    Fleet(FleetError),
}

impl Hub {
    /// Opens the journal (which closes the epochs that a killed hub left open), listens for HTTP, and starts to
    /// follow every VM. VMs that are not there yet are tried for ever, with back-off.
    ///
    /// Must be called within a tokio runtime with I/O and time enabled. Raises the process's limit of open files
    /// if the VMs need more.
    ///
    /// # Errors
    ///
    /// Any [`HubError`]; nothing has been started then.
    pub async fn start(config: HubConfig) -> Result<Self, HubError> {
        let fixed = Fixed::of(&config);
        let mut relays = relays_by_name(&config.attach, config.relays)?;
        let (path, options) = (config.journal.clone(), config.journal_options);
        let journal = blocking(move || Journal::open(&path, options)).await?;

        let mut listening = Vec::with_capacity(config.http.len());
        for door in &config.http {
            listening.push(http::listen(door).await?);
        }
        // Before anybody is attached, so that a rule that is first seen misses nothing of what comes.
        let rules = Rules::start(config.rules, &journal, &config.journal).await?;
        let fleet = Running(Fleet::new(&journal, config.findings, config.silent_after));
        fleet.0.expect(config.attach.len(), relays.values().map(Vec::len).sum());
        let mut prepared = Vec::with_capacity(config.attach.len());
        for (name, address) in config.attach {
            let relays = relays.remove(&name).unwrap_or_default();
            let origin = config.origins.get(&name).cloned().unwrap_or(Origin::Program);
            let follow = fleet.0.follow(address);
            let silent_after = config.silent_after_of.get(&name).copied();
            prepared.push(fleet.0.prepare(name, follow, relays, origin, silent_after).await?);
        }
        let (stop_observer, observing_ends) = watch::channel(false);
        let (stop_http, http_ends) = watch::channel(false);
        let http = listening.iter().map(Listening::door).cloned().collect();
        prepared.into_iter().try_for_each(Prepared::launch)?;
        let correlating = Observer::new(&journal, config.findings).asking(fleet.0.vms().clone());
        let served = Served::new(
            fleet.0.clone(),
            &journal,
            config.journal,
            correlating.observed(),
            rules.clone(),
            http_ends.clone(),
        );
        let mut watch = JoinSet::new();
        let duties = journal.duties();
        let watching = fleet.0.watch().run(Recorder {
            appender: journal.appender(),
            observed: correlating.observed(),
            records_findings: config.findings,
        });
        watch.spawn(duties.watch("watch for silent VMs", || false, watching));
        let mut observer = JoinSet::new();
        let may_end = ends_after(&stop_observer);
        observer.spawn(duties.watch("observer", may_end, correlating.run(observing_ends)));
        let mut servers = JoinSet::new();
        for listening in listening {
            let name = format!("HTTP at {}", listening.door());
            let serving = http::serve(listening, served.clone(), http_ends.clone());
            servers.spawn(duties.watch(name, ends_after(&stop_http), serving));
        }
        let discovery = Discovery::new(&fleet.0);
        discovery.set(config.discover).await;
        Ok(Self {
            discovery,
            fleet,
            watch,
            observer,
            rules,
            servers,
            stop_observer,
            stop_http,
            http,
            served,
            fixed,
            journal,
        })
    }

    /// Where HTTP is served, with the ports that the system chose.
    #[must_use]
    pub fn http(&self) -> &[HttpDoor] {
        &self.http
    }

    /// The VMs, which may come and go.
    #[must_use]
    pub fn fleet(&self) -> Fleet {
        self.fleet.0.clone()
    }

    /// Looks for VMs by these rules from here on. Those that are the same as before go on undisturbed; what others found
    /// is removed. Returns whether anything differs.
    pub async fn discover(&self, rules: Vec<Discover>) -> bool {
        self.discovery.set(rules).await
    }

    /// Probes VMs after other spans without a word from here on: those without a setting of their own after `default`, those
    /// of the configuration after `own`. To be called behind [`Self::discover`], whose rules have settings, too. Returns
    /// whether anything differs.
    pub(crate) async fn set_silent_after(
        &self,
        default: SilentAfter,
        own: &HashMap<VmName, SilentAfter>,
    ) -> bool {
        let discovered = self.discovery.silent_after().await;
        self.fleet.0.set_silent_after(default, |vm| match &vm.origin {
            Origin::Configuration | Origin::CommandLine => Some(own.get(&vm.name).copied()),
            origin => discovered.get(origin).copied(),
        })
    }

    /// How each relay stands, in the order of the VMs.
    #[must_use]
    pub fn relays(&self) -> Vec<RelayStatus> {
        self.fleet.0.relays()
    }

    /// How many VMs are attached, of how many.
    #[must_use]
    pub fn attached(&self) -> (usize, usize) {
        let vms = self.fleet.0.vms().all();
        let is_attached = |vm: &&Arc<Vm>| vm.standing().state == vms::State::Attached;
        (vms.iter().filter(is_attached).count(), vms.len())
    }

    pub(crate) const fn fixed(&self) -> &Fixed {
        &self.fixed
    }

    /// The rules, which can be replaced while the hub runs.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// How each rule stands, in the order of the configuration.
    #[must_use]
    pub fn sinks(&self) -> Vec<SinkStatus> {
        self.rules.statuses()
    }

    /// The journal that the hub writes.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Closes every open epoch with `hub stopped`, commits everything, then leaves the monitors, lets HTTP
    /// clients have what they asked for, and closes the journal.
    ///
    /// # Errors
    ///
    /// [`HubError::Journal`] if something could not be written.
    pub async fn stop(mut self) -> Result<(), HubError> {
        self.discovery.stop().await;
        self.watch.shutdown().await;
        self.fleet.0.stop().await;
        // After the last records, so that what they lead to is found.
        self.stop_observer.send_replace(true);
        if tokio::time::timeout(STOP_COMMIT_MAX, join_all(&mut self.observer)).await.is_err() {
            tracing::error!("the last findings were not recorded; the next start finds them again");
            self.observer.shutdown().await;
        }
        // After the last findings, so that those are acted upon, too.
        self.rules.stop().await;
        self.stop_http.send_replace(true);
        if tokio::time::timeout(STOP_HTTP_MAX, join_all(&mut self.servers)).await.is_err() {
            self.servers.shutdown().await;
        }
        let Self { journal, served, rules, .. } = self;
        drop((served, rules));
        Ok(blocking(move || journal.close()).await?)
    }
}

/// The relays of each VM, after a look whether names stand once and every relay has its VM.
fn relays_by_name(
    attach: &[(VmName, Address)],
    relays: Vec<(VmName, RelayConfig)>,
) -> Result<HashMap<VmName, Vec<RelayConfig>>, HubError> {
    let mut names = HashSet::with_capacity(attach.len());
    if let Some((name, _)) = attach.iter().find(|(name, _)| !names.insert(name)) {
        return Err(HubError::DuplicateName { name: name.clone() });
    }
    let mut by_name: HashMap<VmName, Vec<RelayConfig>> = HashMap::new();
    for (name, relay) in relays {
        if !names.contains(&name) {
            return Err(HubError::RelayOfNobody { name });
        }
        by_name.entry(name).or_default().push(relay);
    }
    Ok(by_name)
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl From<FleetError> for HubError {
    fn from(error: FleetError) -> Self {
        Self::Fleet(error)
    }
}

/// Whether a task that was told so may end.
fn ends_after(stop: &watch::Sender<bool>) -> impl Fn() -> bool + Send + 'static {
    let stop = stop.subscribe();
    move || *stop.borrow()
}

async fn join_all(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!("a task of the hub died: {error}");
        }
    }
}
