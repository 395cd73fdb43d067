//! Finds records of VMs of other hosts, whose numbers may have holes.

use qmp_wire::{ADDED_SEQ_FIRST, Epoch, Record, Seq};
use rusqlite::OptionalExtension as _;

use super::columns::{number, unsigned};
use super::error::JournalError;
use super::passing::record_at;
use super::read::ReadConnection;
use super::segment;

/// The record of a VM of another host with this identity; `None` if there is none, or if it cannot be read.
pub(super) fn find_foreign(
    connection: &mut ReadConnection,
    vm: &str,
    (epoch, seq): (Epoch, Seq),
    head: u64,
) -> Result<Option<Record<'static>>, JournalError> {
    let is_it = |record: &Record<'_>| record.vm == vm && (record.epoch, record.seq) == (epoch, seq);
    if let Some(offset) = seq.0.checked_sub(ADDED_SEQ_FIRST) {
        let is_kept = offset <= head && offset >= connection.first()?;
        let record = if is_kept { record_at(connection, offset)? } else { None };
        return Ok(record.filter(is_it));
    }
    let sql = "SELECT id FROM name WHERE role = 'vm' AND name = ?1";
    let id = connection.sql(|connection| {
        connection.prepare_cached(sql)?.query_row([vm], |row| row.get::<_, u32>(0)).optional()
    })?;
    let Some(id) = id else { return Ok(None) };
    // The hub of the host may not have published the beginning of the epoch.
    let sql = "SELECT opened FROM epoch WHERE vm = ?1 AND epoch = ?2";
    let opened = connection.sql(|connection| {
        let mut select = connection.prepare_cached(sql)?;
        select.query_row((id, epoch.0), |row| row.get(0).map(unsigned)).optional()
    })?;
    let from = connection.first()?.max(opened.unwrap_or(0));
    for (first, last) in segments_from(connection, from)? {
        let offsets = posting(connection, first, last, id)?;
        let found = first_from(connection, &offsets, (epoch.0, seq.0))?;
        if let Some(offset) = found {
            return Ok(record_at(connection, offset)?.filter(is_it));
        }
    }
    let sql = "SELECT offset FROM record WHERE offset > ?1 AND offset <= ?2 AND vm = ?3 AND epoch = ?4 AND seq = ?5";
    let sealed = connection.sealed()?;
    let found = connection.sql(|connection| {
        let mut select = connection.prepare_cached(sql)?;
        let parameters = (number(sealed), number(head), id, epoch.0, number(seq.0));
        select.query_row(parameters, |row| row.get(0).map(unsigned)).optional()
    })?;
    found.map_or(Ok(None), |offset| record_at(connection, offset))
}

/// The first of the offsets of a VM whose record has these numbers or higher ones; `None` if all are lower.
///
/// The numbers of foreign records ascend. This hub's own records between them are passed over.
fn first_from(
    connection: &ReadConnection,
    offsets: &[u64],
    numbers: (u32, u64),
) -> Result<Option<u64>, JournalError> {
    let (mut low, mut high) = (0, offsets.len());
    let mut found = None;
    while low < high {
        let middle = low + (high - low) / 2;
        // From the middle on, the first foreign record that can be read.
        let next = offsets[middle..high].iter().enumerate().find_map(|(index, offset)| {
            let read = read_numbers(connection, *offset).transpose()?;
            Some(read.map(|numbers| (middle + index, *offset, numbers)))
        });
        match next.transpose()? {
            Some((index, _, read)) if read < numbers => low = index + 1,
            Some((_, offset, _)) => (found, high) = (Some(offset), middle),
            None => high = middle,
        }
    }
    Ok(found)
}

/// The epoch and number of the foreign record at `offset`; `None` for a record of this hub, or one that cannot be read.
fn read_numbers(connection: &ReadConnection, offset: u64) -> Result<Option<(u32, u64)>, JournalError> {
    let sql = "SELECT epoch, seq FROM record WHERE offset = ?1";
    let read = connection.sql(|connection| {
        let mut select = connection.prepare_cached(sql)?;
        select.query_row([number(offset)], |row| Ok((row.get(0)?, unsigned(row.get(1)?)))).optional()
    });
    match read {
        Err(error) if error.is_damage() => Ok(None),
        read => Ok(read?.filter(|(_, seq)| !Seq(*seq).is_added())),
    }
}

/// The first and the last offset of each segment with offsets from `from` on.
pub(super) fn segments_from(connection: &ReadConnection, from: u64) -> Result<Vec<(u64, u64)>, JournalError> {
    connection.sql(|connection| {
        let sql = "SELECT first, last FROM segment WHERE last >= ?1 ORDER BY last";
        let mut select = connection.prepare_cached(sql)?;
        let rows =
            select.query_map([number(from)], |row| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?))))?;
        rows.collect()
    })
}

/// The offsets of the records of a name in a segment.
pub(super) fn posting(
    connection: &ReadConnection,
    first: u64,
    last: u64,
    id: u32,
) -> Result<Vec<u64>, JournalError> {
    connection.sql(|connection| {
        let sql = "SELECT offsets FROM posting WHERE segment = ?1 AND name = ?2";
        let found = connection.prepare_cached(sql)?.query_row((number(last), id), |row| {
            Ok(row.get_ref(0)?.as_blob().ok().and_then(|bytes| segment::offsets(first, bytes)))
        });
        Ok(found.optional()?.flatten().unwrap_or_default())
    })
}
