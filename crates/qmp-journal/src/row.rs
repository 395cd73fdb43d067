//! Makes records of rows.

use std::collections::HashMap;

use qmp_wire::{Body, Epoch, Offset, Record, Seq, UnixMicros};
use rusqlite::{Connection, Row};

use super::body::{self, RecordKind};
use super::columns::{EventTime, unsigned};
use super::damage::{DamageLog, is_damage};
use super::limits::{LARGE_RECORD_BYTES, NAMES_CACHED_MAX_BYTES};
use super::names::cached_bytes;
use super::sent_names;

/// The columns that [`RowReader::read`] reads, in its order: a record if `condition` holds, ` AND …` or nothing.
///
/// Rows that do not match are selected without their data, so that a reader sees that no row is missing. With
/// `end_at_large`, SQLite does not read the data of a large record, either.
pub(super) fn columns_if(condition: &str, end_at_large: bool) -> String {
    let data = match (condition, end_at_large) {
        ("", false) => "data".into(),
        (_, false) => format!("CASE WHEN 1{condition} THEN data END"),
        (_, true) => {
            format!("CASE WHEN 1{condition} AND octet_length(data) <= {LARGE_RECORD_BYTES} THEN data END")
        }
    };
    format!(
        "offset, vm, epoch, seq, kind, received, event, event_time, {data}, 1{condition}, octet_length(data)"
    )
}

/// A record that was not read because its data is large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LargeRecord {
    /// The offset of the record.
    pub offset: Offset,
    /// The length of its data, in bytes.
    pub data_bytes: usize,
}

/// Reads records from rows of [`columns_if`].
pub(super) struct RowReader<'r> {
    pub(super) connection: &'r Connection,
    pub(super) names: &'r mut NameCache,
    pub(super) damage: &'r DamageLog,
    pub(super) ends_at_large: bool,
    pub(super) large: &'r mut Option<LargeRecord>,
}

/// Names by their ids, up to [`NAMES_CACHED_MAX_BYTES`].
#[derive(Debug, Default)]
pub(super) struct NameCache {
    by_id: HashMap<u32, Box<str>>,
    bytes: usize,
}

impl RowReader<'_> {
    /// Passes the record of a row to `take`, if there is one. Returns whether to read on: what `take` returns, and
    /// `false` at a large record.
    pub(super) fn pass_record(
        &mut self,
        row: &Row<'_>,
        take: &mut dyn FnMut(Record<'static>) -> bool,
    ) -> rusqlite::Result<bool> {
        if self.is_left_out(row)? {
            return Ok(false);
        }
        Ok(self.read(row)?.is_none_or(take))
    }

    /// Whether the record of a row matches, and is left out because it is large.
    pub(super) fn is_left_out(&mut self, row: &Row<'_>) -> rusqlite::Result<bool> {
        if !self.ends_at_large || row.get::<_, Option<bool>>(9)? != Some(true) {
            return Ok(false);
        }
        let data_bytes = row.get::<_, Option<i64>>(10)?.map_or(0, unsigned);
        let Some(data_bytes) = usize::try_from(data_bytes).ok().filter(|bytes| *bytes > LARGE_RECORD_BYTES)
        else {
            return Ok(false);
        };
        *self.large = Some(LargeRecord { offset: Offset(unsigned(row.get(0)?)), data_bytes });
        Ok(true)
    }

    /// The record of a row; `None` for a row that does not match, or that makes no record, which is added to the
    /// damage.
    pub(super) fn read(&mut self, row: &Row<'_>) -> rusqlite::Result<Option<Record<'static>>> {
        let offset = unsigned(row.get(0)?);
        let is_match = |row: &Row<'_>| row.get::<_, Option<bool>>(9).map(|matches| matches == Some(true));
        let read = columns(row).and_then(|found| match is_match(row)? {
            true => record(self.connection, self.names, row, &found).map(|read| read.map(Some)),
            // It might be a match whose numbers were overwritten.
            false => check(self.connection, self.names, &found).map(|read| read.map(|()| None)),
        });
        match read {
            Ok(Ok(record)) => Ok(record),
            Ok(Err(what)) => {
                self.damage.unreadable(offset, offset, &what);
                Ok(None)
            }
            Err(error) if is_damage(&error) => {
                self.damage.unreadable(offset, offset, &column_error(&error));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// The columns that are numbers.
struct Numbers {
    offset: u64,
    vm: u32,
    kind: i64,
    event: Option<u32>,
}

fn columns(row: &Row<'_>) -> rusqlite::Result<Numbers> {
    Ok(Numbers { offset: unsigned(row.get(0)?), vm: row.get(1)?, kind: row.get(4)?, event: row.get(6)? })
}

/// Checks the numbers of a record that is not read.
fn check(
    connection: &Connection,
    names: &mut NameCache,
    found: &Numbers,
) -> rusqlite::Result<Result<(), String>> {
    if RecordKind::from_id(found.kind).is_none() {
        return Ok(Err(unknown_kind(found.kind)));
    }
    for id in std::iter::once(found.vm).chain(found.event) {
        name(connection, names, id)?;
    }
    Ok(Ok(()))
}

fn unknown_kind(kind: i64) -> String {
    format!("there is no kind {kind}")
}

fn record(
    connection: &Connection,
    names: &mut NameCache,
    row: &Row<'_>,
    found: &Numbers,
) -> rusqlite::Result<Result<Record<'static>, String>> {
    let Some(kind) = RecordKind::from_id(found.kind) else {
        return Ok(Err(unknown_kind(found.kind)));
    };
    let Some(timestamp) = EventTime::read(row.get_ref(7)?) else {
        return Ok(Err("event_time is neither a number nor SECONDS.MICROSECONDS".into()));
    };
    let vm = name(connection, names, found.vm)?.to_owned();
    let event = found.event.map(|event| event_name(connection, names, event, found.offset)).transpose()?;
    let body = match body::read(kind, event, timestamp, row.get_ref(8)?.as_str_or_null()?) {
        Ok(body) => body,
        Err(what) => return Ok(Err(what)),
    };
    Ok(Ok(Record {
        offset: Some(Offset(found.offset)),
        vm: vm.into(),
        epoch: Epoch(row.get(2)?),
        seq: Seq(unsigned(row.get(3)?)),
        received: UnixMicros(row.get(5)?),
        body,
    }))
}

/// The text of an error in a column, for people.
fn column_error(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::QueryReturnedNoRows => "the name of its VM or event is missing".into(),
        error => error.to_string(),
    }
}

/// The name of an event, and the name as sent if it was shortened.
fn event_name<'n>(
    connection: &Connection,
    names: &'n mut NameCache,
    id: u32,
    offset: u64,
) -> rusqlite::Result<(&'n str, Option<Box<str>>)> {
    let name = name(connection, names, id)?;
    Ok((name, sent_names::read(connection, offset, name)?))
}

/// The name of an id.
pub(super) fn name<'n>(
    connection: &Connection,
    names: &'n mut NameCache,
    id: u32,
) -> rusqlite::Result<&'n str> {
    if !names.by_id.contains_key(&id) {
        let found = connection
            .prepare_cached("SELECT name FROM name WHERE id = ?1")?
            .query_row([id], |row| row.get::<_, Box<str>>(0))?;
        if names.bytes > 0 && names.bytes + cached_bytes(&found) > NAMES_CACHED_MAX_BYTES {
            *names = NameCache::default();
        }
        names.bytes += cached_bytes(&found);
        names.by_id.insert(id, found);
    }
    Ok(&names.by_id[&id])
}

/// The memory of a record, in bytes.
pub(super) fn record_bytes(record: &Record<'_>) -> usize {
    size_of::<Record<'_>>() + record.vm.len() + text_bytes(&record.body)
}

fn text_bytes(body: &Body<'_>) -> usize {
    let len = |text: &Option<std::borrow::Cow<'_, str>>| text.as_ref().map_or(0, |text| text.len());
    match body {
        Body::Attached { snapshot } => snapshot.len(),
        Body::Event { name, sent_name, data, .. } => name.len() + len(sent_name) + len(data),
        Body::Finding { finding, summary, causes, data } => {
            finding.len() + summary.len() + size_of_val(causes.as_slice()) + len(data)
        }
        Body::Detached { detail, .. } => len(detail),
    }
}
