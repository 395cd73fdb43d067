//! Reads a stretch of records and continues after damaged ones: see [`rows`](super::rows).
//! [`RowReader::read`](super::row::RowReader::read) skips a row whose columns make no record.

use std::collections::VecDeque;

use qmp_wire::Record;

use super::columns::number;
use super::damage::Damage;
use super::error::JournalError;
use super::limits::READ_BATCH_MAX_BYTES;
use super::read::ReadConnection;
use super::row::{columns_if, record_bytes};
use super::rows::{Direction, ScanEnd, Stretch, run, walk};

/// Passes the records of `stretch` that match `condition` to `take`, until it returns `false`.
pub(super) fn read_through(
    connection: &mut ReadConnection,
    mut stretch: Stretch,
    condition: &str,
    direction: Direction,
    take: &mut dyn FnMut(Record<'static>) -> bool,
) -> Result<(), JournalError> {
    if direction == Direction::Backwards {
        let sql = select(connection, condition, direction);
        let run = connection.reading(|connection, reader| {
            run(connection, &sql, stretch, direction, &mut |row| reader.pass_record(row, take))
        });
        stretch = match run? {
            ScanEnd::Left(left, _) if !left.is_empty() => left,
            ScanEnd::Left(..) | ScanEnd::Enough => return Ok(()),
        };
        return backwards(connection, stretch, condition, take);
    }
    let sql = select(connection, condition, direction);
    connection.reading(|connection, reader| {
        let damage = reader.damage;
        walk(
            connection,
            &sql,
            stretch,
            &mut |row| reader.pass_record(row, take),
            &mut |first, last, error| {
                damage.note_missing(first, last, error);
            },
        )
    })
}

/// Reads a damaged stretch backwards: reads it forwards, and passes on its last records.
fn backwards(
    connection: &mut ReadConnection,
    stretch: Stretch,
    condition: &str,
    take: &mut dyn FnMut(Record<'static>) -> bool,
) -> Result<(), JournalError> {
    let (mut kept, mut bytes) = (VecDeque::new(), 0);
    // Reading forwards would end at the first large record, not at the last.
    let ends_at_large = connection.end_at_large(false);
    let read = read_through(connection, stretch, condition, Direction::Forwards, &mut |record| {
        bytes += record_bytes(&record);
        kept.push_back(record);
        // The size of a batch: the first records beyond it are not needed yet.
        while let Some(first) =
            kept.front().map(record_bytes).filter(|first| bytes - first >= READ_BATCH_MAX_BYTES)
        {
            bytes -= first;
            kept.pop_front();
        }
        true
    });
    connection.end_at_large(ends_at_large);
    read?;
    while let Some(record) = kept.pop_back() {
        if !take(record) {
            break;
        }
    }
    Ok(())
}

/// The record at `offset`, where one has to be: a record that is missing or cannot be read is added to the damage.
/// `None` also for a large record that is left out.
pub(super) fn record_at(
    connection: &mut ReadConnection,
    offset: u64,
) -> Result<Option<Record<'static>>, JournalError> {
    let sql = format!("SELECT {} FROM record WHERE offset = ?1", columns_if("", connection.ends_at_large()));
    let read = connection.reading(|connection, reader| {
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query([number(offset)])?;
        match rows.next()? {
            Some(row) if reader.is_left_out(row)? => Ok(None),
            Some(row) => reader.read(row),
            None => {
                reader.damage.note(offset, offset, Damage::Missing);
                Ok(None)
            }
        }
    });
    match read {
        Err(error) if error.is_damage() => {
            connection.damage().unreadable(offset, offset, &error.to_string());
            Ok(None)
        }
        read => read,
    }
}

fn select(connection: &ReadConnection, condition: &str, direction: Direction) -> String {
    let order = if direction == Direction::Forwards { "ASC" } else { "DESC" };
    let columns = columns_if(condition, connection.ends_at_large());
    // `>=`: with `>`, SQLite would search for the record after the last one of a damaged page on that page.
    format!("SELECT {columns} FROM record WHERE offset >= ?1 AND offset <= ?2 ORDER BY offset {order}")
}
