//! Reads a stretch of records, and passes over what cannot be read.
//!
//! A row whose columns make no record is passed over by [`ReadConnection::records`]. Where SQLite itself cannot read on,
//! because a page is damaged, the next readable record is found by ever wider steps, and then by halving.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use qmp_wire::Record;
use rusqlite::Connection;

use super::error::JournalError;
use super::limits::READ_BATCH_MAX_BYTES;
use super::read::{COLUMNS, ReadConnection};
use super::scan::{Direction, Stretch, record_bytes};
use super::store::{number, unsigned};

/// Hands the records of `stretch` for which `condition` holds to `enough`, until it says that it has enough.
pub(super) fn read_through(
    connection: &mut ReadConnection,
    stretch: Stretch,
    condition: &str,
    direction: Direction,
    enough: &mut dyn FnMut(Record<'static>) -> bool,
) -> Result<(), JournalError> {
    let order = if direction == Direction::Forwards { "ASC" } else { "DESC" };
    let sql = select(condition, order);
    let mut last = None;
    let read = connection.records(&sql, places(stretch), &mut |record| {
        last = record.offset;
        enough(record)
    });
    let error = match read {
        Err(error) if error.is_damage() => error,
        read => return read.map(drop),
    };
    // What was handed out is not read again.
    match (direction, last) {
        (Direction::Forwards, last) => {
            let after = last.map_or(stretch.after, |last| last.0);
            forwards(connection, Stretch { after, ..stretch }, condition, &error, enough).map(drop)
        }
        (Direction::Backwards, last) => {
            let upto = last.map_or(stretch.upto, |last| last.0 - 1);
            backwards(connection, Stretch { upto, ..stretch }, condition, &error, enough)
        }
    }
}

/// Reads forwards behind a damaged place; breaks when there is enough.
fn forwards(
    connection: &mut ReadConnection,
    mut stretch: Stretch,
    condition: &str,
    error: &JournalError,
    enough: &mut dyn FnMut(Record<'static>) -> bool,
) -> Result<ControlFlow<()>, JournalError> {
    let sql = select(condition, "ASC");
    while !stretch.is_empty() {
        let readable = readable_upto(connection, stretch)?;
        let before = Stretch { upto: readable, ..stretch };
        if !before.is_empty() {
            match connection.records(&sql, places(before), enough) {
                Ok(false) => return Ok(ControlFlow::Break(())),
                Ok(true) => {}
                // To see that there is no other row in the stretch, SQLite looks at the damaged one.
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        if readable >= stretch.upto {
            break;
        }
        let next = next_readable(connection.connection(), readable, stretch.upto);
        connection.damage().note(readable + 1, next - 1, &error.to_string());
        stretch.after = next - 1;
    }
    Ok(ControlFlow::Continue(()))
}

/// The same from the end: what is wanted is found forwards, and the last of it is kept.
fn backwards(
    connection: &mut ReadConnection,
    stretch: Stretch,
    condition: &str,
    error: &JournalError,
    enough: &mut dyn FnMut(Record<'static>) -> bool,
) -> Result<(), JournalError> {
    let (mut kept, mut bytes) = (VecDeque::new(), 0);
    let _ = forwards(connection, stretch, condition, error, &mut |record| {
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
    })?;
    while let Some(record) = kept.pop_back() {
        if !enough(record) {
            break;
        }
    }
    Ok(())
}

/// The last offset of `stretch` up to which SQLite can read every row.
fn readable_upto(connection: &ReadConnection, stretch: Stretch) -> Result<u64, JournalError> {
    let mut last = stretch.after;
    let read = connection.sql(|connection| {
        let mut statement = connection.prepare_cached(&select("", "ASC"))?;
        let mut rows = statement.query(places(stretch))?;
        while let Some(row) = rows.next()? {
            last = unsigned(row.get(0)?);
        }
        Ok(())
    });
    match read {
        Ok(()) => Ok(stretch.upto),
        Err(error) if error.is_damage() => Ok(last),
        Err(error) => Err(error),
    }
}

/// The first offset behind `damaged` that can be read; one more than `upto` if there is none.
pub(super) fn next_readable(connection: &Connection, damaged: u64, upto: u64) -> u64 {
    let behind = |after: u64| -> Option<u64> {
        let sql = format!("{} LIMIT 1", select("", "ASC"));
        let mut statement = connection.prepare_cached(&sql).ok()?;
        let mut rows = statement.query(places(Stretch { after, upto })).ok()?;
        match rows.next().ok()? {
            Some(row) => row.get(0).ok().map(unsigned),
            None => Some(upto + 1),
        }
    };
    let (mut unreadable, mut step) = (damaged, 1);
    let (mut readable, mut found) = loop {
        let after = damaged.saturating_add(step).min(upto);
        match behind(after) {
            Some(found) => break (after, found),
            None if after >= upto => return upto + 1,
            None => (unreadable, step) = (after, step.saturating_mul(2)),
        }
    };
    while readable - unreadable > 1 {
        let middle = unreadable + (readable - unreadable) / 2;
        match behind(middle) {
            Some(first) => (readable, found) = (middle, first),
            None => unreadable = middle,
        }
    }
    found
}

/// `>=`: SQLite would look for what is behind the last record of a damaged page on that page.
fn select(condition: &str, order: &str) -> String {
    format!(
        "SELECT {COLUMNS} FROM record WHERE offset >= ?1 AND offset <= ?2{condition} ORDER BY offset {order}"
    )
}

fn places(stretch: Stretch) -> (i64, i64) {
    (number(stretch.after + 1), number(stretch.upto))
}
