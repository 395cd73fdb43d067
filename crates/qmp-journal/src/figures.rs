//! Statistics of a journal that this process writes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use qmp_wire::UnixMicros;

use super::body::RecordKind;
use super::numbering::Plan;
use super::queue::Queue;

/// Counters of the writer since its start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Indexed by the id of the kind; the first is unused.
    records: [AtomicU64; RecordKind::ALL.len() + 1],
    commits: AtomicU64,
    failures: AtomicU64,
    removed: AtomicU64,
    /// The first offset that is kept.
    first: AtomicU64,
}

/// Reads the statistics of a journal at any time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gauge {
    path: PathBuf,
    queue: Arc<Queue>,
    counters: Arc<Counters>,
}

/// A snapshot of the statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Committed since the journal was opened, by kind.
    pub records: Vec<(RecordKind, u64)>,
    /// Transactions that succeeded.
    pub commits: u64,
    /// Transactions that failed.
    pub commit_failures: u64,
    /// Records removed by retention, by age or by size.
    pub removed: u64,
    /// The first offset that is kept.
    pub first: u64,
    /// Bytes that wait for the disk, the commit in progress included.
    pub queue_bytes: usize,
    /// Bytes that may wait.
    pub queue_max_bytes: usize,
    /// Size of the file; 0 if the file is missing.
    pub file_bytes: u64,
    /// Size of the write-ahead log beside it.
    pub log_bytes: u64,
}

impl Counters {
    /// Counts a committed transaction.
    pub(super) fn committed(&self, plan: &Plan<'_>) {
        for row in &plan.rows {
            self.records[row.kind as usize].fetch_add(1, Ordering::Relaxed);
        }
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts removed records; `first` is the first one left.
    pub(super) fn removed(&self, records: u64, first: u64) {
        self.removed.fetch_add(records, Ordering::Relaxed);
        self.first.store(first, Ordering::Relaxed);
    }

    /// Counts a failed transaction.
    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

impl Gauge {
    pub(super) fn new(path: &Path, queue: &Arc<Queue>, counters: &Arc<Counters>) -> Self {
        Self { path: path.into(), queue: Arc::clone(queue), counters: Arc::clone(counters) }
    }

    /// Since when the commit in progress has waited for the disk; `None` if nothing waits.
    pub fn in_commit_since(&self) -> Option<UnixMicros> {
        self.queue.in_commit_since()
    }

    /// Reads the statistics. Looks at files, so it may block on the disk.
    pub fn read(&self) -> Figures {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut log = self.path.as_os_str().to_owned();
        log.push("-wal");
        let (queue_bytes, queue_max_bytes) = self.queue.filling();
        Figures {
            records: RecordKind::ALL.map(|kind| (kind, count(&self.counters.records[kind as usize]))).into(),
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
