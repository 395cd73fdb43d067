//! State that all requests share.

use std::path::PathBuf;
use std::sync::Arc;

use qmp_host::Duties;
use qmp_host::clock;
use qmp_hub::FleetStatuses;
use qmp_hub::VmRegistry;
use qmp_hub::VmStates;
use qmp_hub::Vms;
use qmp_journal::{Appender, Gauge, Health, Journal, JournalError, Reader};
use qmp_sinks::Rules;
use qmp_wire::{Offset, UnixMicros};
use tokio::sync::watch;

use super::endpoint::HttpEndpoint;
use super::fanout::Fanouts;
use super::reader_count::ReaderCount;
use super::reads::Reads;

/// Paths and addresses of the HTTP interface.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// The file of the journal.
    pub journal: PathBuf,
    /// A directory with the page's files, instead of those in the program.
    pub web_root: Option<PathBuf>,
    /// The endpoints that serve the interface.
    pub endpoints: Vec<HttpEndpoint>,
    /// The status of the streams with records of other hosts.
    pub sources: FleetStatuses,
}

/// The state of the HTTP interface. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ApiState(Arc<ApiStateInner>);

#[derive(Debug)]
pub struct ApiStateInner {
    pub(super) vms: Vms,
    pub(super) registry: VmRegistry,
    pub(super) journal: PathBuf,
    /// The journal's own name; `None` if it cannot be read.
    pub(super) journal_id: Option<Box<str>>,
    pub(super) reader: Reader,
    pub(super) reads: Reads,
    pub(super) started: UnixMicros,
    /// True once the last record is committed: streams send the rest and end.
    pub(super) ends: watch::Receiver<bool>,
    pub(super) health: watch::Receiver<Health>,
    /// The state of each VM, derived from its records.
    pub(super) vm_states: VmStates,
    pub(super) gauge: Gauge,
    /// Appends the records of commands.
    pub(super) appender: Appender,
    pub(super) reader_count: ReaderCount,
    /// The shared streams of readers with the same query.
    pub(super) streams: Fanouts,
    pub(super) rules: Rules,
    /// Reports tasks that ended unexpectedly.
    pub(super) duties: Duties,
    /// A directory with the page's files, instead of those in the program.
    pub(super) web_root: Option<PathBuf>,
    /// The endpoints that serve this state.
    pub(super) endpoints: Vec<HttpEndpoint>,
    /// The streams with records of other hosts.
    pub(super) sources: FleetStatuses,
    head: watch::Receiver<Offset>,
}

impl std::ops::Deref for ApiState {
    type Target = ApiStateInner;

    fn deref(&self) -> &ApiStateInner {
        &self.0
    }
}

impl ApiState {
    /// The state for a hub with `journal`. Streams end once `ends` is true.
    #[must_use]
    pub fn new(
        registry: VmRegistry,
        journal: &Journal,
        vm_states: VmStates,
        rules: Rules,
        ends: watch::Receiver<bool>,
        config: ApiConfig,
    ) -> Self {
        Self(Arc::new(ApiStateInner {
            vms: registry.vms().clone(),
            journal: config.journal,
            journal_id: journal.reader().identity().ok().flatten(),
            reader: journal.reader(),
            started: clock::now(),
            ends,
            health: journal.health(),
            vm_states,
            gauge: journal.gauge(),
            appender: journal.appender(),
            reader_count: ReaderCount::default(),
            streams: Fanouts::default(),
            rules,
            duties: journal.duties(),
            head: journal.watch_head(),
            reads: Reads::new(journal.reader(), registry.reader_memory().clone()),
            registry,
            web_root: config.web_root,
            endpoints: config.endpoints,
            sources: config.sources,
        }))
    }
}

impl ApiStateInner {
    /// The offset of the last committed record.
    pub(super) fn head(&self) -> Offset {
        *self.head.borrow()
    }

    /// The offset of the last committed record, as it changes.
    pub(super) fn watch_head(&self) -> watch::Receiver<Offset> {
        self.head.clone()
    }

    /// Reads the journal on a thread that may wait for the disk.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        self.reads.read(work).await
    }
}

#[cfg(test)]
impl ApiState {
    /// The state of a hub with a journal and without VMs and rules.
    pub(super) async fn without_vms(journal: &Journal, path: PathBuf, ends: watch::Receiver<bool>) -> Self {
        let vm_states = qmp_hub::Observer::new(journal, false).vm_states();
        let rules = Rules::start(Vec::new(), None, journal, &path).await.expect("starts");
        Self::new(
            VmRegistry::new(journal, false, qmp_hub::SilentAfter::Off),
            journal,
            vm_states,
            rules,
            ends,
            ApiConfig {
                journal: path,
                web_root: None,
                endpoints: Vec::new(),
                sources: FleetStatuses::default(),
            },
        )
    }
}
