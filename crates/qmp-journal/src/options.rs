//! Options of a journal.

use super::digest::{Digest, NoDigest};
use super::limits::{JOURNAL_QUEUE_MAX_BYTES, SEGMENT_RECORDS};
use super::retention::Retention;

/// Options for writing a journal.
#[derive(Clone, Copy, Debug)]
pub struct JournalOptions {
    /// Bytes that may wait for the disk.
    pub queue_max_bytes: usize,
    /// Records in a segment, at least 1. The number may differ from one opening to the next.
    pub segment_records: u64,
    /// How long records are kept.
    pub retention: Retention,
    /// Whether epochs that are open in the file are closed when it is opened: a hub that opens it follows no VM yet. An import
    /// continues them.
    pub closes_open_epochs: bool,
    /// Derives the classes and changes of summaries.
    pub digest: &'static dyn Digest,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            queue_max_bytes: JOURNAL_QUEUE_MAX_BYTES,
            segment_records: SEGMENT_RECORDS,
            retention: Retention::default(),
            closes_open_epochs: true,
            digest: &NoDigest,
        }
    }
}
