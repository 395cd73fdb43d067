//! How records are written for a client, a chunk at a time.

use axum::body::Bytes;
use qmp_host::reader_memory::Portion;
use qmp_journal::{Cursor, JournalError, LargeRecord, PrunedRange};
use qmp_wire::{Offset, Record};

/// Records in one chunk: what a client keeps waiting for a slow one of the next chunk.
pub(super) const CHUNK_MAX_RECORDS: usize = 1_024;

/// Memory of the records in one chunk, in bytes; the record that passes it is the last. A client that does not read has one
/// chunk in memory: as little as costs no speed.
pub(super) const CHUNK_MAX_BYTES: usize = 64 << 10;

/// Memory that is taken before a chunk is read, in bytes: its records, its text, and a last record that is almost large.
pub(super) const CHUNK_READ_BYTES: usize = 4 * CHUNK_MAX_BYTES;

/// The next records, or one that is read alone.
pub(super) enum Chunk {
    Text(Bytes),
    Large(LargeRecord),
}

/// How records are written for a client.
pub(super) trait Format: Send + 'static {
    /// Appends one record.
    fn record(record: &Record<'_>, out: &mut Vec<u8>);

    /// Appends what comes before everything else; `position` is the place from which the records go on.
    fn begin(_position: Offset, _out: &mut Vec<u8>) {}

    /// Appends that records were removed before this client could read them, or says `false`: a form that has no
    /// place for it breaks off, and the client learns it from the header of the next answer.
    fn removed(removed: PrunedRange, out: &mut Vec<u8>) -> bool;

    /// Appends a sign of life; everything up to `position` was given.
    fn keep_alive(position: Offset, out: &mut Vec<u8>);
}

/// Reads the next records up to there, and writes them.
pub(super) fn read_chunk<F: Format>(
    mut cursor: Cursor,
    upto: Offset,
    memory: Portion,
) -> Result<(Chunk, Cursor), JournalError> {
    let (records, large) = cursor.next_small_batch(CHUNK_MAX_RECORDS, CHUNK_MAX_BYTES, upto)?;
    let mut text = Vec::new();
    if let Some(removed) = cursor.take_removed()
        && !F::removed(removed, &mut text)
    {
        return Err(JournalError::Removed { removed });
    }
    records.iter().for_each(|record| F::record(record, &mut text));
    match large {
        Some(large) if text.is_empty() => Ok((Chunk::Large(large), cursor)),
        // At most twice as much was allocated.
        _ => Ok((Chunk::Text(Bytes::from_owner(memory.of(text.into_boxed_slice()))), cursor)),
    }
}
