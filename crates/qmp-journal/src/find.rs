//! Finding single records: by offset, by identity, and the neighbours of a record.

use qmp_wire::{Epoch, Offset, QualifiedName, Record, Seq, UnixMicros};
use rusqlite::OptionalExtension as _;

use super::columns::{number, unsigned};
use super::digest::Digest;
use super::error::JournalError;
use super::find_foreign::{find_foreign, posting, segments_from};
use super::passing::record_at;
use super::read::{ReadConnection, ReadFile};
use super::rows::Stretch;

/// An epoch of a VM, as offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochSpan {
    /// The name of the VM.
    pub vm: Box<str>,
    /// The id of the name.
    pub vm_id: u32,
    /// The number of the epoch.
    pub epoch: Epoch,
    /// The offset of its first record.
    pub opened: Offset,
    /// The offset of its last record; `None` while it is open.
    pub closed: Option<Offset>,
}

/// The epochs, by VM and number.
pub(super) fn epochs(connection: &ReadConnection) -> Result<Vec<EpochSpan>, JournalError> {
    let sql = "SELECT name.name, epoch.vm, epoch.epoch, opened, closed FROM epoch JOIN name ON name.id = epoch.vm \
               ORDER BY epoch.vm, epoch.epoch";
    connection.sql(|connection| {
        let mut select = connection.prepare_cached(sql)?;
        let rows = select.query_map([], |row| {
            Ok(EpochSpan {
                vm: row.get(0)?,
                vm_id: row.get(1)?,
                epoch: Epoch(row.get(2)?),
                opened: Offset(unsigned(row.get(3)?)),
                closed: row.get::<_, Option<i64>>(4)?.map(|closed| Offset(unsigned(closed))),
            })
        })?;
        rows.collect()
    })
}

/// The first and the last offset of the segments with records that were received from `since` up to `until`, and of the
/// records after the last segment.
pub(super) fn window(
    connection: &ReadConnection,
    (since, until): (UnixMicros, UnixMicros),
    head: u64,
) -> Result<(Offset, Offset), JournalError> {
    let sealed = connection.sealed()?;
    let first = connection.sql(|connection| {
        let sql = "SELECT min(first) FROM segment WHERE received_max >= ?1";
        connection.prepare_cached(sql)?.query_row([since.0], |row| row.get::<_, Option<i64>>(0))
    })?;
    let last_begun = connection.sql(|connection| {
        let sql = "SELECT received_min < ?1 FROM segment ORDER BY last DESC LIMIT 1";
        connection.prepare_cached(sql)?.query_row([until.0], |row| row.get::<_, bool>(0)).optional()
    })?;
    let last = match last_begun {
        Some(false) => connection.sql(|connection| {
            let sql = "SELECT coalesce(max(last), 0) FROM segment WHERE received_min < ?1";
            connection.prepare_cached(sql)?.query_row([until.0], |row| row.get(0).map(unsigned))
        })?,
        _ => head,
    };
    Ok((Offset(first.map_or(sealed + 1, unsigned)), Offset(last)))
}

/// The earliest receipt of the records up to `head`; `None` without a record.
pub(super) fn earliest(file: &ReadFile, head: u64, digest: &dyn Digest) -> Result<Option<i64>, JournalError> {
    let (sealed, of_segments) = file.with(|connection| {
        let sql = "SELECT min(received_min) FROM segment";
        let of_segments: Option<i64> =
            connection.sql(|connection| connection.prepare_cached(sql)?.query_row([], |row| row.get(0)))?;
        Ok((connection.sealed()?, of_segments))
    })?;
    let unsealed = Stretch { after: sealed, upto: head };
    if unsealed.is_empty() {
        return Ok(of_segments);
    }
    let mut open = file.open_part();
    let of_rest = file.with(|connection| {
        connection.reading(|connection, reader| {
            let records = open.read_on(connection, reader.names, reader.damage, digest, unsealed)?;
            Ok(records.iter().map(|record| record.received).min())
        })
    })?;
    Ok(of_segments.into_iter().chain(of_rest).min())
}

/// The record of a VM with this identity; `None` if there is none, or if it cannot be read.
///
/// The records of an epoch are numbered without a hole, so their number in the postings of the VM leads to the record.
pub(super) fn find(
    connection: &mut ReadConnection,
    vm: &str,
    (epoch, seq): (Epoch, Seq),
    head: u64,
) -> Result<Option<Record<'static>>, JournalError> {
    if QualifiedName::parse(vm).is_some() {
        return find_foreign(connection, vm, (epoch, seq), head);
    }
    let Some((id, opened)) = opened(connection, vm, epoch)? else { return Ok(None) };
    let from = opened.max(connection.first()?);
    // The number of the first record that is left; it is not 0 where retention has removed the beginning.
    let mut due = None;
    for (first, last) in segments_from(connection, from)? {
        let mut offsets = posting(connection, first, last, id)?;
        offsets.retain(|offset| *offset >= from);
        let Some(begin) = offsets.first() else { continue };
        let due_here = match due {
            Some(due) => due,
            None => match record_at(connection, *begin)? {
                Some(record) if record.epoch == epoch && record.seq <= seq => seq.0 - record.seq.0,
                _ => return Ok(None),
            },
        };
        if let Some(offset) = usize::try_from(due_here).ok().and_then(|index| offsets.get(index)) {
            let record = record_at(connection, *offset)?;
            return Ok(record.filter(|record| (record.epoch, record.seq) == (epoch, seq)));
        }
        due = Some(due_here - offsets.len() as u64);
    }
    let sql = "SELECT offset FROM record WHERE offset > ?1 AND offset <= ?2 AND vm = ?3 AND epoch = ?4 AND seq = ?5";
    let sealed = connection.sealed()?.max(from.saturating_sub(1));
    let found = connection.sql(|connection| {
        let mut select = connection.prepare_cached(sql)?;
        let parameters = (number(sealed), number(head), id, epoch.0, number(seq.0));
        select.query_row(parameters, |row| row.get(0).map(unsigned)).optional()
    })?;
    found.map_or(Ok(None), |offset| record_at(connection, offset))
}

/// The id of a VM, and the offset of the first record of an epoch of it.
fn opened(connection: &ReadConnection, vm: &str, epoch: Epoch) -> Result<Option<(u32, u64)>, JournalError> {
    connection.sql(|connection| {
        let id = "SELECT id FROM name WHERE role = 'vm' AND name = ?1";
        let Some(id) =
            connection.prepare_cached(id)?.query_row([vm], |row| row.get::<_, u32>(0)).optional()?
        else {
            return Ok(None);
        };
        let sql = "SELECT opened FROM epoch WHERE vm = ?1 AND epoch = ?2";
        let opened = connection
            .prepare_cached(sql)?
            .query_row((id, epoch.0), |row| row.get(0).map(unsigned))
            .optional()?;
        // Records of a VM that never was attached have the epoch 0, which has no row.
        Ok(opened.or((epoch.0 == 0).then_some(1)).map(|opened| (id, opened)))
    })
}
