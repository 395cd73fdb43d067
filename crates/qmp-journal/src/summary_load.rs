//! Decodes the counts of summaries, from memory or from the file, on several threads if there are many.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use rusqlite::{OptionalExtension as _, Row};

use super::columns::number;
use super::damage::Damage;
use super::error::JournalError;
use super::limits::SUMMARY_THREADS_MAX;
use super::read::{ReadConnection, ReadFile};
use super::summary::CountTable;
use super::summary_cache::RequestNumber;
use super::summary_plan::Segment;
use super::summary_request::SummaryRequest;

/// Segments to decode for which one more thread is started: some milliseconds.
const SEGMENTS_PER_THREAD: usize = 8;

/// The counts of a segment; `None` if the summary cannot be used.
type Counts = Option<Arc<CountTable>>;

/// Loads the counts of one request.
#[derive(Debug)]
pub(super) struct CountLoader<'r> {
    file: &'r ReadFile,
    request: &'r SummaryRequest<'r>,
    number: RequestNumber,
    /// Whether counts of this request had no memory in the cache.
    is_cache_full: AtomicBool,
}

impl<'r> CountLoader<'r> {
    pub(super) fn new(file: &'r ReadFile, request: &'r SummaryRequest<'r>, number: RequestNumber) -> Self {
        Self { file, request, number, is_cache_full: AtomicBool::new(false) }
    }

    /// The counts of each segment, in their order.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] if the file cannot be read.
    pub(super) fn load(&self, segments: &[Segment]) -> Result<Vec<Counts>, JournalError> {
        let version = self.request.digest.version();
        let slots: Vec<OnceLock<Counts>> = {
            let mut cache = self.file.summaries();
            let cached = segments.iter().map(|segment| cache.counts(segment.last, version, self.number));
            cached
                .map(|found| found.map_or_else(OnceLock::new, |found| OnceLock::from(Some(found))))
                .collect()
        };
        let missing: Vec<(&Segment, &OnceLock<Counts>)> =
            segments.iter().zip(&slots).filter(|(_, slot)| slot.get().is_none()).collect();
        let next = AtomicUsize::new(0);
        let decode = || {
            self.file.with(|connection| {
                while let Some((segment, slot)) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // Each slot is filled once.
                    let _ = slot.set(self.decode(connection, segment)?);
                }
                Ok(())
            })
        };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads = (missing.len() / SEGMENTS_PER_THREAD).clamp(1, cores.min(SUMMARY_THREADS_MAX));
        if !missing.is_empty() {
            thread::scope(|scope| {
                let others: Vec<_> = (1..threads).map(|_| scope.spawn(decode)).collect();
                let own = decode();
                let joined =
                    others.into_iter().map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)));
                joined.fold(own, Result::and)
            })?;
        }
        Ok(slots.into_iter().map(|slot| slot.into_inner().flatten()).collect())
    }

    /// Decodes all counts of a segment for the cache, or those that are wanted if it is full.
    fn decode(&self, connection: &ReadConnection, segment: &Segment) -> Result<Counts, JournalError> {
        let (last, version) = (segment.last, self.request.digest.version());
        let is_full = self.is_cache_full.load(Ordering::Relaxed);
        // Bytes that are not wanted may be damaged, too: all of them are decoded once.
        let is_whole = !is_full || !self.file.summaries().is_checked(last);
        let mut of_vms = self.request.counts.ascending();
        let records = segment.last.saturating_sub(segment.first).saturating_add(1);
        let read = with_blob(connection, "counts", segment, |bytes| {
            CountTable::read(bytes, records, |vm| is_whole || of_vms(vm)).map(Arc::new)
        })?;
        note_if_invalid(connection, segment, read.as_ref());
        let table = read.flatten();
        if let Some(table) = table.as_ref().filter(|_| is_whole) {
            let mut cache = self.file.summaries();
            cache.note_checked(last);
            if !cache.put_counts(last, version, self.number, table) {
                self.is_cache_full.store(true, Ordering::Relaxed);
            }
        }
        Ok(table)
    }
}

/// Reads a blob of a segment's summary; `None` if there is none of the version that the plan found. A value of another type is
/// read as an empty blob, which is never valid.
pub(super) fn with_blob<T>(
    connection: &ReadConnection,
    column: &str,
    segment: &Segment,
    read: impl FnOnce(&[u8]) -> T,
) -> Result<Option<T>, JournalError> {
    // The plan is of an earlier transaction: a hub of another release may have made the summary again since, and the
    // row of a segment that retention has removed has no blobs.
    let sql = format!(
        "SELECT {column} FROM summary WHERE segment = ?1 AND version = ?2 \
         AND EXISTS (SELECT 1 FROM segment WHERE last = ?1)"
    );
    connection.sql(|connection| {
        let mut select = connection.prepare_cached(&sql)?;
        let read = |row: &Row<'_>| Ok(read(row.get_ref(0)?.as_blob().unwrap_or_default()));
        select.query_row((number(segment.last), segment.version), read).optional()
    })
}

/// Notes the damage if a blob of a segment's summary was there and not valid.
pub(super) fn note_if_invalid<T>(connection: &ReadConnection, segment: &Segment, read: Option<&Option<T>>) {
    if let Some(None) = read {
        let damage = Damage::Index("its summary is invalid".into());
        connection.damage().note(segment.first, segment.last, damage);
    }
}
