//! Finds the records of a query in a stretch of the journal, forwards or backwards.
//!
//! Segments that the time excludes are passed over. In the others the postings of the wanted names say where a
//! match can be; few such places are visited one by one, many by reading the segment through. The records
//! behind the last seal have no postings and are read through.

use qmp_wire::{Body, Offset, Record};
use rusqlite::OptionalExtension as _;

use super::error::JournalError;
use super::filter::Filter;
use super::limits::{READ_BATCH_MAX_BYTES, READ_SEGMENTS_MAX};
use super::passing::read_through;
use super::read::{COLUMNS, ReadConnection};
use super::segment;
use super::store::{number, unsigned};

/// Reading a segment through costs as much as visiting one in so many of its records.
const VISIT_ONE_IN: u64 = 8;

/// From which end a stretch is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Forwards,
    Backwards,
}

/// Offsets that are yet to be read: after the one, up to and including the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) after: u64,
    pub(super) upto: u64,
}

/// What was found, in the order of reading.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) records: Vec<Record<'static>>,
    bytes: usize,
}

/// One segment, or the records behind the last one.
#[derive(Clone, Copy, Debug)]
struct Part {
    stretch: Stretch,
    /// First and last offset of the segment.
    sealed: Option<(u64, u64)>,
}

impl Stretch {
    pub(super) fn is_empty(self) -> bool {
        self.after >= self.upto
    }

    fn clip(self, other: Self) -> Self {
        Self { after: self.after.max(other.after), upto: self.upto.min(other.upto) }
    }

    /// What is left when `done` has been read.
    fn without(self, done: Self, direction: Direction) -> Self {
        match direction {
            Direction::Forwards => Self { after: done.upto, ..self },
            Direction::Backwards => Self { upto: done.after, ..self },
        }
    }
}

impl Found {
    /// Whether no more is to be added.
    pub(super) fn is_full(&self, max: usize) -> bool {
        self.records.len() >= max || self.bytes >= READ_BATCH_MAX_BYTES
    }

    fn add(&mut self, record: Record<'static>) {
        self.bytes += record_bytes(&record);
        self.records.push(record);
    }
}

/// Reads on in `stretch` until `found` has `max` records or some segments were read; returns what is left.
pub(super) fn read_on(
    connection: &mut ReadConnection,
    filter: &mut Filter,
    stretch: Stretch,
    direction: Direction,
    max: usize,
    found: &mut Found,
) -> Result<Stretch, JournalError> {
    connection.sql(|connection| filter.refresh(connection))?;
    let parts = match parts(connection, filter, stretch, direction) {
        // The list of segments cannot be read: without it the records are read through.
        Err(error) if error.is_damage() => {
            connection.damage().note(stretch.after + 1, stretch.after + 1, &error.to_string());
            vec![Part { stretch, sealed: None }]
        }
        parts => parts?,
    };
    let mut left = stretch;
    for part in &parts {
        if let Some(last) = read_part(connection, filter, *part, direction, max, found)? {
            let done = match direction {
                Direction::Forwards => Stretch { after: 0, upto: last },
                Direction::Backwards => Stretch { after: last - 1, upto: left.upto },
            };
            return Ok(left.without(done, direction));
        }
        left = left.without(part.stretch, direction);
    }
    // Fewer parts than asked for: there are no others in the stretch.
    let exhausted = parts.len() < READ_SEGMENTS_MAX;
    Ok(if exhausted { Stretch { after: stretch.upto, upto: stretch.upto } } else { left })
}

/// The next parts of `stretch` that can hold a match.
fn parts(
    connection: &ReadConnection,
    filter: &Filter,
    stretch: Stretch,
    direction: Direction,
) -> Result<Vec<Part>, JournalError> {
    let sealed = connection.sealed()?;
    let behind = stretch.clip(Stretch { after: sealed, upto: u64::MAX });
    let behind = (!behind.is_empty()).then_some(Part { stretch: behind, sealed: None });
    let order = if direction == Direction::Forwards { "ASC" } else { "DESC" };
    let sql = format!(
        "SELECT first, last FROM segment WHERE last > ?1 AND first <= ?2{} ORDER BY last {order} LIMIT ?3",
        filter.segment_sql(),
    );
    let mut parts: Vec<Part> =
        if direction == Direction::Backwards { behind.into_iter().collect() } else { vec![] };
    let wanted = READ_SEGMENTS_MAX - parts.len();
    connection.sql(|connection| {
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows =
            statement.query((number(stretch.after), number(stretch.upto), number(wanted as u64)))?;
        while let Some(row) = rows.next()? {
            let (first, last): (i64, i64) = (row.get(0)?, row.get(1)?);
            let (first, last) = (unsigned(first).max(1), unsigned(last));
            let within = stretch.clip(Stretch { after: first - 1, upto: last });
            parts.push(Part { stretch: within, sealed: Some((first, last)) });
        }
        Ok(())
    })?;
    if direction == Direction::Forwards && parts.len() < READ_SEGMENTS_MAX {
        parts.extend(behind);
    }
    Ok(parts)
}

/// Reads one part; returns the last offset that was read if `found` became full before its end.
fn read_part(
    connection: &mut ReadConnection,
    filter: &Filter,
    part: Part,
    direction: Direction,
    max: usize,
    found: &mut Found,
) -> Result<Option<u64>, JournalError> {
    let mut take = |record: Record<'static>| {
        let offset = record.offset.map_or(0, |offset| offset.0);
        if filter.query().matches_data(&record.body) {
            found.add(record);
        }
        found.is_full(max).then_some(offset)
    };
    let mut full_at = None;
    let mut enough = |record| {
        full_at = take(record);
        full_at.is_none()
    };
    let places = match places(connection, filter, part) {
        // The index of the segment cannot be read: the records can.
        Err(error) if error.is_damage() => {
            let first = part.sealed.map_or(part.stretch.after + 1, |(first, _)| first);
            connection.damage().note(first, first, &error.to_string());
            None
        }
        places => places?,
    };
    match places {
        Some(mut offsets) => {
            if direction == Direction::Backwards {
                offsets.reverse();
            }
            let sql = format!("SELECT {COLUMNS} FROM record WHERE offset = ?1{}", filter.sql());
            for offset in offsets {
                match connection.records(&sql, [number(offset)], &mut enough) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) if error.is_damage() => {
                        connection.damage().note(offset, offset, &error.to_string());
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        None => read_through(connection, part.stretch, filter.sql(), direction, &mut enough)?,
    }
    Ok(full_at)
}

/// The offsets in `part` at which a match can be; `None` when they are better found by reading it through.
fn places(
    connection: &ReadConnection,
    filter: &Filter,
    part: Part,
) -> Result<Option<Vec<u64>>, JournalError> {
    let Some((first, last)) = part.sealed else { return Ok(None) };
    let mut common: Option<Vec<u64>> = None;
    for names in filter.posted() {
        let mut places = Vec::new();
        for name in names {
            places.extend(posting(connection, first, last, *name)?);
        }
        places.sort_unstable();
        common = Some(match common {
            Some(common) => {
                common.into_iter().filter(|offset| places.binary_search(offset).is_ok()).collect()
            }
            None => places,
        });
        if common.as_ref().is_some_and(Vec::is_empty) {
            break;
        }
    }
    let Stretch { after, upto } = part.stretch;
    let within = common.map(|mut offsets| {
        offsets.retain(|offset| (after + 1..=upto).contains(offset));
        offsets
    });
    Ok(within.filter(|offsets| (offsets.len() as u64) < (upto - after).div_ceil(VISIT_ONE_IN)))
}

fn posting(connection: &ReadConnection, first: u64, last: u64, name: u32) -> Result<Vec<u64>, JournalError> {
    let damaged = || JournalError::Damaged {
        offset: Offset(last),
        what: "its segment has a posting that is none".into(),
    };
    let found = connection.sql(|connection| {
        connection
            .prepare_cached("SELECT offsets FROM posting WHERE segment = ?1 AND name = ?2")?
            .query_row((number(last), name), |row| {
                Ok(row.get_ref(0)?.as_blob().ok().and_then(|bytes| segment::offsets(first, bytes)))
            })
            .optional()
    })?;
    match found {
        Some(offsets) => offsets.ok_or_else(damaged),
        None => Ok(Vec::new()),
    }
}

/// What a record takes in memory, in bytes.
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
