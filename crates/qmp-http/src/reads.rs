//! Reads of the journal on blocking threads, a few at a time, and the memory for their results.

use std::any::TypeId;
use std::sync::Arc;

use qmp_host::blocking;
use qmp_host::reader_memory::{ChargedText, MemoryShort, READER_WAIT_MAX, ReaderMemory, SharedText, Texts};
use qmp_journal::{JournalError, LargeRecord, Query, Reader};
use qmp_wire::Offset;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::format::Format;

/// How much longer the text of a large record may be than its data, in bytes: its name, its VM, its numbers.
const LARGE_TEXT_BESIDES_BYTES: usize = 4 << 10;

/// Reads of the journal that run at the same time. Each occupies a thread; more would only wait for the same
/// disk and the same cores.
const READS_AT_ONCE_MAX: usize = 16;

/// Errors of reading for a client.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("cannot read the journal: {0}")]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Memory(#[from] MemoryShort),
}

/// The key of a large record's text: format, offset, and the conditions on the data.
type LargeText = (TypeId, Offset, String);

/// Reads of one journal. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Reads {
    reader: Reader,
    permits: Arc<Semaphore>,
    /// The memory that all readers share.
    pub(super) memory: ReaderMemory,
    /// The texts of large records in use.
    texts: Arc<Texts<LargeText>>,
}

impl Reads {
    pub(super) fn new(reader: Reader, memory: ReaderMemory) -> Self {
        Self { reader, permits: Arc::new(Semaphore::new(READS_AT_ONCE_MAX)), memory, texts: Arc::default() }
    }

    pub(super) const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Reads the journal on a blocking thread.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        // The semaphore is never closed, so `acquire` does not fail.
        let _permit = self.permits.acquire().await;
        blocking(work).await
    }

    /// The text of a large record, which its readers share; `None` if the record does not fulfil the query's conditions.
    ///
    /// # Errors
    ///
    /// Errors of reading the journal; [`ReadError::Memory`] if memory for the text is not free in time.
    pub(super) async fn large_text<F: Format>(
        &self,
        query: &Query,
        large: LargeRecord,
    ) -> Result<Option<SharedText>, ReadError> {
        let key = (TypeId::of::<F>(), large.offset, format!("{:?}", query.where_));
        let made = self.texts.get(key, async || self.write_large::<F>(query, large).await);
        timeout(READER_WAIT_MAX, made).await.map_err(|_| self.memory.short())?
    }

    async fn write_large<F: Format>(
        &self,
        query: &Query,
        large: LargeRecord,
    ) -> Result<Option<ChargedText<Vec<u8>>>, ReadError> {
        // Memory for the record and for its text.
        let memory = self.memory.take(2 * large.data_bytes + LARGE_TEXT_BESIDES_BYTES).await?;
        let (reader, query, short) = (self.reader.clone(), query.clone(), self.memory.short());
        let written = self.read(move || {
            let Some(record) = reader.large(&query, large)? else { return Ok(Ok(None)) };
            let mut text = Vec::new();
            if text.try_reserve_exact(large.data_bytes + LARGE_TEXT_BESIDES_BYTES).is_err() {
                return Ok(Err(short));
            }
            F::record(&record, &mut text);
            Ok(Ok(Some(memory.of(text))))
        });
        Ok(written.await??)
    }
}
