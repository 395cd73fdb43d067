//! The first and the last offset of a journal, also if their rows are damaged.

use rusqlite::Connection;

use super::columns::{SEALED, number, unsigned};
use super::damage::is_damage;
use super::limits::SEARCHED_RECORDS;
use super::rows::{lost_spans, next_readable};

/// The last assigned offset, as far as the file shows.
///
/// If the offset of the last row is damaged, the head is the one after the row before it.
pub(super) fn head(connection: &Connection) -> rusqlite::Result<u64> {
    let one = |sql: &str| connection.prepare_cached(sql)?.query_row([], |row| row.get(0).map(unsigned));
    let lost = one("SELECT coalesce(max(last), 0) FROM lost")?;
    let head = match two_offsets(connection, "DESC") {
        Ok((None, _)) => one("SELECT coalesce(max(last), 0) FROM vm")?,
        Ok((Some(last), Some(before))) if last <= before => before.saturating_add(1),
        Ok((Some(last), _)) => last,
        // The last page is damaged: its readable rows are found offset by offset.
        Err(error) if is_damage(&error) => {
            let mut readable = one(SEALED)?.max(lost);
            loop {
                match next_readable(connection, readable, readable.saturating_add(SEARCHED_RECORDS)) {
                    next if next > readable.saturating_add(SEARCHED_RECORDS) => break,
                    next => readable = next,
                }
            }
            readable.saturating_add(1)
        }
        Err(error) => return Err(error),
    };
    Ok(head.max(lost))
}

/// The first offset that is kept; one more than the head if the journal is empty.
pub(super) fn first(connection: &Connection) -> rusqlite::Result<u64> {
    let kept = connection
        .prepare_cached("SELECT first FROM kept")
        .and_then(|mut select| select.query_row([], |row| row.get(0).map(unsigned)));
    let mut first = match kept {
        Ok(kept) => match first_row(connection)? {
            Some(row) => row.min(kept),
            None => kept,
        },
        // A file that no hub has opened since this table exists, or a damaged one.
        Err(error) if is_damage(&error) || error.to_string().contains("no such table") => {
            first_by_rows(connection)?
        }
        Err(error) => return Err(error),
    };
    for (begin, end) in lost_spans(connection) {
        if (begin..=end).contains(&first) {
            first = end.saturating_add(1);
        }
    }
    Ok(first.max(1))
}

/// Creates the table with the first kept offset if it is missing.
pub(super) fn create_kept(connection: &Connection) -> rusqlite::Result<()> {
    // The check comes first, so that opening a journal that has the table writes nothing.
    if connection.prepare("SELECT first FROM kept").and_then(|mut kept| kept.exists([])) == Ok(true) {
        return Ok(());
    }
    connection.execute_batch("CREATE TABLE IF NOT EXISTS kept (first INTEGER NOT NULL)")?;
    let first = number(first_by_rows(connection)?.max(1));
    connection.execute("INSERT INTO kept (first) VALUES (?1)", [first]).map(drop)
}

/// Records that everything before `first` is removed.
pub(super) fn keep_from(connection: &Connection, first: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE kept SET first = ?1")?.execute([first]).map(drop)
}

/// The first offset that is kept, in a file that does not record it.
///
/// Retention removes whole segments, the first one piece by piece: records missing before a row of the first segment
/// were removed.
fn first_by_rows(connection: &Connection) -> rusqlite::Result<u64> {
    let found = first_row(connection)?;
    let segments = connection
        .prepare_cached("SELECT min(first), min(last) FROM segment")
        .and_then(|mut select| select.query_row([], |row| Ok((row.get(0)?, row.get(1)?))))
        .or_else(|error| if is_damage(&error) { Ok((None, None)) } else { Err(error) })?;
    let (least, most) = match segments {
        (Some(first), Some(last)) => (unsigned(first), unsigned(last)),
        _ => {
            let sealed: i64 = connection.prepare_cached(SEALED)?.query_row([], |row| row.get(0))?;
            let after_sealed = unsigned(sealed).saturating_add(1);
            (after_sealed, after_sealed)
        }
    };
    Ok(found.filter(|found| *found <= most).unwrap_or(least))
}

/// The offset of the first row; `None` if there is no row, or if the row after it has a lower offset.
fn first_row(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    match two_offsets(connection, "ASC") {
        Ok((first, next)) => Ok(first.filter(|first| *first >= 1 && next.is_none_or(|next| *first < next))),
        Err(error) if is_damage(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The offsets of the first two rows in the order of the table, or of the last two.
fn two_offsets(connection: &Connection, order: &str) -> rusqlite::Result<(Option<u64>, Option<u64>)> {
    let sql = format!("SELECT offset FROM record ORDER BY offset {order} LIMIT 2");
    let mut select = connection.prepare_cached(&sql)?;
    let mut rows = select.query([])?;
    let mut next = || rows.next()?.map(|row| row.get(0).map(unsigned)).transpose();
    Ok((next()?, next()?))
}
