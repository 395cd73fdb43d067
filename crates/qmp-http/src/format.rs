//! Formats in which records are sent, a chunk at a time.

use axum::body::Bytes;
use qmp_host::reader_memory::Portion;
use qmp_journal::{Cursor, JournalError, LargeRecord, PrunedRange};
use qmp_wire::{Offset, Record};

/// Records in one chunk: a client waits for at most so many before it gets the first.
pub(super) const CHUNK_MAX_RECORDS: usize = 1_024;

/// Memory of the records in one chunk, in bytes; the record that exceeds it is the last. A client that does not read
/// holds one chunk: this is the least that costs no speed.
pub(super) const CHUNK_MAX_BYTES: usize = 64 << 10;

/// Memory that is allotted before a chunk is read, in bytes: its records, its text, and a last record that is almost large.
pub(super) const CHUNK_READ_BYTES: usize = 4 * CHUNK_MAX_BYTES;

/// The next records, or a large record that is read by itself.
pub(super) enum Chunk {
    Text(Bytes),
    Large(LargeRecord),
}

/// A format in which records are sent.
pub(super) trait Format: Send + 'static {
    /// Appends one record.
    fn record(record: &Record<'_>, out: &mut Vec<u8>);

    /// Appends the beginning of the response; the records continue from `position`.
    fn begin(_position: Offset, _out: &mut Vec<u8>) {}

    /// Appends that records were removed before this client could read them, or returns `false`: a format without a
    /// notation for it ends the stream, and the header of the next response has the number.
    fn removed(removed: PrunedRange, out: &mut Vec<u8>) -> bool;

    /// Appends a keep-alive; everything up to `position` was sent.
    fn keep_alive(position: Offset, out: &mut Vec<u8>);
}

/// Reads the next records up to `upto`, and encodes them.
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
        // Growing the text allocated at most twice its length.
        _ => Ok((Chunk::Text(Bytes::from_owner(memory.of(text.into_boxed_slice()))), cursor)),
    }
}
