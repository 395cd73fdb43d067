//! Reads of the journal on threads that may wait for the disk, a few at a time.

use std::sync::Arc;

use qmp_host::blocking;
use qmp_journal::{JournalError, Reader};
use tokio::sync::Semaphore;

/// Reads of the journal that run at the same time. Each occupies a thread; more would only wait for the same
/// disk and the same cores.
const READS_AT_ONCE_MAX: usize = 16;

/// Reads of one journal. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Reads {
    reader: Reader,
    permits: Arc<Semaphore>,
}

impl Reads {
    pub(super) fn new(reader: Reader) -> Self {
        Self { reader, permits: Arc::new(Semaphore::new(READS_AT_ONCE_MAX)) }
    }

    pub(super) const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Reads the journal on a thread that may wait for the disk.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        // Never closed, so there is always a permit to come.
        let _permit = self.permits.acquire().await;
        blocking(work).await
    }
}
