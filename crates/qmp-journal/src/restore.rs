//! Restores the state of the writer from the file.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use rusqlite::Connection;

use super::body::RecordKind;
use super::bounds;
use super::checksum::Content;
use super::columns::{EventTime, SEALED, unsigned};
use super::damage::is_damage;
use super::numbering::{Numbering, VmNumbers};
use super::rows::{Stretch, lost_spans, walk};
use super::segment::IndexedRecord;
use super::unreadable::UnreadableRecords;

/// Restores the numbering of the journal: from the last seal, and a scan of the records after it.
///
/// If records cannot be read, the VMs that may have lost one skip its number; every other VM continues without a hole.
///
/// `foreign` are the VMs of other hosts.
pub(super) fn restore(
    connection: &Connection,
    foreign: HashSet<u32>,
    segment_records: u64,
) -> rusqlite::Result<Numbering> {
    let sealed: i64 = connection.query_row(SEALED, [], |row| row.get(0))?;
    let mut vms: HashMap<u32, VmNumbers> = connection
        .prepare("SELECT vm, last, epoch, seq FROM vm")?
        .query_map([], |row| {
            let (last, seq) = (unsigned(row.get(1)?), unsigned(row.get(3)?));
            let (vm, epoch) = (row.get(0)?, row.get(2)?);
            let is_foreign = foreign.contains(&vm);
            Ok((vm, VmNumbers { last, epoch, seq, received: None, open: false, is_foreign }))
        })?
        .collect::<rusqlite::Result<_>>()?;
    // The scan finds the records that closed an epoch after the seal.
    let mut open = connection
        .prepare("SELECT vm, epoch FROM epoch WHERE opened <= ?1 AND (closed IS NULL OR closed > ?1)")?;
    let mut rows = open.query([sealed])?;
    while let Some(row) = rows.next()? {
        let epoch: u32 = row.get(1)?;
        if let Some(state) = vms.get_mut(&row.get(0)?).filter(|state| state.epoch == epoch) {
            state.open = true;
        }
    }
    let mut numbering = Numbering::restore(unsigned(sealed), vms, foreign, segment_records);
    let unreadable = restore_unsealed(connection, unsigned(sealed), &mut numbering)?;
    if !unreadable.is_empty() {
        restore_epochs(connection, &mut numbering)?;
        numbering.skip_unreadable(&unreadable);
    }
    restore_lost(connection, &mut numbering)?;
    Ok(numbering)
}

/// Restores from the records after the last seal up to the head, and returns those that cannot be read.
fn restore_unsealed(
    connection: &Connection,
    sealed: u64,
    numbering: &mut Numbering,
) -> rusqlite::Result<UnreadableRecords> {
    let unsealed = Stretch { after: sealed, upto: bounds::head(connection)? };
    let restored = RefCell::new((numbering, UnreadableRecords::default()));
    let take = &mut |row: &rusqlite::Row<'_>| {
        let (numbering, unreadable) = &mut *restored.borrow_mut();
        match read_restored(row) {
            Ok(RestoredRecord { record, epoch, seq }) => {
                unreadable.attribute(numbering.observe_restored(record, epoch, seq));
            }
            Err(error) if is_damage(&error) => {
                let offset = unsigned(row.get(0)?);
                numbering.begin_after(offset, 0);
                let is_known = read_identity(row)
                    .is_ok_and(|(vm, epoch, seq)| numbering.observe_identity(offset, vm, epoch, seq));
                if !is_known {
                    unreadable.add(offset, offset);
                }
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    };
    let missing = &mut |first, last, _: Option<&rusqlite::Error>| {
        let (numbering, unreadable) = &mut *restored.borrow_mut();
        numbering.begin_after(last, 0);
        unreadable.add(first, last);
    };
    walk(connection, RESTORE_SQL, unsealed, take, missing)?;
    Ok(restored.into_inner().1)
}

/// Adds the latest epoch of each VM: the record that opened it may be unreadable.
fn restore_epochs(connection: &Connection, numbering: &mut Numbering) -> rusqlite::Result<()> {
    // In a row with max(), SQLite takes the other columns from the row that has the maximum.
    let sql = "SELECT vm, max(epoch), opened, closed IS NULL FROM epoch GROUP BY vm";
    let mut epochs = connection.prepare(sql)?;
    let mut rows = epochs.query([])?;
    while let Some(row) = rows.next()? {
        numbering.observe_epoch(row.get(0)?, row.get(1)?, unsigned(row.get(2)?), row.get(3)?);
    }
    Ok(())
}

/// Skips what was lost before: a VM without a record since then may have had each of the lost numbers.
fn restore_lost(connection: &Connection, numbering: &mut Numbering) -> rusqlite::Result<()> {
    let mut lost = UnreadableRecords::default();
    lost_spans(connection).into_iter().for_each(|(first, last)| lost.add(first, last));
    numbering.skip_lost(&lost);
    let (last, epoch) = connection.query_row("SELECT max(last), max(epoch) FROM lost", [], |row| {
        Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<u32>>(1)?))
    })?;
    numbering.begin_after(last.map_or(0, unsigned), epoch.unwrap_or(0));
    Ok(())
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

/// The VM, epoch and number of a row of [`RESTORE_SQL`] that cannot be read otherwise.
fn read_identity(row: &rusqlite::Row<'_>) -> rusqlite::Result<(u32, u32, u64)> {
    Ok((row.get(1)?, row.get(5)?, unsigned(row.get(6)?)))
}

/// The name of the event and the data in a row of [`RESTORE_SQL`].
pub(super) fn event_and_data<'r>(
    row: &'r rusqlite::Row<'_>,
) -> rusqlite::Result<(Option<&'r str>, Option<&'r str>)> {
    Ok((row.get_ref(10)?.as_str_or_null()?, row.get_ref(8)?.as_str_or_null()?))
}

/// Reads a row of [`RESTORE_SQL`].
pub(super) fn read_restored(row: &rusqlite::Row<'_>) -> rusqlite::Result<RestoredRecord> {
    let kind: i64 = row.get(2)?;
    let kind = RecordKind::from_id(kind).ok_or(rusqlite::Error::IntegralValueOutOfRange(2, kind))?;
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
