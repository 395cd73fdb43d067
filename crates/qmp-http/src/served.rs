//! What all requests share.

use std::path::PathBuf;
use std::sync::Arc;

use qmp_host::Duties;
use qmp_host::clock;
use qmp_hub::Fleet;
use qmp_hub::Observed;
use qmp_hub::Vms;
use qmp_journal::{Appender, Gauge, Health, Journal, JournalError, Reader};
use qmp_sinks::Rules;
use qmp_wire::{Offset, UnixMicros};
use tokio::sync::watch;

use super::counts::Counts;
use super::reads::Reads;
use super::shared::Streams;

/// What the hub serves. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Served(Arc<Parts>);

#[derive(Debug)]
pub struct Parts {
    pub(super) vms: Vms,
    pub(super) fleet: Fleet,
    pub(super) journal: PathBuf,
    pub(super) reader: Reader,
    pub(super) reads: Reads,
    pub(super) started: UnixMicros,
    /// True once the last record is committed: whoever follows may have the rest, and is done.
    pub(super) ends: watch::Receiver<bool>,
    pub(super) health: watch::Receiver<Health>,
    /// How the VMs stand, by their records.
    pub(super) observed: Observed,
    pub(super) gauge: Gauge,
    /// Takes the records of commands.
    pub(super) appender: Appender,
    pub(super) counts: Counts,
    /// What readers who ask for the same read together.
    pub(super) streams: Streams,
    pub(super) rules: Rules,
    /// Tasks that ended although they should not.
    pub(super) duties: Duties,
    head: watch::Receiver<Offset>,
}

impl std::ops::Deref for Served {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Served {
    /// What is served of a hub with that journal.
    #[must_use]
    pub fn new(
        fleet: Fleet,
        journal: &Journal,
        path: PathBuf,
        observed: Observed,
        rules: Rules,
        ends: watch::Receiver<bool>,
    ) -> Self {
        Self(Arc::new(Parts {
            vms: fleet.vms().clone(),
            journal: path,
            reader: journal.reader(),
            started: clock::now(),
            ends,
            health: journal.health(),
            observed,
            gauge: journal.gauge(),
            appender: journal.appender(),
            counts: Counts::default(),
            streams: Streams::default(),
            rules,
            duties: journal.duties(),
            head: journal.watch_head(),
            reads: Reads::new(journal.reader(), fleet.reader_memory().clone()),
            fleet,
        }))
    }
}

impl Parts {
    /// The last record that is committed.
    pub(super) fn head(&self) -> Offset {
        *self.head.borrow()
    }

    /// The last record that is committed, as it moves.
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
impl Served {
    /// That of a hub that has a journal, and nothing else.
    pub(super) async fn of_no_vms(journal: &Journal, path: PathBuf, ends: watch::Receiver<bool>) -> Self {
        let observed = qmp_hub::Observer::new(journal, false).observed();
        let rules = Rules::start(Vec::new(), journal, &path).await.expect("starts");
        Self::new(Fleet::new(journal, false, qmp_hub::SilentAfter::Off), journal, path, observed, rules, ends)
    }
}
