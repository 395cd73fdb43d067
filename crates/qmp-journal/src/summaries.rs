//! The rows of `summary`: one for each sealed segment, and one for what held before the first.

use rusqlite::Connection;

use super::columns::{number, unsigned};
use super::summary::{StandingConditions, Summary, read_changes};

/// Writes the summary of the segment that ends at `last`. What holds after it was derived from the one that this one replaces,
/// and is removed.
pub(super) fn put_summary(
    connection: &Connection,
    last: u64,
    version: u32,
    summary: &Summary,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO summary (segment, version, earliest, changes, counts) VALUES (?1, ?2, ?3, ?4, ?5) \
               ON CONFLICT DO UPDATE SET version = excluded.version, earliest = excluded.earliest, \
               changes = excluded.changes, counts = excluded.counts, standing = NULL";
    let Summary { earliest, changes, counts } = summary;
    connection.prepare_cached(sql)?.execute((number(last), version, earliest, changes, counts)).map(drop)
}

/// Adds what holds after a segment to its summary.
pub(super) fn put_standing(connection: &Connection, last: u64, standing: &[u8]) -> rusqlite::Result<()> {
    let sql = "UPDATE summary SET standing = ?2 WHERE segment = ?1";
    connection.prepare_cached(sql)?.execute((number(last), standing)).map(drop)
}

/// Removes the summaries of the segments that end at `first` to `upto`. The row of the last one stays, with what holds after
/// it and nothing else.
pub(super) fn remove_summaries(connection: &Connection, first: i64, upto: i64) -> rusqlite::Result<()> {
    let sql = "SELECT summary.segment, coalesce(segment.first, 0), standing, changes FROM summary \
               LEFT JOIN segment ON segment.last = summary.segment WHERE summary.segment <= ?1 ORDER BY summary.segment";
    let mut standing = StandingConditions::default();
    let mut last = None;
    {
        let mut select = connection.prepare_cached(sql)?;
        let mut rows = select.query([upto])?;
        while let Some(row) = rows.next()? {
            let segment: i64 = row.get(0)?;
            let held = row.get_ref(2)?.as_blob_or_null().ok().flatten().and_then(StandingConditions::read);
            if let Some(held) = held {
                standing = held;
            } else if let Ok(changes) = row.get_ref(3)?.as_blob() {
                // Changes that cannot be read are left out.
                let _ =
                    read_changes(changes, unsigned(row.get(1)?), |_| true, |change| standing.apply(&change));
            }
            last = Some(segment);
        }
    }
    let Some(last) = last.filter(|last| *last >= first) else { return Ok(()) };
    connection.prepare_cached("DELETE FROM summary WHERE segment < ?1")?.execute([last])?;
    let keep =
        "UPDATE summary SET earliest = NULL, standing = ?2, changes = x'', counts = x'' WHERE segment = ?1";
    standing.trim();
    connection.prepare_cached(keep)?.execute((last, standing.write())).map(drop)
}

/// The version of a summary; `None` without a summary, and for one whose version cannot be read: the summary is made again.
pub(super) fn summary_version(row: &rusqlite::Row<'_>, index: usize) -> Option<u32> {
    row.get(index).ok().flatten()
}
