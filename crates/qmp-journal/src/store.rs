//! Writing the file, and the few reads that the writer needs while it writes.

use qmp_wire::Seq;
use rusqlite::{CachedStatement, Connection, ErrorCode, TransactionBehavior};

use super::body::RecordKind;
use super::columns::{EventTime, number};
use super::damage::is_damage;
use super::feeds;
use super::names::NewName;
use super::numbering::{Plan, Row};
use super::retention::PrunedRange;
use super::sent_names;
use super::summaries::put_summary;

/// Writes everything of `plan` in one transaction: either all of it is durable, or nothing was written.
///
/// Repeating the call after an error is safe.
pub(super) fn commit(
    connection: &mut Connection,
    names: &[NewName],
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
    feeds::write(&transaction, &plan.positions)?;
    if !plan.sealed.is_empty() {
        write_segments(&transaction, plan)?;
    }
    transaction.commit()
}

/// Whether an error says that a row exists already.
pub(super) fn is_conflict(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
}

/// Whether `plan` was committed: a transaction with its last row had all of it.
pub(super) fn is_committed(connection: &Connection, plan: &Plan<'_>) -> rusqlite::Result<bool> {
    let Some(row) = plan.rows.last() else {
        let Some(sealed) = plan.sealed.last() else { return Ok(false) };
        let mut select = connection.prepare_cached("SELECT 1 FROM segment WHERE last = ?1 AND first = ?2")?;
        return select.exists((number(sealed.last), number(sealed.first)));
    };
    connection
        .prepare_cached("SELECT 1 FROM record WHERE offset = ?1 AND vm = ?2 AND epoch = ?3 AND seq = ?4")?
        .exists((number(row.offset), row.ids.vm, row.epoch, number(row.seq)))
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
    // Only its host opens and closes the epochs of a foreign VM.
    for row in rows.iter().filter(|row| !Seq(row.seq).is_added()) {
        let sql = match row.kind {
            RecordKind::Attached => "INSERT INTO epoch (opened, vm, epoch) VALUES (?1, ?2, ?3)",
            RecordKind::Detached => {
                "UPDATE epoch SET closed = ?1 WHERE vm = ?2 AND epoch = ?3 AND closed IS NULL"
            }
            RecordKind::Event | RecordKind::Finding => continue,
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
    for (sealed, summary) in plan.sealed.iter().zip(&plan.summaries) {
        put_summary(connection, sealed.last, plan.digest_version, summary)?;
    }
    let mut vm =
        connection.prepare_cached("REPLACE INTO vm (vm, last, epoch, seq) VALUES (?1, ?2, ?3, ?4)")?;
    for (id, state) in &plan.vms {
        vm.execute((id, number(state.last), state.epoch, number(state.seq)))?;
    }
    Ok(())
}

/// Records offsets that were assigned and are missing in the file.
pub(super) fn note_lost(connection: &Connection, lost: PrunedRange, epoch: u32) -> rusqlite::Result<()> {
    let (first, last) = (number(lost.after.0 + 1), number(lost.upto.0));
    connection
        .execute("REPLACE INTO lost (first, last, epoch) VALUES (?1, ?2, ?3)", (first, last, epoch))
        .map(drop)
}

/// The name of an id; empty if it cannot be read.
pub(super) fn name(connection: &Connection, id: u32) -> rusqlite::Result<Box<str>> {
    let mut select = connection.prepare_cached("SELECT name FROM name WHERE id = ?1")?;
    match select.query_row([id], |row| row.get(0)) {
        Err(error) if is_damage(&error) => Ok("".into()),
        name => name,
    }
}

/// When the record at `offset` was received; `None` if there is none, or it cannot be read.
pub(super) fn received(connection: &Connection, offset: u64) -> rusqlite::Result<Option<i64>> {
    let read = connection
        .prepare_cached("SELECT received FROM record WHERE offset = ?1")?
        .query_row([number(offset)], |row| row.get(0));
    match read {
        Err(error) if is_damage(&error) => Ok(None),
        read => read.map(Some),
    }
}
