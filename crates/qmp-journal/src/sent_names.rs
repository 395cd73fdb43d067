//! Names of events as servers sent them, for the few records whose `event` is shortened.
//!
//! The names have their own table: the names of all other records are ids of a short list, and a column for these few
//! would cost every record a byte. Such a name is removed with its record.

use qmp_wire::EventName;
use rusqlite::{Connection, OptionalExtension as _, Transaction};

use super::columns::number;
use super::numbering::Row;

/// The table, and the index that finds names without records. The two are not part of the format: programs that do not
/// know them still read the file.
const TABLES: &str = "CREATE TABLE IF NOT EXISTS sent_name (offset INTEGER PRIMARY KEY, name TEXT NOT NULL); \
    CREATE INDEX IF NOT EXISTS tally_event ON tally (event)";

/// Creates the tables if they are missing.
pub(super) fn create(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    // The check comes first, so that opening a journal that has the tables writes nothing.
    let found: u32 = transaction.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE name IN ('sent_name', 'tally_event')",
        [],
        |row| row.get(0),
    )?;
    if found < 2 { transaction.execute_batch(TABLES) } else { Ok(()) }
}

/// Writes the names of those records that have one.
pub(super) fn write(connection: &Connection, rows: &[Row<'_>]) -> rusqlite::Result<()> {
    for row in rows {
        if let Some(sent) = row.sent_name {
            connection
                .prepare_cached("INSERT INTO sent_name (offset, name) VALUES (?1, ?2)")?
                .execute((number(row.offset), sent))?;
        }
    }
    Ok(())
}

/// Reads the name of the record at `offset`, whose event is `name`.
pub(super) fn read(connection: &Connection, offset: u64, name: &str) -> rusqlite::Result<Option<Box<str>>> {
    if !EventName::may_be_shortened(name) {
        return Ok(None);
    }
    let mut select = match connection.prepare_cached("SELECT name FROM sent_name WHERE offset = ?1") {
        Ok(select) => select,
        // A file that no hub has opened since this table exists.
        Err(error) if error.to_string().contains("no such table") => return Ok(None),
        Err(error) => return Err(error),
    };
    select.query_row([number(offset)], |row| row.get(0)).optional()
}

/// Removes the names of the records of `first..=upto`.
pub(super) fn remove(connection: &Connection, first: i64, upto: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM sent_name WHERE offset BETWEEN ?1 AND ?2")?
        .execute([first, upto])
        .map(drop)
}
