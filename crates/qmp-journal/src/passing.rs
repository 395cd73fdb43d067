//! Reads a stretch of records, and goes on behind what is damaged: see [`rows`](super::rows). A row whose columns make no
//! record is passed over by [`RowReader::read`](super::row::RowReader::read).

use std::collections::VecDeque;

use qmp_wire::Record;

use super::columns::number;
use super::damage::Damage;
use super::error::JournalError;
use super::limits::READ_BATCH_MAX_BYTES;
use super::read::ReadConnection;
use super::row::columns_if;
use super::rows::{Direction, Run, Stretch, run, walk};
use super::scan::record_bytes;

/// Hands the records of `stretch` for which `condition` holds to `take`, until it returns `false`.
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
            run(connection, &sql, stretch, direction, &mut |row| reader.hand(row, take))
        });
        stretch = match run? {
            Run::Left(left, _) if !left.is_empty() => left,
            Run::Left(..) | Run::Enough => return Ok(()),
        };
        return backwards(connection, stretch, condition, take);
    }
    let sql = select(connection, condition, direction);
    connection.reading(|connection, reader| {
        let damage = reader.damage;
        walk(connection, &sql, stretch, &mut |row| reader.hand(row, take), &mut |first, last, error| {
            damage.note(first, last, damage_of(error));
        })
    })
}

/// Reads a damaged stretch from its end: what is wanted is found forwards, and the last of it is kept.
fn backwards(
    connection: &mut ReadConnection,
    stretch: Stretch,
    condition: &str,
    take: &mut dyn FnMut(Record<'static>) -> bool,
) -> Result<(), JournalError> {
    let (mut kept, mut bytes) = (VecDeque::new(), 0);
    // Forwards it would end at the first large record, and not at the last.
    let ends_at_large = connection.end_at_large(false);
    let read = read_through(connection, stretch, condition, Direction::Forwards, &mut |record| {
        bytes += record_bytes(&record);
        kept.push_back(record);
        // As much as a batch takes: of more, the first are not wanted yet.
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

/// The record at `offset`, where there has to be one: if it is missing or cannot be read, that is noted. None either if it is
/// large, and left out for that reason.
pub(super) fn record_at(
    connection: &mut ReadConnection,
    offset: u64,
) -> Result<Option<Record<'static>>, JournalError> {
    let sql = format!("SELECT {} FROM record WHERE offset = ?1", columns_if("", connection.ends_at_large()));
    let read = connection.reading(|connection, reader| {
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query([number(offset)])?;
        match rows.next()? {
            Some(row) if reader.leaves(row)? => Ok(None),
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

/// What is wrong with records that are not there.
fn damage_of(error: Option<&rusqlite::Error>) -> Damage {
    error.map_or(Damage::Missing, |error| Damage::Unreadable(error.to_string().into()))
}

fn select(connection: &ReadConnection, condition: &str, direction: Direction) -> String {
    let order = if direction == Direction::Forwards { "ASC" } else { "DESC" };
    let columns = columns_if(condition, connection.ends_at_large());
    // `>=`: SQLite would look for what is behind the last record of a damaged page on that page.
    format!("SELECT {columns} FROM record WHERE offset >= ?1 AND offset <= ?2 ORDER BY offset {order}")
}
