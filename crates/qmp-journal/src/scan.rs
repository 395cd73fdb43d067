//! Finds the records that match a query in a stretch of the journal, forwards or backwards.
//!
//! Segments outside the time range are skipped. In the others the postings of the matching names give the candidate
//! offsets; few candidates are read one by one, many by scanning the segment. The records after the last seal have no
//! postings and are scanned. An index that does not fit its segment is not used.

use qmp_wire::{Offset, Record};
use rusqlite::OptionalExtension as _;

use super::columns::{number, unsigned};
use super::damage::{Damage, is_damage};
use super::error::JournalError;
use super::filter::Filter;
use super::limits::{READ_BATCH_MAX_BYTES, READ_SEGMENTS_MAX};
use super::passing::{read_through, record_at};
use super::read::ReadConnection;
use super::row::{LargeRecord, name, record_bytes};
use super::rows::{Direction, Stretch, lost_spans, without};
use super::segment;

/// A scan of a segment costs as much as reading one in this many of its records by offset.
const VISIT_ONE_IN: u64 = 8;

/// The matches, in the order of reading.
#[derive(Debug)]
pub(super) struct Matches {
    pub(super) records: Vec<Record<'static>>,
    /// The offsets of the matches, if only these are needed.
    pub(super) offsets: Vec<Offset>,
    keeps_records: bool,
    bytes: usize,
    max_bytes: usize,
}

/// One segment, or the records between or after segments.
#[derive(Clone, Copy, Debug)]
struct Part {
    stretch: Stretch,
    /// First and last offset of the segment.
    sealed: Option<(u64, u64)>,
}

impl Default for Matches {
    fn default() -> Self {
        Self::within(READ_BATCH_MAX_BYTES)
    }
}

impl Matches {
    /// Collects records of `max_bytes` of memory, and the one that exceeds it.
    pub(super) const fn within(max_bytes: usize) -> Self {
        Self { records: Vec::new(), offsets: Vec::new(), keeps_records: true, bytes: 0, max_bytes }
    }

    /// Collects offsets only.
    pub(super) fn offsets() -> Self {
        Self { keeps_records: false, ..Self::within(usize::MAX) }
    }

    /// Whether no more records are to be added.
    pub(super) fn is_full(&self, max: usize) -> bool {
        self.len() >= max || self.bytes >= self.max_bytes
    }

    /// The number of records or offsets: a collection has only one of them.
    fn len(&self) -> usize {
        self.records.len() + self.offsets.len()
    }

    /// Removes the matches after the first `records`.
    fn truncate(&mut self, records: usize) {
        self.offsets.truncate(records);
        let beyond = self.records.drain(records.min(self.records.len())..);
        self.bytes -= beyond.map(|record| record_bytes(&record)).sum::<usize>();
    }

    fn add(&mut self, record: Record<'static>) {
        if self.keeps_records {
            self.bytes += record_bytes(&record);
            self.records.push(record);
        } else {
            self.offsets.extend(record.offset);
        }
    }
}

/// Reads on in `stretch` until `found` has `max` records, some segments were read, or a large record is to be left out;
/// returns the rest of the stretch.
pub(super) fn read_on(
    connection: &mut ReadConnection,
    filter: &mut Filter,
    stretch: Stretch,
    direction: Direction,
    max: usize,
    found: &mut Matches,
) -> Result<Stretch, JournalError> {
    connection.sql(|connection| filter.refresh(connection))?;
    let (parts, left) = match parts(connection, filter, stretch, direction) {
        // The list of segments cannot be read: without it the records are scanned.
        Err(error) if error.is_damage() => {
            let index = Damage::Index(error.to_string().into());
            connection.damage().note(stretch.after + 1, stretch.upto, index);
            (vec![Part { stretch, sealed: None }], Stretch { after: stretch.upto, upto: stretch.upto })
        }
        parts => parts?,
    };
    for part in &parts {
        if let Some(last) = read_part(connection, filter, *part, direction, max, found)? {
            return Ok(match direction {
                Direction::Forwards => Stretch { after: last, ..stretch },
                Direction::Backwards => Stretch { upto: last - 1, ..stretch },
            });
        }
    }
    Ok(left)
}

/// The next parts of `stretch` that can hold a match, and the stretch after them.
///
/// Records between two segments are a part of their own, as are those after the last seal: the records of a segment
/// whose row is missing still exist.
fn parts(
    connection: &ReadConnection,
    filter: &Filter,
    stretch: Stretch,
    direction: Direction,
) -> Result<(Vec<Part>, Stretch), JournalError> {
    let order = if direction == Direction::Forwards { "ASC" } else { "DESC" };
    let sql = format!(
        "SELECT first, last, received_min, received_max FROM segment \
         WHERE last > ?1 AND first <= ?2 ORDER BY last {order} LIMIT ?3"
    );
    let (mut parts, mut left, mut segments) = (Vec::new(), stretch, 0);
    connection.sql(|connection| {
        let mut statement = connection.prepare_cached(&sql)?;
        let most = number(READ_SEGMENTS_MAX as u64);
        let mut rows = statement.query((number(stretch.after), number(stretch.upto), most))?;
        while let Some(row) = rows.next()? {
            segments += 1;
            let (first, last) = (unsigned(row.get(0)?).max(1), unsigned(row.get(1)?));
            let within = left.clip(Stretch { after: first - 1, upto: last });
            if within.is_empty() {
                continue;
            }
            let between = left.before(within, direction);
            parts.extend((!between.is_empty()).then_some(Part { stretch: between, sealed: None }));
            if filter.may_match(row.get(2)?, row.get(3)?) {
                parts.push(Part { stretch: within, sealed: Some((first, last)) });
            }
            left = left.without(within, direction);
        }
        Ok(())
    })?;
    if segments < READ_SEGMENTS_MAX && !left.is_empty() {
        parts.push(Part { stretch: left, sealed: None });
        left = Stretch { after: left.upto, upto: left.upto };
    }
    Ok((parts, left))
}

/// Reads one part; returns the last offset that was read if `found` became full before the end of the part.
fn read_part(
    connection: &mut ReadConnection,
    filter: &Filter,
    part: Part,
    direction: Direction,
    max: usize,
    found: &mut Matches,
) -> Result<Option<u64>, JournalError> {
    if let Some((first, last)) = part.sealed {
        let before = found.len();
        let visited = candidates(connection, filter, part).and_then(|candidates| match candidates {
            Some(offsets) => visit(connection, filter, offsets, direction, max, found).map(Some),
            None => Ok(None),
        });
        match visited {
            Ok(Some(full_at)) => return Ok(full_at),
            Ok(None) => {}
            // The index of the segment cannot be used, but its records can.
            Err(error) if error.is_damage() => {
                connection.damage().note(first, last, Damage::Index(error.to_string().into()));
                found.truncate(before);
            }
            Err(error) => return Err(error),
        }
    }
    let mut full_at = None;
    read_through(connection, part.stretch, filter.sql(), direction, &mut |record| {
        let offset = record.offset.map_or(0, |offset| offset.0);
        if filter.query().matches_data(&record.body) {
            found.add(record);
        }
        full_at = found.is_full(max).then_some(offset);
        full_at.is_none()
    })?;
    Ok(full_at.or(connection.large().map(|large| before(large, direction))))
}

/// The last offset that was read if reading ended at `large`.
fn before(large: LargeRecord, direction: Direction) -> u64 {
    match direction {
        Direction::Forwards => large.offset.0 - 1,
        Direction::Backwards => large.offset.0 + 1,
    }
}

/// Reads the records at these offsets, which the index gives as matches of `filter`.
fn visit(
    connection: &mut ReadConnection,
    filter: &Filter,
    mut offsets: Vec<u64>,
    direction: Direction,
    max: usize,
    found: &mut Matches,
) -> Result<Option<u64>, JournalError> {
    if direction == Direction::Backwards {
        offsets.reverse();
    }
    for offset in offsets {
        let Some(record) = record_at(connection, offset)? else {
            let Some(large) = connection.large() else { continue };
            if is_match(connection, filter, large)? {
                return Ok(Some(before(large, direction)));
            }
            connection.pass_large();
            continue;
        };
        if !filter.is_posted(&record) {
            let what = "its index names another record".into();
            return Err(JournalError::Damaged { offset: Offset(offset), what });
        }
        if filter.query().matches(&record) {
            found.add(record);
        }
        if found.is_full(max) {
            return Ok(Some(offset));
        }
    }
    Ok(None)
}

/// Whether a record that was not read matches `filter`, apart from the conditions on its data.
fn is_match(connection: &ReadConnection, filter: &Filter, large: LargeRecord) -> Result<bool, JournalError> {
    let sql = format!("SELECT count(*) FROM record WHERE offset = ?1{}", filter.sql());
    let matches: u64 = connection.sql(|connection| {
        connection.prepare_cached(&sql)?.query_row([number(large.offset.0)], |row| row.get(0).map(unsigned))
    })?;
    Ok(matches > 0)
}

/// The offsets in `part` at which a match can be; `None` if a scan of the part is faster.
fn candidates(
    connection: &mut ReadConnection,
    filter: &Filter,
    part: Part,
) -> Result<Option<Vec<u64>>, JournalError> {
    let Some((first, last)) = part.sealed else { return Ok(None) };
    let lists = filter.posted();
    if !lists.is_empty() {
        check_index(connection, first, last)?;
    }
    let mut common: Option<Vec<u64>> = None;
    for names in lists {
        let mut offsets = Vec::new();
        for name in names {
            offsets.extend(posting(connection, first, last, *name)?);
        }
        offsets.sort_unstable();
        common = Some(match common {
            Some(common) => {
                common.into_iter().filter(|offset| offsets.binary_search(offset).is_ok()).collect()
            }
            None => offsets,
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

/// Checks once that the postings of a segment have each of its records twice, by its VM and by its event or kind, and that
/// their names can be read: a missing posting or name would otherwise mean that no record matches.
fn check_index(connection: &mut ReadConnection, first: u64, last: u64) -> Result<(), JournalError> {
    if connection.checked_indexes().contains(&last) {
        return Ok(());
    }
    let kept = connection.first()?;
    let (posted, unnamed, lost) = connection.reading(|connection, reader| {
        let mut postings =
            connection.prepare_cached("SELECT name, offsets FROM posting WHERE segment = ?1")?;
        let mut rows = postings.query([number(last)])?;
        let (mut posted, mut unnamed) = (0, false);
        while let Some(row) = rows.next()? {
            let bytes = row.get_ref(1)?.as_blob().unwrap_or_default();
            posted += segment::offsets_in(bytes);
            match name(connection, reader.names, row.get(0)?) {
                Ok(_) => {}
                // Retention removes names with their last record, before the rest of the segment.
                Err(error) if is_damage(&error) => unnamed |= has_from(kept, first, bytes),
                Err(error) => return Err(error),
            }
        }
        Ok((posted, unnamed, lost_spans(connection)))
    })?;
    let records: u64 = without(&lost, first, last).into_iter().map(|(first, last)| last - first + 1).sum();
    let what = if posted != records.saturating_mul(2) {
        format!("it has {posted} entries for {records} records").into()
    } else if unnamed {
        "a name of its records cannot be read".into()
    } else {
        connection.checked_indexes().insert(last);
        return Ok(());
    };
    Err(JournalError::Damaged { offset: Offset(last), what })
}

/// Whether a posting has an offset from `kept` on; also if it cannot be read.
fn has_from(kept: u64, first: u64, posting: &[u8]) -> bool {
    segment::offsets(first, posting).is_none_or(|offsets| offsets.last().is_some_and(|last| *last >= kept))
}

fn posting(connection: &ReadConnection, first: u64, last: u64, name: u32) -> Result<Vec<u64>, JournalError> {
    let damaged =
        || JournalError::Damaged { offset: Offset(last), what: "its segment has an invalid posting".into() };
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

#[cfg(test)]
mod tests;
