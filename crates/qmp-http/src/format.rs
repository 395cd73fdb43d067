//! How records are written for a client, a chunk at a time.

use qmp_journal::{Cursor, JournalError, Removed};
use qmp_wire::{Offset, Record};

/// Records in one chunk: what a client keeps waiting for a slow one of the next chunk.
pub(super) const CHUNK_MAX_RECORDS: usize = 1_024;

/// How records are written for a client.
pub(super) trait Format: Send + 'static {
    /// Appends one record.
    fn record(record: &Record<'_>, out: &mut Vec<u8>);

    /// Appends what comes after the records that were asked for with `last`, before everything else; `position`
    /// is the place from which it goes on.
    fn begin(_position: Offset, _out: &mut Vec<u8>) {}

    /// Appends that records were removed before this client could read them, or says `false`: a form that has no
    /// place for it breaks off, and the client learns it from the header of the next answer.
    fn removed(removed: Removed, out: &mut Vec<u8>) -> bool;

    /// Appends a sign of life; everything up to `position` was given.
    fn keep_alive(position: Offset, out: &mut Vec<u8>);
}

/// Reads the next records up to there, and writes them.
pub(super) fn read_chunk<F: Format>(
    mut cursor: Cursor,
    upto: Offset,
) -> Result<(Vec<u8>, Cursor), JournalError> {
    let records = cursor.next_batch_upto(CHUNK_MAX_RECORDS, upto)?;
    let mut text = Vec::new();
    if let Some(removed) = cursor.take_removed()
        && !F::removed(removed, &mut text)
    {
        return Err(JournalError::Removed { removed });
    }
    write::<F>(&records, &mut text);
    Ok((text, cursor))
}

pub(super) fn write<'r, F: Format>(
    records: impl IntoIterator<Item = &'r Record<'static>>,
    text: &mut Vec<u8>,
) {
    for record in records {
        F::record(record, text);
    }
}
