//! Reads rows in the order of their offsets, and finds the next readable row after damage.
//!
//! Offsets have no holes but those that are recorded in `lost`, so each row is compared with the offset that is due. A
//! damaged page does not always make SQLite fail: SQLite ends a scan early if it reads an offset beyond the stretch,
//! and a search may take a wrong branch. Where the rows end, fail, or have another offset than the one that is due, the
//! next readable row is searched by its offset, and the rows before it are reported.

use rusqlite::{Connection, Row};

use super::columns::{number, unsigned};
use super::damage::is_damage;
use super::limits::SEARCHED_RECORDS;

/// The direction in which a stretch is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Forwards,
    Backwards,
}

/// A range of offsets that are yet to be read: after the one, up to and including the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) after: u64,
    pub(super) upto: u64,
}

/// Handles a row; returns `false` to stop.
pub(super) type TakeRow<'t> = dyn FnMut(&Row<'_>) -> rusqlite::Result<bool> + 't;

/// Why a scan of a stretch ended.
pub(super) enum ScanEnd {
    /// The callback stopped it.
    Enough,
    /// The stretch that is left: empty, or one that begins with a missing or unreadable row.
    Left(Stretch, Option<rusqlite::Error>),
}

impl Stretch {
    pub(super) fn is_empty(self) -> bool {
        self.after >= self.upto
    }

    /// The offset of the next record.
    pub(super) fn due(self, direction: Direction) -> u64 {
        match direction {
            Direction::Forwards => self.after + 1,
            Direction::Backwards => self.upto,
        }
    }

    /// The rest after the record that was due.
    pub(super) fn advance(self, direction: Direction) -> Self {
        match direction {
            Direction::Forwards => Self { after: self.after + 1, ..self },
            Direction::Backwards => Self { upto: self.upto - 1, ..self },
        }
    }

    /// The part before `next`, which is within this stretch.
    pub(super) fn before(self, next: Self, direction: Direction) -> Self {
        match direction {
            Direction::Forwards => Self { upto: next.after, ..self },
            Direction::Backwards => Self { after: next.upto, ..self },
        }
    }

    pub(super) fn clip(self, other: Self) -> Self {
        Self { after: self.after.max(other.after), upto: self.upto.min(other.upto) }
    }

    /// The rest after `done`.
    pub(super) fn without(self, done: Self, direction: Direction) -> Self {
        match direction {
            Direction::Forwards => Self { after: done.upto, ..self },
            Direction::Backwards => Self { upto: done.after, ..self },
        }
    }
}

/// Passes every row of `stretch` that `sql` selects to `take`, in order, until it returns `false`, and every span
/// without a row to `missing`, unless it is recorded in `lost`.
pub(super) fn walk(
    connection: &Connection,
    sql: &str,
    mut stretch: Stretch,
    take: &mut TakeRow<'_>,
    missing: &mut dyn FnMut(u64, u64, Option<&rusqlite::Error>),
) -> rusqlite::Result<()> {
    let mut lost = None;
    loop {
        let (left, error) = match run(connection, sql, stretch, Direction::Forwards, take)? {
            ScanEnd::Left(left, error) if !left.is_empty() => (left, error),
            ScanEnd::Left(..) | ScanEnd::Enough => return Ok(()),
        };
        let lost: &Vec<(u64, u64)> = lost.get_or_insert_with(|| lost_spans(connection));
        let due = left.after + 1;
        if let Some((_, last)) = lost.iter().find(|(first, last)| (*first..=*last).contains(&due)) {
            stretch = Stretch { after: *last, ..left };
            continue;
        }
        let mut next = next_readable(connection, left.after, left.upto);
        if next == due && left.after == stretch.after {
            // The row exists, but a scan that begins with it fails.
            next = next_readable(connection, due, left.upto);
        }
        for (first, last) in without(lost, due, next - 1) {
            missing(first, last, error.as_ref());
        }
        stretch = Stretch { after: next - 1, ..left };
    }
}

/// Passes the rows of `stretch` to `take` for as long as each has the offset that is due.
pub(super) fn run(
    connection: &Connection,
    sql: &str,
    mut stretch: Stretch,
    direction: Direction,
    take: &mut TakeRow<'_>,
) -> rusqlite::Result<ScanEnd> {
    if stretch.is_empty() {
        return Ok(ScanEnd::Left(stretch, None));
    }
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(parameters(stretch))?;
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(ScanEnd::Left(stretch, None)),
            Err(error) if is_damage(&error) => return Ok(ScanEnd::Left(stretch, Some(error))),
            Err(error) => return Err(error),
        };
        let is_due = !stretch.is_empty() && unsigned(row.get(0)?) == stretch.due(direction);
        if !is_due {
            return Ok(ScanEnd::Left(stretch, None));
        }
        stretch = stretch.advance(direction);
        if !take(row)? {
            return Ok(ScanEnd::Enough);
        }
    }
}

/// The first offset after `after` that can be read; one more than `upto` if there is none.
///
/// The rows that are left on a damaged page are found offset by offset: a search on the page takes wrong branches.
/// After as many offsets as some pages have, the next one is found by ever wider steps, and then by bisection.
pub(super) fn next_readable(connection: &Connection, after: u64, upto: u64) -> u64 {
    let searched = after.saturating_add(SEARCHED_RECORDS).min(upto);
    let exists = |offset: u64| {
        let found = connection
            .prepare_cached("SELECT offset FROM record WHERE offset = ?1")
            .and_then(|mut statement| statement.query_row([number(offset)], |row| row.get(0)));
        found.is_ok_and(|found: i64| unsigned(found) == offset)
    };
    if let Some(offset) = (after + 1..=searched).find(|offset| exists(*offset)) {
        return offset;
    }
    let from = |start: u64| -> Option<u64> {
        let sql = "SELECT offset FROM record WHERE offset >= ?1 AND offset <= ?2 ORDER BY offset LIMIT 1";
        let mut statement = connection.prepare_cached(sql).ok()?;
        let found =
            statement.query_row((number(start), number(upto)), |row| row.get(0)).ok().map(unsigned)?;
        (start..=upto).contains(&found).then_some(found)
    };
    let (mut unreadable, mut step) = (searched, SEARCHED_RECORDS + 1);
    let (mut readable, mut found) = loop {
        let start = after.saturating_add(step).min(upto);
        match from(start) {
            Some(found) if start > searched => break (start, found),
            _ if start >= upto => return upto + 1,
            _ => (unreadable, step) = (start, step.saturating_mul(2)),
        }
    };
    while readable - unreadable > 1 {
        let middle = unreadable + (readable - unreadable) / 2;
        match from(middle) {
            Some(first) => (readable, found) = (middle, first),
            None => unreadable = middle,
        }
    }
    found
}

/// The spans of `lost`, in order. If they cannot be read, every missing row is reported.
pub(super) fn lost_spans(connection: &Connection) -> Vec<(u64, u64)> {
    let read = || -> rusqlite::Result<Vec<(u64, u64)>> {
        let mut lost = connection.prepare_cached("SELECT first, last FROM lost ORDER BY first")?;
        let spans = lost.query_map([], |row| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?))))?;
        spans.collect()
    };
    read().unwrap_or_default()
}

/// The parts of `first..=last` outside `spans`, which are in order.
pub(super) fn without(spans: &[(u64, u64)], first: u64, last: u64) -> Vec<(u64, u64)> {
    let (mut left, mut from) = (Vec::new(), first);
    for (begin, end) in spans.iter().filter(|(begin, end)| begin <= end && *end >= first && *begin <= last) {
        if *begin > from {
            left.push((from, begin - 1));
        }
        from = from.max(end.saturating_add(1));
    }
    if from <= last {
        left.push((from, last));
    }
    left
}

fn parameters(stretch: Stretch) -> (i64, i64) {
    (number(stretch.after.saturating_add(1)), number(stretch.upto))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Spans = &'static [(u64, u64)];

    #[test]
    fn spans_are_cut_out_of_range() {
        let cases: [(Spans, Spans); 7] = [
            (&[], &[(10, 20)]),
            (&[(1, 9), (21, 30)], &[(10, 20)]),
            (&[(12, 14)], &[(10, 11), (15, 20)]),
            (&[(5, 12), (14, 14), (19, 25)], &[(13, 13), (15, 18)]),
            (&[(10, 20)], &[]),
            (&[(0, u64::MAX)], &[]),
            (&[(15, 11)], &[(10, 20)]),
        ];
        for (spans, expected) in cases {
            assert_eq!(without(spans, 10, 20), expected, "{spans:?}");
        }
    }
}
