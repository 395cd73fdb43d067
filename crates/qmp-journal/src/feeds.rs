//! The tables of positions, which are written in the transaction of the records that they include.
//!
//! The tables are not part of the format: programs that do not know them still read the file.

use qmp_wire::{Offset, QualifiedName, UnixMicros};
use rusqlite::{Connection, Transaction};

use super::columns::{number, unsigned};
use super::feed::{Feed, Positions, StreamPosition};

const TABLES: &str = "CREATE TABLE IF NOT EXISTS feed (journal TEXT PRIMARY KEY, host TEXT NOT NULL, \
    offset INTEGER NOT NULL, received INTEGER NOT NULL) WITHOUT ROWID; \
    CREATE TABLE IF NOT EXISTS stream_position (stream TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID";

/// Creates the tables if they are missing.
pub(super) fn create(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    // The check comes first, so that opening a journal that has the tables writes nothing.
    let sql = "SELECT count(*) FROM sqlite_schema WHERE name IN ('feed', 'stream_position')";
    match transaction.query_row(sql, [], |row| row.get(0))? {
        2 => Ok(()),
        _ => transaction.execute_batch(TABLES),
    }
}

/// Writes positions; a later one of the same journal or stream replaces an earlier one.
pub(super) fn write(connection: &Connection, positions: &[&Positions]) -> rusqlite::Result<()> {
    for positions in positions {
        let sql = "REPLACE INTO feed (journal, host, offset, received) VALUES (?1, ?2, ?3, ?4)";
        let mut replace = connection.prepare_cached(sql)?;
        for Feed { journal, host, offset, received } in positions.feeds() {
            replace.execute((journal, host, number(offset.0), received.0))?;
        }
        let sql = "REPLACE INTO stream_position (stream, sequence) VALUES (?1, ?2)";
        let mut replace = connection.prepare_cached(sql)?;
        for (stream, sequence) in positions.streams() {
            replace.execute((stream, number(sequence)))?;
        }
    }
    Ok(())
}

/// The positions of foreign journals, by host and name; none in a file that no hub has opened since the table exists.
pub(super) fn read(connection: &Connection) -> rusqlite::Result<Vec<Feed>> {
    let sql = "SELECT journal, host, offset, received FROM feed ORDER BY host, journal";
    read_rows(connection, sql, |row| {
        let (offset, received) = (Offset(unsigned(row.get(2)?)), UnixMicros(row.get(3)?));
        Ok(Feed { journal: row.get(0)?, host: row.get(1)?, offset, received })
    })
}

/// The positions of streams, by name.
pub(super) fn read_streams(connection: &Connection) -> rusqlite::Result<Vec<StreamPosition>> {
    let sql = "SELECT stream, sequence FROM stream_position ORDER BY stream";
    read_rows(connection, sql, |row| {
        Ok(StreamPosition { stream: row.get(0)?, sequence: unsigned(row.get(1)?) })
    })
}

fn read_rows<T>(
    connection: &Connection,
    sql: &str,
    read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    match connection.prepare_cached(sql) {
        Ok(mut select) => select.query_map([], read)?.collect(),
        Err(error) if error.to_string().contains("no such table") => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The faults of rows that no hub writes, as texts for users.
pub(super) fn faults(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let is_host = |host: &str| QualifiedName::join(host, "vm").is_some();
    let feeds = read(connection)?;
    let foreign = feeds.iter().filter(|feed| feed.journal.is_empty() || !is_host(&feed.host));
    let mut faults: Vec<String> = foreign
        .map(|Feed { journal, host, .. }| format!("the row of `feed` of {journal:?} names the host {host:?}"))
        .collect();
    for (table, column) in [("feed", "offset"), ("stream_position", "sequence")] {
        let sql = format!("SELECT count(*) FROM {table} WHERE typeof({column}) <> 'integer' OR {column} < 0");
        let rows = read_rows(connection, &sql, |row| row.get::<_, i64>(0))?.into_iter().sum::<i64>();
        if rows > 0 {
            faults.push(format!("{rows} rows of `{table}` have no valid {column}"));
        }
    }
    Ok(faults)
}
