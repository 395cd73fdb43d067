//! Makes the summaries that are missing, behind the head, and what holds after every 64th.
//!
//! A journal of an earlier format has no summaries, and those of another release may have been derived otherwise. The
//! writer reads such a segment a piece at a time between its commits, the oldest segment first. The transactions do not
//! wait for the disk: a crash may take a summary back, which is then made again.
//!
//! Conditions that cannot be read are written again, from the ones before them and the changes since.
//!
//! Retention may remove segments that the filling has not reached. It keeps what held after them, as the summaries that
//! they had say; the filling continues from there.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior};

use super::bounds;
use super::columns::{number, unsigned};
use super::digest::Digest;
use super::light::read_light;
use super::limits::{FILL_CHUNK_RECORDS, STANDING_EVERY_SEGMENTS};
use super::row::NameCache;
use super::rows::Stretch;
use super::summaries::{put_standing, put_summary, summary_version};
use super::summary::{StandingConditions, SummaryBuilder, is_standing, read_changes};

/// The state of the filling. All of it can be read from the file again.
#[derive(Debug)]
pub(super) struct Fill {
    digest: &'static dyn Digest,
    /// The last segment whose changes are in `standing`.
    after: u64,
    standing: StandingConditions,
    /// Segments since the last one that has what holds.
    since_standing: u32,
    making: Option<PartialSummary>,
    names: NameCache,
}

/// A segment whose summary is being made.
#[derive(Debug)]
struct PartialSummary {
    first: u64,
    last: u64,
    /// The last offset that was read.
    after: u64,
    builder: SummaryBuilder,
}

/// A segment as the filling meets it.
struct SegmentRow {
    first: u64,
    last: u64,
    version: Option<u32>,
    standing: StoredStanding,
}

/// What the summary of a segment says about the conditions after it.
enum StoredStanding {
    None,
    Valid,
    Damaged,
}

impl Fill {
    pub(super) fn new(connection: &Connection, digest: &'static dyn Digest) -> rusqlite::Result<Self> {
        let mut fill = Self {
            digest,
            after: 0,
            standing: StandingConditions::default(),
            since_standing: 0,
            making: None,
            names: NameCache::default(),
        };
        let missing: u64 = connection.query_row(
            "SELECT count(*) FROM segment LEFT JOIN summary ON summary.segment = segment.last \
             WHERE summary.version IS NOT ?1",
            [digest.version()],
            |row| row.get(0).map(unsigned),
        )?;
        // Without a missing one, the last that says what holds is as good as the beginning.
        if missing == 0
            && let (segment, Some(standing)) = last_standing(connection)?
        {
            (fill.after, fill.standing) = (segment, standing);
        }
        Ok(fill)
    }

    /// Does the next piece of the work, and returns whether something is left.
    ///
    /// # Errors
    ///
    /// Errors of the file; the segment is begun again.
    pub(super) fn step(&mut self, connection: &mut Connection) -> rusqlite::Result<bool> {
        if let Some(making) = self.making.take() {
            self.make(connection, making)?;
            return Ok(true);
        }
        if let Some((removed, standing)) = removed_after(connection, self.after)? {
            (self.after, self.standing, self.since_standing) = (removed, standing, 0);
        }
        let Some(segment) = next_segment(connection, self.after)? else { return Ok(false) };
        // Of records that are removed already, only the summary that was made before has the changes.
        let is_cut = segment.first < bounds::first(connection)?;
        if (segment.version == Some(self.digest.version()) || is_cut)
            && let Some(changes) = changes(connection, segment.last)?
            && self.apply(&changes, segment.first)
        {
            self.pass(connection, &segment)?;
            return Ok(true);
        }
        let SegmentRow { first, last, .. } = segment;
        let begin = PartialSummary {
            first,
            last,
            after: first.saturating_sub(1),
            builder: SummaryBuilder::default(),
        };
        self.make(connection, begin)?;
        Ok(true)
    }

    /// Reads a piece of a segment, and writes its summary after the last piece.
    fn make(&mut self, connection: &mut Connection, mut making: PartialSummary) -> rusqlite::Result<()> {
        let upto = making.after.saturating_add(FILL_CHUNK_RECORDS).min(making.last);
        let (stretch, builder) = (Stretch { after: making.after, upto }, &mut making.builder);
        let mut add = |record: super::light::LightRecord| {
            builder.add(record.offset, record.vm, record.name, record.received, record.digested);
        };
        read_light(connection, &mut self.names, self.digest, stretch, &mut add, &|_, _, _| ())?;
        making.after = upto;
        if upto < making.last {
            self.making = Some(making);
            return Ok(());
        }
        let summary = making.builder.finish(making.first);
        let (last, version) = (making.last, self.digest.version());
        if is_removed(connection, last)? {
            return Ok(());
        }
        unsynced(connection, |connection| put_summary(connection, last, version, &summary))?;
        self.apply(&summary.changes, making.first);
        self.pass(
            connection,
            &SegmentRow { first: making.first, last, version: None, standing: StoredStanding::None },
        )
    }

    /// Applies the changes of a segment; `false` if they cannot be read.
    fn apply(&mut self, changes: &[u8], first: u64) -> bool {
        let mut standing = self.standing.clone();
        let read = read_changes(changes, first, |_| true, |change| standing.apply(&change));
        if read.is_some() {
            self.standing = standing;
        }
        read.is_some()
    }

    /// Moves on behind a segment, and writes what holds after it if that is due, or damaged.
    fn pass(&mut self, connection: &mut Connection, segment: &SegmentRow) -> rusqlite::Result<()> {
        self.after = segment.last;
        self.since_standing += 1;
        let is_due = match segment.standing {
            StoredStanding::None => self.since_standing >= STANDING_EVERY_SEGMENTS,
            StoredStanding::Valid => {
                self.since_standing = 0;
                false
            }
            StoredStanding::Damaged => true,
        };
        if is_due {
            self.standing.trim();
            let standing = self.standing.write();
            unsynced(connection, |connection| put_standing(connection, segment.last, &standing))?;
            self.since_standing = 0;
        }
        Ok(())
    }
}

/// Whether retention has removed the segment.
fn is_removed(connection: &Connection, segment: u64) -> rusqlite::Result<bool> {
    let exists =
        connection.prepare_cached("SELECT 1 FROM segment WHERE last = ?1")?.exists([number(segment)])?;
    Ok(!exists)
}

/// The segment from which the filling continues, and what holds after it: the last one with conditions, or the last before
/// damaged ones. Those of removed records cannot be derived again, and neither can what follows them, up to the next that can
/// be read.
fn last_standing(connection: &Connection) -> rusqlite::Result<(u64, Option<StandingConditions>)> {
    let sql = "SELECT segment, standing, EXISTS (SELECT 1 FROM segment WHERE last = summary.segment) FROM summary \
               WHERE standing IS NOT NULL ORDER BY segment";
    let (mut segment, mut is_known) = (0_i64, true);
    let mut select = connection.prepare(sql)?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (is_valid, is_kept): (bool, bool) =
            (row.get_ref(1)?.as_blob().is_ok_and(is_standing), row.get(2)?);
        match (is_valid, is_kept) {
            (true, _) => (segment, is_known) = (row.get(0)?, true),
            (false, true) if is_known => break,
            (false, true) => {}
            (false, false) => is_known = false,
        }
    }
    let sql = "SELECT segment, standing FROM summary WHERE segment = ?1";
    let found = connection.query_row(sql, [segment], standing_after).optional()?;
    Ok(found.unwrap_or((0, None)))
}

/// What holds after the last of the segments that were removed, if that one is after `after`.
fn removed_after(connection: &Connection, after: u64) -> rusqlite::Result<Option<(u64, StandingConditions)>> {
    let sql = "SELECT segment, standing FROM (SELECT segment, standing FROM summary ORDER BY segment LIMIT 1) AS row \
               WHERE segment > ?1 AND NOT EXISTS (SELECT 1 FROM segment WHERE last = row.segment)";
    let found = connection.prepare_cached(sql)?.query_row([number(after)], standing_after).optional()?;
    Ok(found.and_then(|(segment, standing)| Some((segment, standing?))))
}

/// A segment, and what holds after it; `None` if that cannot be read.
fn standing_after(row: &Row<'_>) -> rusqlite::Result<(u64, Option<StandingConditions>)> {
    let standing = row.get_ref(1)?.as_blob().ok().and_then(StandingConditions::read);
    Ok((unsigned(row.get(0)?), standing))
}

/// The changes of the segment that ends at `last`, if it has a summary.
fn changes(connection: &Connection, last: u64) -> rusqlite::Result<Option<Vec<u8>>> {
    let sql = "SELECT changes FROM summary WHERE segment = ?1";
    let changes = |row: &Row<'_>| Ok(row.get_ref(0)?.as_blob().ok().map(<[u8]>::to_vec));
    connection.prepare_cached(sql)?.query_row([number(last)], changes).optional().map(Option::flatten)
}

fn next_segment(connection: &Connection, after: u64) -> rusqlite::Result<Option<SegmentRow>> {
    let sql = "SELECT segment.first, segment.last, summary.version, summary.standing \
               FROM segment LEFT JOIN summary ON summary.segment = segment.last \
               WHERE segment.last > ?1 ORDER BY segment.last LIMIT 1";
    let row = |row: &Row<'_>| {
        let (first, last) = (unsigned(row.get(0)?), unsigned(row.get(1)?));
        let standing = match row.get_ref(3)? {
            ValueRef::Null => StoredStanding::None,
            ValueRef::Blob(bytes) if is_standing(bytes) => StoredStanding::Valid,
            _ => StoredStanding::Damaged,
        };
        Ok(SegmentRow { first, last, version: summary_version(row, 2), standing })
    };
    connection.prepare_cached(sql)?.query_row([number(after)], row).optional()
}

/// Writes in a transaction that does not wait for the disk.
fn unsynced(
    connection: &mut Connection,
    write: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    // SQLite accepts this pragma only between two transactions.
    connection.pragma_update(None, "synchronous", "normal")?;
    let written = (|| {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        write(&transaction)?;
        transaction.commit()
    })();
    connection.pragma_update(None, "synchronous", "full")?;
    written
}

#[cfg(test)]
mod tests;
