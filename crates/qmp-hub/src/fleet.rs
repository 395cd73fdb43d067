//! A fleet hub: records of VMs of other hosts, from streams of NATS JetStream.
//!
//! Each source is one task. It reads its stream after the committed position, puts the messages of each host's journal into
//! order, and appends their records with the positions in one transaction. After the commit it confirms them to the host's
//! hub. While the journal cannot be written, nothing is read.

mod config;
mod host_names;
mod host_silence;
mod status;
mod host_watch;
mod intake;
mod source;

use std::time::Duration;

use qmp_host::{blocking, ends_after, join_all};
use qmp_journal::{Feed, Journal, JournalError, StreamPosition};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::limits::STOP_COMMIT_MAX;
use crate::observer::VmStates;
pub use config::{FLEET_STREAM_DEFAULT, FleetSourceConfig, FleetSourceError};
use host_names::SharedHosts;
use host_watch::HostWatch;
use source::{Journaling, Source};
use status::SharedStatus;
pub use status::{FleetStatus, FleetStatuses};

/// How long a host may be silent: six signs of life are missing then.
pub const HOST_SILENT_AFTER: Duration = Duration::from_secs(180);

/// The sources of a hub. Dropping them ends their tasks, as a crash does.
#[derive(Debug)]
pub struct FleetSources {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
    statuses: FleetStatuses,
}

/// How a fleet hub reads and what it records.
#[derive(Clone, Debug, Default)]
pub struct FleetConfig {
    /// The streams.
    pub sources: Vec<FleetSourceConfig>,
    /// Whether silent hosts are recorded.
    pub findings: bool,
    /// How long a host may be silent; [`HOST_SILENT_AFTER`] unless a test needs another span.
    pub host_silent_after: Duration,
}

impl FleetSources {
    /// Starts to read the streams into `journal`, whose VMs have the states `vm_states`. Retries with back-off until a server can be
    /// reached.
    ///
    /// Must be called within a tokio runtime with I/O and time enabled.
    ///
    /// # Errors
    ///
    /// Any [`JournalError`] of reading the committed positions.
    pub async fn start(
        config: FleetConfig,
        journal: &Journal,
        vm_states: VmStates,
    ) -> Result<Self, JournalError> {
        let FleetConfig { sources: configs, findings, host_silent_after } = config;
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        if configs.is_empty() {
            return Ok(Self { tasks, stop, statuses: FleetStatuses::default() });
        }
        let reader = journal.reader();
        let watch = HostWatch::new(vm_states, host_silent_after);
        let restored = watch.clone();
        let (feeds, positions) = blocking(move || {
            let feeds = reader.feeds()?;
            restored.restore(&feeds, &reader)?;
            Ok::<(Vec<Feed>, Vec<StreamPosition>), JournalError>((feeds, reader.stream_positions()?))
        })
        .await?;
        let hosts = SharedHosts::new(&feeds);
        let duties = journal.duties();
        let mut statuses = Vec::with_capacity(configs.len());
        for config in configs {
            let name = config.to_string();
            let position = positions.iter().find(|one| *one.stream == *name).map_or(0, |one| one.sequence);
            let status = SharedStatus::new(&name, position);
            statuses.push(status.clone());
            let hosts = hosts.clone();
            let own =
                Journaling { appender: journal.appender(), head: journal.watch_head(), watch: watch.clone() };
            let source = Source::new(config, own, &feeds, hosts, position, status);
            let running = source.run(stopping.clone());
            tasks.spawn(duties.watch(format!("source {name}"), ends_after(&stop), running));
        }
        let statuses = FleetStatuses::new(statuses);
        if findings {
            let watching = watch.run(statuses.clone(), journal.appender(), stopping);
            tasks.spawn(duties.watch("watch for silent hosts", ends_after(&stop), watching));
        }
        Ok(Self { tasks, stop, statuses })
    }

    /// The status of each source.
    #[must_use]
    pub fn statuses(&self) -> FleetStatuses {
        self.statuses.clone()
    }

    /// Commits what was read, confirms it, and disconnects.
    pub async fn stop(&mut self) {
        self.stop.send_replace(true);
        if tokio::time::timeout(STOP_COMMIT_MAX, join_all(&mut self.tasks)).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}
