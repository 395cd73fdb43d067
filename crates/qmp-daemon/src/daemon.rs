//! A complete hub: the start and the stop of its parts, in order.

use std::mem::take;
use std::sync::Arc;

use qmp_host::{blocking, ends_after, join_all};
use qmp_http::{ApiConfig, ApiState, HttpEndpoint, HttpListener, ListenError};
use qmp_hub::discovery::DiscoveryRule;
use qmp_hub::relay::RelayStatus;
use qmp_hub::{
    FleetConfig, FleetSources, FleetStatus, Hub, HubConfig, HubStartError, STOP_HTTP_MAX, VmRegistry,
};
use qmp_journal::{Journal, JournalError, JournalOptions};
use qmp_sinks::{Rules, RulesError, SinkStatus};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::DaemonConfig;
use crate::new_journal::NewJournal;
use crate::restart_only::RestartOnlySettings;

/// A running hub. [`stop`](Self::stop) ends it cleanly; a dropped hub leaves its epochs open, as after a crash.
#[derive(Debug)]
pub struct Daemon {
    // Tasks first: fields that are dropped later are in use by running tasks.
    parts: Parts,
    restart_only: RestartOnlySettings,
    journal: Journal,
}

/// The parts that use the journal.
#[derive(Debug)]
struct Parts {
    sources: FleetSources,
    hub: Hub,
    rules: Rules,
    servers: JoinSet<()>,
    stop_http: watch::Sender<bool>,
    http: Vec<HttpEndpoint>,
    api: ApiState,
}

/// Errors of starting and stopping a hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// The journal cannot be opened, or some of its records could not be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The VMs cannot be followed.
    #[error(transparent)]
    Hub(#[from] HubStartError),
    /// The rules cannot be started.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// HTTP cannot be served.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

impl Daemon {
    /// Opens the journal (which closes the epochs that a killed hub left open), listens for HTTP, and follows every VM.
    /// Absent VMs are retried without end, with back-off.
    ///
    /// Must be called within a tokio runtime with I/O and time enabled. Raises the process's limit of open files
    /// if the VMs need more.
    ///
    /// # Errors
    ///
    /// Any [`DaemonError`]; no part runs then.
    pub async fn start(mut config: DaemonConfig) -> Result<Self, DaemonError> {
        let restart_only = RestartOnlySettings::new(&config);
        let hub_config = hub_config(&mut config);
        hub_config.check()?;
        let options = JournalOptions { digest: qmp_history::DIGEST, ..config.journal_options };
        let path = config.journal.clone();
        let new_journal = NewJournal::of(&path);
        let journal = blocking(move || Journal::open(&path, options)).await?;
        match Parts::start(&journal, config, hub_config).await {
            Ok(parts) => Ok(Self { parts, restart_only, journal }),
            Err(error) => {
                // The journal is locked until this returns.
                new_journal.remove();
                Err(error)
            }
        }
    }

    /// The addresses of HTTP, with the ports that the system chose.
    #[must_use]
    pub fn http(&self) -> &[HttpEndpoint] {
        &self.parts.http
    }

    /// The VMs, which may be added and removed.
    #[must_use]
    pub fn registry(&self) -> VmRegistry {
        self.parts.hub.registry()
    }

    /// Replaces the rules of discovery. A rule that is the same as before continues undisturbed; the VMs of a removed rule
    /// are removed. Returns whether any rule differs.
    pub async fn discover(&self, rules: Vec<DiscoveryRule>) -> bool {
        self.parts.hub.discover(rules).await
    }

    /// The status of each relay, in the order of the VMs.
    #[must_use]
    pub fn relays(&self) -> Vec<RelayStatus> {
        self.parts.hub.relays()
    }

    /// The numbers of attached VMs and of all VMs.
    #[must_use]
    pub fn attached(&self) -> (usize, usize) {
        self.parts.hub.attached()
    }

    /// The part that follows the VMs.
    pub(crate) const fn hub(&self) -> &Hub {
        &self.parts.hub
    }

    pub(crate) const fn restart_only(&self) -> &RestartOnlySettings {
        &self.restart_only
    }

    /// The rules, which can be replaced while the hub runs.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.parts.rules
    }

    /// The status of each rule, in the order of the configuration.
    #[must_use]
    pub fn sinks(&self) -> Vec<SinkStatus> {
        self.parts.rules.statuses()
    }

    /// The status of each stream with records of other hosts.
    #[must_use]
    pub fn sources(&self) -> Vec<FleetStatus> {
        self.parts.sources.statuses().read()
    }

    /// The journal that the hub writes.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Closes every open epoch with `hub stopped`, commits everything, then disconnects from the monitors, completes the
    /// responses to HTTP clients, and closes the journal.
    ///
    /// # Errors
    ///
    /// [`DaemonError::Journal`] if some record could not be written.
    pub async fn stop(mut self) -> Result<(), DaemonError> {
        // Before the observer, which reads the last records.
        self.parts.sources.stop().await;
        self.parts.hub.stop().await;
        // After the last findings, so that the rules process those as well.
        self.parts.rules.stop().await;
        self.parts.stop_http.send_replace(true);
        if tokio::time::timeout(STOP_HTTP_MAX, join_all(&mut self.parts.servers)).await.is_err() {
            self.parts.servers.shutdown().await;
        }
        let Self { journal, parts: Parts { api, rules, .. }, .. } = self;
        drop((api, rules));
        Ok(blocking(move || journal.close()).await?)
    }
}

impl Parts {
    async fn start(
        journal: &Journal,
        config: DaemonConfig,
        mut hub_config: HubConfig,
    ) -> Result<Self, DaemonError> {
        let mut listeners = Vec::with_capacity(config.http.len());
        for endpoint in &config.http {
            listeners.push(qmp_http::listen(endpoint).await?);
        }
        // Before any VM is attached, so that a new rule misses no record.
        let rules = Rules::start(config.rules.clone(), config.host.clone(), journal, &config.journal).await?;
        hub_config.state_rules = rules.state_rules(&config.rules);
        hub_config.open_alerts = rules.open_alerts().await?;
        hub_config.silences_changed = rules.silences_changed();
        let (stop_http, http_ends) = watch::channel(false);
        let http: Vec<HttpEndpoint> = listeners.iter().map(HttpListener::endpoint).cloned().collect();
        let hub = Hub::start(hub_config, journal).await?;
        let from = FleetConfig {
            sources: config.from,
            findings: config.findings,
            host_silent_after: config.host_silent_after,
        };
        let sources = FleetSources::start(from, journal, hub.vm_states()).await?;
        let of_http = ApiConfig {
            journal: config.journal,
            web_root: config.web_root,
            endpoints: http.clone(),
            sources: sources.statuses(),
        };
        let api = ApiState::new(
            hub.registry(),
            journal,
            hub.vm_states(),
            rules.clone(),
            http_ends.clone(),
            of_http,
        );
        let duties = journal.duties();
        let mut servers = JoinSet::new();
        for listener in listeners {
            let name = format!("HTTP at {}", listener.endpoint());
            let serving = qmp_http::serve(listener, api.clone(), http_ends.clone());
            servers.spawn(duties.watch(name, ends_after(&stop_http), serving));
        }
        hub.discover(config.discover).await;
        Ok(Self { sources, hub, rules, servers, stop_http, http, api })
    }
}

/// Takes what concerns the VMs out of the configuration.
fn hub_config(config: &mut DaemonConfig) -> HubConfig {
    HubConfig {
        attach: take(&mut config.attach),
        origins: take(&mut config.origins),
        findings: config.findings,
        relays: take(&mut config.relays),
        silent_after: config.silent_after,
        silent_after_of: take(&mut config.silent_after_of),
        state_rules: Vec::new(),
        open_alerts: Vec::new(),
        silences_changed: Arc::default(),
    }
}
