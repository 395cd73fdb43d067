//! Restores the state of the writer from the file.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use rusqlite::Connection;

use super::body::Kind;
use super::bounds;
use super::checksum::Content;
use super::columns::{EventTime, SEALED, unsigned};
use super::damage::is_damage;
use super::numbering::{Numbering, VmState};
use super::rows::{Stretch, walk};
use super::segment::IndexedRecord;

/// Restores the numbering of the journal: from the last seal, and a scan of the records after it.
pub(super) fn restore(connection: &Connection, segment_records: u64) -> rusqlite::Result<Numbering> {
    let sealed: i64 = connection.query_row(SEALED, [], |row| row.get(0))?;
    let mut vms: HashMap<u32, VmState> = connection
        .prepare("SELECT vm, last, epoch, seq FROM vm")?
        .query_map([], |row| {
            let (last, seq) = (unsigned(row.get(1)?), unsigned(row.get(3)?));
            Ok((row.get(0)?, VmState { last, epoch: row.get(2)?, seq, received: None, open: false }))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut open = connection.prepare("SELECT vm, epoch FROM epoch WHERE closed IS NULL AND opened <= ?1")?;
    let mut rows = open.query([sealed])?;
    while let Some(row) = rows.next()? {
        // The scan finds epochs that were closed after the seal.
        let epoch: u32 = row.get(1)?;
        if let Some(state) = vms.get_mut(&row.get(0)?).filter(|state| state.epoch == epoch) {
            state.open = true;
        }
    }
    let mut numbering = Numbering::restore(unsigned(sealed), vms, segment_records);
    let unreadable = restore_unsealed(connection, unsigned(sealed), &mut numbering)?;
    if unreadable > 0 {
        // The unreadable records may have been of any VM, and the last of its epoch.
        numbering.skip_numbers(unreadable);
        numbering.begin_after(0, last_epoch(connection)?);
    }
    let lost = connection.query_row("SELECT max(last), max(epoch) FROM lost", [], |row| {
        Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<u32>>(1)?))
    })?;
    numbering.begin_after(lost.0.map_or(0, unsigned), lost.1.unwrap_or(0));
    Ok(numbering)
}

/// Restores from the records after the last seal up to the head, and returns how many cannot be read.
fn restore_unsealed(
    connection: &Connection,
    sealed: u64,
    numbering: &mut Numbering,
) -> rusqlite::Result<u64> {
    let unsealed = Stretch { after: sealed, upto: bounds::head(connection)? };
    let unreadable = Cell::new(0_u64);
    let pass = |records: u64| unreadable.set(unreadable.get().saturating_add(records));
    let numbering = RefCell::new(numbering);
    walk(
        connection,
        RESTORE_SQL,
        unsealed,
        &mut |row| {
            match read_restored(row) {
                Ok(RestoredRecord { record, epoch, seq }) => {
                    numbering.borrow_mut().observe(record, epoch, seq);
                }
                Err(error) if is_damage(&error) => {
                    pass(1);
                    numbering.borrow_mut().begin_after(unsigned(row.get(0)?), 0);
                }
                Err(error) => return Err(error),
            }
            Ok(true)
        },
        &mut |first, last, _| {
            pass((last - first).saturating_add(1));
            numbering.borrow_mut().begin_after(last, 0);
        },
    )?;
    Ok(unreadable.get())
}

/// The columns that [`read_restored`] reads, of the offsets from the first parameter to the second.
pub(super) const RESTORE_SQL: &str = "SELECT offset, vm, kind, event, received, epoch, seq, event_time, data, \
       (SELECT name FROM name WHERE id = record.vm), (SELECT name FROM name WHERE id = record.event), \
       (SELECT name FROM sent_name WHERE sent_name.offset = record.offset) \
     FROM record WHERE offset >= ?1 AND offset <= ?2 ORDER BY offset";

/// The part of a record that the index and the numbering need.
pub(super) struct RestoredRecord {
    pub(super) record: IndexedRecord,
    pub(super) epoch: u32,
    pub(super) seq: u64,
}

/// Reads a row of [`RESTORE_SQL`].
pub(super) fn read_restored(row: &rusqlite::Row<'_>) -> rusqlite::Result<RestoredRecord> {
    let kind: i64 = row.get(2)?;
    let kind = Kind::from_id(kind).ok_or(rusqlite::Error::IntegralValueOutOfRange(2, kind))?;
    let (vm, event, received) = (row.get(1)?, row.get(3)?, row.get(4)?);
    let event_time =
        EventTime::read(row.get_ref(7)?).ok_or(rusqlite::Error::IntegralValueOutOfRange(7, 0))?;
    let content = Content {
        offset: unsigned(row.get(0)?),
        vm: row.get_ref(9)?.as_str()?,
        epoch: row.get(5)?,
        seq: unsigned(row.get(6)?),
        kind,
        received,
        event: row.get_ref(10)?.as_str_or_null()?,
        event_time,
        sent_name: row.get_ref(11)?.as_str_or_null()?,
        data: row.get_ref(8)?.as_str_or_null()?,
    };
    let Content { offset, epoch, seq, data, sent_name, .. } = content;
    let bytes = (data.map_or(0, str::len) + sent_name.map_or(0, str::len)) as u64;
    let record = IndexedRecord { offset, vm, kind, event, received, bytes, sum: content.sum() };
    Ok(RestoredRecord { record, epoch, seq })
}

/// The highest epoch in the file.
pub(super) fn last_epoch(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("SELECT coalesce(max(epoch), 0) FROM epoch", [], |row| row.get(0))
}
