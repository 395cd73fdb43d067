//! Figures of a journal that is written, for whoever watches it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use qmp_wire::UnixMicros;

use super::body::Kind;
use super::numbering::Plan;
use super::queue::Queue;

/// What the writer counts, from its start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// By the number of the kind; the first is of no kind.
    records: [AtomicU64; Kind::ALL.len() + 1],
    commits: AtomicU64,
    failures: AtomicU64,
    removed: AtomicU64,
    /// The first offset that is kept.
    first: AtomicU64,
}

/// Tells the figures of a journal at any moment. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gauge {
    path: PathBuf,
    queue: Arc<Queue>,
    counters: Arc<Counters>,
}

/// The figures of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Committed since the journal was opened, by kind.
    pub records: Vec<(Kind, u64)>,
    /// Transactions that succeeded.
    pub commits: u64,
    /// Tries that failed.
    pub commit_failures: u64,
    /// Records removed because they were too old or too many.
    pub removed: u64,
    /// The first offset that is kept.
    pub first: u64,
    /// What waits for the disk, the commit under way included.
    pub queue_bytes: usize,
    /// How much may wait.
    pub queue_max_bytes: usize,
    /// Size of the file; 0 if it is gone.
    pub file_bytes: u64,
    /// Size of the write-ahead log beside it.
    pub log_bytes: u64,
}

impl Counters {
    /// A transaction was committed.
    pub(super) fn committed(&self, plan: &Plan<'_>) {
        for row in &plan.rows {
            self.records[row.kind as usize].fetch_add(1, Ordering::Relaxed);
        }
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// So many records were removed, and `first` is the first one left.
    pub(super) fn removed(&self, records: u64, first: u64) {
        self.removed.fetch_add(records, Ordering::Relaxed);
        self.first.store(first, Ordering::Relaxed);
    }

    /// A try failed.
    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

impl Gauge {
    pub(super) fn new(path: &Path, queue: &Arc<Queue>, counters: &Arc<Counters>) -> Self {
        Self { path: path.into(), queue: Arc::clone(queue), counters: Arc::clone(counters) }
    }

    /// Since when the disk has not taken what waits for it; `None` if nothing waits.
    pub fn in_commit_since(&self) -> Option<UnixMicros> {
        self.queue.in_commit_since()
    }

    /// The figures of this moment. Looks at files, so it may wait for the disk.
    pub fn read(&self) -> Figures {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut log = self.path.as_os_str().to_owned();
        log.push("-wal");
        let (queue_bytes, queue_max_bytes) = self.queue.filling();
        Figures {
            records: Kind::ALL.map(|kind| (kind, count(&self.counters.records[kind as usize]))).into(),
            commits: count(&self.counters.commits),
            commit_failures: count(&self.counters.failures),
            removed: count(&self.counters.removed),
            first: count(&self.counters.first),
            queue_bytes,
            queue_max_bytes,
            file_bytes: size_bytes(&self.path),
            log_bytes: size_bytes(Path::new(&log)),
        }
    }
}

fn size_bytes(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |found| found.len())
}
