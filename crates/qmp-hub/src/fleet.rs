//! A fleet hub: records of VMs of other hosts, from streams of NATS JetStream.
//!
//! Each source is one task. It reads its stream after the committed position, puts the messages of each host's journal into
//! order, and appends their records with the positions in one transaction. After the commit it confirms them to the host's
//! hub. While the journal cannot be written, nothing is read.

mod config;
mod host_names;
mod status;
mod intake;
mod source;

use std::sync::Arc;

use qmp_host::{blocking, ends_after, join_all};
use qmp_journal::{Feed, Journal, JournalError, StreamPosition};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::limits::STOP_COMMIT_MAX;
pub use config::{FLEET_STREAM_DEFAULT, FleetSourceConfig, FleetSourceError};
use host_names::SharedHosts;
use source::Source;
pub use status::FleetStatus;
use status::SharedStatus;

/// The sources of a hub. Dropping them ends their tasks, as a crash does.
#[derive(Debug)]
pub struct FleetSources {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
    statuses: FleetStatuses,
}

/// The status of each source. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct FleetStatuses(Arc<[SharedStatus]>);

impl FleetSources {
    /// Starts to read the streams into `journal`. Retries with back-off until a server can be reached.
    ///
    /// Must be called within a tokio runtime with I/O and time enabled.
    ///
    /// # Errors
    ///
    /// Any [`JournalError`] of reading the committed positions.
    pub async fn start(configs: Vec<FleetSourceConfig>, journal: &Journal) -> Result<Self, JournalError> {
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        if configs.is_empty() {
            return Ok(Self { tasks, stop, statuses: FleetStatuses::default() });
        }
        let reader = journal.reader();
        let (feeds, positions) = blocking(move || {
            Ok::<(Vec<Feed>, Vec<StreamPosition>), JournalError>((
                reader.feeds()?,
                reader.stream_positions()?,
            ))
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
            let source = Source::new(config, journal.appender(), &feeds, hosts, position, status);
            let running = source.run(stopping.clone());
            tasks.spawn(duties.watch(format!("source {name}"), ends_after(&stop), running));
        }
        Ok(Self { tasks, stop, statuses: FleetStatuses(statuses.into()) })
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

impl FleetStatuses {
    /// The status of each source at present.
    #[must_use]
    pub fn read(&self) -> Vec<FleetStatus> {
        self.0.iter().map(SharedStatus::read).collect()
    }
}
