//! Records as a summary has them: read in order, without making records of them.

use rusqlite::{Connection, Row};

use super::body::RecordKind;
use super::columns::unsigned;
use super::damage::is_damage;
use super::digest::{Digest, DigestResult};
use super::row::{NameCache, name};
use super::rows::{Stretch, walk};

/// A record without its texts.
#[derive(Clone, Debug)]
pub(super) struct LightRecord {
    pub(super) offset: u64,
    pub(super) vm: u32,
    /// The id of the event's name, or of the kind.
    pub(super) name: u32,
    pub(super) received: i64,
    pub(super) digested: DigestResult,
}

const SQL: &str = "SELECT offset, vm, kind, received, event, data FROM record \
                   WHERE offset >= ?1 AND offset <= ?2 ORDER BY offset";

/// Passes the records of `stretch` to `take`. Records that cannot be read, and spans without a record, are passed to
/// `missing`.
pub(super) fn read_light(
    connection: &Connection,
    names: &mut NameCache,
    digest: &dyn Digest,
    stretch: Stretch,
    take: &mut dyn FnMut(LightRecord),
    missing: &dyn Fn(u64, u64, Option<&rusqlite::Error>),
) -> rusqlite::Result<()> {
    let mut take_row = |row: &Row<'_>| {
        match light(connection, names, digest, row) {
            Ok(record) => take(record),
            Err(error) if is_damage(&error) => {
                let offset = unsigned(row.get(0)?);
                missing(offset, offset, Some(&error));
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    };
    walk(connection, SQL, stretch, &mut take_row, &mut |first, last, error| missing(first, last, error))
}

fn light(
    connection: &Connection,
    names: &mut NameCache,
    digest: &dyn Digest,
    row: &Row<'_>,
) -> rusqlite::Result<LightRecord> {
    let kind: i64 = row.get(2)?;
    let kind = RecordKind::from_id(kind).ok_or(rusqlite::Error::IntegralValueOutOfRange(2, kind))?;
    let (received, event): (i64, Option<u32>) = (row.get(3)?, row.get(4)?);
    let event_name = event.map(|event| name(connection, names, event)).transpose()?;
    let data = row.get_ref(5)?.as_str_or_null()?;
    Ok(LightRecord {
        offset: unsigned(row.get(0)?),
        vm: row.get(1)?,
        name: event.unwrap_or(kind.id()),
        received,
        digested: DigestResult::of(digest, received, kind, event_name, data),
    })
}
