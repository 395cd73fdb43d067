//! The number of connected readers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the readers of `/v1/records` and `/v1/events`. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct ReaderCount {
    readers: Arc<AtomicU64>,
}

/// Counts one reader while it exists.
#[derive(Debug)]
pub(super) struct ReaderGuard(Arc<AtomicU64>);

impl ReaderCount {
    /// Counts one more reader.
    pub(super) fn reader(&self) -> ReaderGuard {
        self.readers.fetch_add(1, Ordering::Relaxed);
        ReaderGuard(Arc::clone(&self.readers))
    }

    /// The present number of readers.
    pub(super) fn readers(&self) -> u64 {
        self.readers.load(Ordering::Relaxed)
    }
}

impl Drop for ReaderGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
