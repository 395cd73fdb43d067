//! What the writer reads from and writes to the file.

use std::collections::HashMap;

use qmp_wire::Timestamp;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, ToSql, TransactionBehavior};

use super::body::Kind;
use super::checksum::Content;
use super::damage::is_damage;
use super::names::Role;
use super::numbering::{Numbering, Plan, Row, VmState};
use super::passing::next_readable;
use super::retention::Removed;
use super::segment::Indexed;
use super::sent_names;

/// Writes everything of `plan` in one transaction: all of it is durable, or nothing was done.
///
/// Doing it again after an error is safe.
pub(super) fn commit(
    connection: &mut Connection,
    names: &[(u32, Role, Box<str>)],
    plan: &Plan<'_>,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if !names.is_empty() {
        let mut insert =
            transaction.prepare_cached("INSERT INTO name (id, role, name) VALUES (?1, ?2, ?3)")?;
        for (id, role, name) in names {
            insert.execute((id, role.text(), name))?;
        }
    }
    write_records(&transaction, &plan.rows)?;
    sent_names::write(&transaction, &plan.rows)?;
    write_epochs(&transaction, &plan.rows)?;
    if !plan.sealed.is_empty() {
        write_segments(&transaction, plan)?;
    }
    transaction.commit()
}

fn write_records(connection: &Connection, rows: &[Row<'_>]) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO record (offset, vm, epoch, seq, kind, received, event, event_time, data) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    for row in rows {
        bind(&mut insert, row)?;
        insert.raw_execute()?;
    }
    Ok(())
}

fn bind(insert: &mut CachedStatement<'_>, row: &Row<'_>) -> rusqlite::Result<()> {
    insert.raw_bind_parameter(1, number(row.offset))?;
    insert.raw_bind_parameter(2, row.ids.vm)?;
    insert.raw_bind_parameter(3, row.epoch)?;
    insert.raw_bind_parameter(4, number(row.seq))?;
    insert.raw_bind_parameter(5, row.kind.id())?;
    insert.raw_bind_parameter(6, row.received)?;
    insert.raw_bind_parameter(7, row.ids.event)?;
    insert.raw_bind_parameter(8, row.timestamp.map(EventTime))?;
    insert.raw_bind_parameter(9, row.data.as_deref())
}

fn write_epochs(connection: &Connection, rows: &[Row<'_>]) -> rusqlite::Result<()> {
    for row in rows {
        let sql = match row.kind {
            Kind::Attached => "INSERT INTO epoch (opened, vm, epoch) VALUES (?1, ?2, ?3)",
            Kind::Detached => "UPDATE epoch SET closed = ?1 WHERE vm = ?2 AND epoch = ?3 AND closed IS NULL",
            Kind::Event | Kind::Finding => continue,
        };
        connection.prepare_cached(sql)?.execute((number(row.offset), row.ids.vm, row.epoch))?;
    }
    Ok(())
}

fn write_segments(connection: &Connection, plan: &Plan<'_>) -> rusqlite::Result<()> {
    let mut segment = connection.prepare_cached(
        "INSERT INTO segment (last, first, received_min, received_max, checksum) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let mut posting =
        connection.prepare_cached("INSERT INTO posting (segment, name, offsets) VALUES (?1, ?2, ?3)")?;
    let mut tally = connection.prepare_cached(
        "INSERT INTO tally (minute, event, records) VALUES (?1, ?2, ?3) \
         ON CONFLICT DO UPDATE SET records = records + excluded.records",
    )?;
    for sealed in &plan.sealed {
        let last = number(sealed.last);
        let (first, checksum) = (number(sealed.first), sealed.checksum.column());
        segment.execute((last, first, sealed.received_min, sealed.received_max, checksum))?;
        for (name, offsets) in &sealed.postings {
            posting.execute((last, name, offsets))?;
        }
        for (minute, event, records) in &sealed.tally {
            tally.execute((minute, event, number(*records)))?;
        }
    }
    let mut vm =
        connection.prepare_cached("REPLACE INTO vm (vm, last, epoch, seq) VALUES (?1, ?2, ?3, ?4)")?;
    for (id, state) in &plan.vms {
        vm.execute((id, number(state.last), state.epoch, number(state.seq)))?;
    }
    Ok(())
}

/// The last offset that was sealed. When no segment is left, the rows of the VMs still say it: one of them had the
/// last record.
pub(super) const SEALED: &str =
    "SELECT coalesce((SELECT max(last) FROM segment), (SELECT max(last) FROM vm), 0)";

/// The last offset that was given.
pub(super) const HEAD: &str = "SELECT max(coalesce((SELECT max(offset) FROM record), (SELECT max(last) FROM vm), 0), \
     coalesce((SELECT max(last) FROM lost), 0))";

/// Restores where the journal stands: the last seal, and a scan of what lies behind it.
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
        // An epoch that was closed behind the seal is seen to close by the scan.
        let epoch: u32 = row.get(1)?;
        if let Some(state) = vms.get_mut(&row.get(0)?).filter(|state| state.epoch == epoch) {
            state.open = true;
        }
    }
    let mut numbering = Numbering::restore(unsigned(sealed), vms, segment_records);
    let unreadable = restore_behind(connection, unsigned(sealed), &mut numbering)?;
    if unreadable > 0 {
        // They may have been of any VM, and the last of its epoch.
        numbering.skip_numbers(unreadable);
        numbering.begin_behind(0, last_epoch(connection)?);
    }
    let lost = connection.query_row("SELECT max(last), max(epoch) FROM lost", [], |row| {
        Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<u32>>(1)?))
    })?;
    numbering.begin_behind(lost.0.map_or(0, unsigned), lost.1.unwrap_or(0));
    Ok(numbering)
}

/// Restores from the records behind the last seal, and says how many cannot be read.
fn restore_behind(connection: &Connection, sealed: u64, numbering: &mut Numbering) -> rusqlite::Result<u64> {
    let head = connection.query_row(HEAD, [], |row| row.get(0).map(unsigned))?;
    let (mut after, mut unreadable) = (sealed, 0);
    let mut behind = connection.prepare(RESTORED)?;
    while after < head {
        let mut rows = behind.query([number(after + 1), i64::MAX])?;
        let read = (|| {
            while let Some(row) = rows.next()? {
                match restored(row) {
                    Ok(Restored { record, epoch, seq }) => numbering.observe(record, epoch, seq),
                    Err(error) if is_damage(&error) => {
                        unreadable += 1;
                        numbering.begin_behind(unsigned(row.get(0)?), 0);
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })();
        match read {
            Ok(()) => break,
            Err(error) if is_damage(&error) => {
                let readable = numbering.head().max(after);
                after = next_readable(connection, readable, head) - 1;
                unreadable += after - readable;
                numbering.begin_behind(after, 0);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(unreadable)
}

/// What [`restored`] reads, of the offsets from the first parameter to the second.
pub(super) const RESTORED: &str = "SELECT offset, vm, kind, event, received, epoch, seq, event_time, data, \
       (SELECT name FROM name WHERE id = record.vm), (SELECT name FROM name WHERE id = record.event), \
       (SELECT name FROM sent_name WHERE sent_name.offset = record.offset) \
     FROM record WHERE offset BETWEEN ?1 AND ?2 ORDER BY offset";

/// A record as the index and the numbering know it.
pub(super) struct Restored {
    pub(super) record: Indexed,
    pub(super) epoch: u32,
    pub(super) seq: u64,
}

/// Reads a row of [`RESTORED`].
pub(super) fn restored(row: &rusqlite::Row<'_>) -> rusqlite::Result<Restored> {
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
    let record = Indexed { offset, vm, kind, event, received, bytes, sum: content.sum() };
    Ok(Restored { record, epoch, seq })
}

/// The highest number of an epoch that is in the file.
pub(super) fn last_epoch(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("SELECT coalesce(max(epoch), 0) FROM epoch", [], |row| row.get(0))
}

/// Notes offsets that are missing in the file although they were given.
pub(super) fn note_lost(connection: &Connection, lost: Removed, epoch: u32) -> rusqlite::Result<()> {
    let (first, last) = (number(lost.after.0 + 1), number(lost.upto.0));
    connection
        .execute("REPLACE INTO lost (first, last, epoch) VALUES (?1, ?2, ?3)", (first, last, epoch))
        .map(drop)
}

/// The name that stands for an id; empty if it cannot be read.
pub(super) fn name(connection: &Connection, id: u32) -> rusqlite::Result<Box<str>> {
    let mut select = connection.prepare_cached("SELECT name FROM name WHERE id = ?1")?;
    match select.query_row([id], |row| row.get(0)) {
        Err(error) if is_damage(&error) => Ok("".into()),
        name => name,
    }
}

/// When the record at `offset` was received; `None` if there is none.
pub(super) fn received(connection: &Connection, offset: u64) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT received FROM record WHERE offset = ?1")?
        .query_row([number(offset)], |row| row.get(0))
        .optional()
}

/// A count or place of the journal, as SQLite's signed integer.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).expect("2^63 records cannot have been written")
}

/// The reverse of [`number`]; what is negative was not written by a journal and stands before everything.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// The server's time of an event in its column: microseconds as an integer, and what 64 bits do not hold as
/// the text `SECONDS.MICROSECONDS`. A peer may send any number.
pub(super) struct EventTime(pub(super) Timestamp);

impl ToSql for EventTime {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let (seconds, microseconds) = (self.0.seconds(), self.0.microseconds());
        let fits =
            seconds.checked_mul(1_000_000).and_then(|whole| whole.checked_add(i64::from(microseconds)));
        Ok(ToSqlOutput::Owned(match fits {
            Some(micros) => Value::Integer(micros),
            None => Value::Text(format!("{seconds}.{microseconds:06}")),
        }))
    }
}

impl EventTime {
    /// Reads the column; `None` for a value that was never written.
    pub(super) fn read(value: ValueRef<'_>) -> Option<Option<Timestamp>> {
        let (seconds, microseconds) = match value {
            ValueRef::Null => return Some(None),
            ValueRef::Integer(micros) => (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000)),
            ValueRef::Text(text) => {
                let (seconds, microseconds) = std::str::from_utf8(text).ok()?.split_once('.')?;
                (seconds.parse().ok()?, microseconds.parse().ok()?)
            }
            _ => return None,
        };
        Timestamp::from_wire(seconds, microseconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_times() {
        let cases: [(i64, i64); 7] = [
            (0, 0),
            (1_767_323_045, 678_001),
            (-5, 999_999),
            (i64::MAX / 1_000_000, 775_807),
            (i64::MAX / 1_000_000, 775_808),
            (i64::MAX, 999_999),
            (i64::MIN, 0),
        ];
        for (seconds, microseconds) in cases {
            let timestamp = Timestamp::from_wire(seconds, microseconds).expect("in range").expect("known");
            let column = EventTime(timestamp);
            let ToSqlOutput::Owned(value) = column.to_sql().expect("has a column") else { panic!("owned") };
            assert_eq!(EventTime::read((&value).into()), Some(Some(timestamp)), "{seconds}.{microseconds}");
        }
        assert_eq!(EventTime::read(ValueRef::Null), Some(None));
        for damaged in [ValueRef::Real(1.0), ValueRef::Text(b"x"), ValueRef::Text(b"1.2000000")] {
            assert_eq!(EventTime::read(damaged), None, "{damaged:?}");
        }
    }
}
