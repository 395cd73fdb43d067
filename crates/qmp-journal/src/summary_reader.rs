//! Reads a window of the journal by its summaries: counts by minute, and changes.
//!
//! Sealed segments are read by their summaries; a segment without one, or with one that cannot be used, and the records
//! after the last segment are read one by one. Changes are read from the last summary before the window that has what
//! holds, so that the values at the beginning of the window are known; and after the window those that reach back into it.

use std::cell::RefCell;
use std::time::Instant;

use qmp_wire::{Offset, UnixMicros};
use rusqlite::OptionalExtension as _;

use super::columns::{number, unsigned};
use super::damage::Damage;
use super::digest::{Change, Digest};
use super::error::JournalError;
use super::light::{LightRecord, read_light};
use super::limits::READ_SEGMENTS_MAX;
use super::read::{ReadConnection, ReadFile};
use super::rows::Stretch;
use super::summary::{ChangeOf, CountKey, MinuteCount, read_changes, read_counts};
use super::vm_selection::VmSelection;

/// A window of the journal, and what is wanted of it.
#[derive(Clone, Copy, Debug)]
pub struct SummaryRequest<'a> {
    /// Derives classes and changes, as in the options of the journal.
    pub digest: &'a dyn Digest,
    /// Received at this time or later. With [`Self::is_exact`] not set, the begin of a minute.
    pub since: UnixMicros,
    /// Received before this time. With [`Self::is_exact`] not set, the begin of a minute.
    pub until: UnixMicros,
    /// Only records after this one are counted.
    pub after: Offset,
    /// Whether each record is wanted with its own time, which is read from the records.
    pub is_exact: bool,
    /// Whether the counts of all VMs together are wanted.
    pub together: bool,
    /// The VMs whose counts are wanted.
    pub counts: VmSelection<'a>,
    /// The VMs whose changes are wanted.
    pub changes: VmSelection<'a>,
    /// When to stop; at least one segment is read.
    pub deadline: Option<Instant>,
}

/// Takes what a reader of summaries finds.
pub trait SummaryVisitor {
    /// A segment, or the records after the last one, begins: its counts come next.
    fn segment(&mut self, first: Offset, last: Offset);
    /// Whether the counts of the key are wanted.
    fn wants(&self, _key: CountKey) -> bool {
        true
    }
    /// Records of a wanted key were counted, by ascending minutes.
    fn counts(&mut self, key: CountKey, minutes: &[MinuteCount]);
    /// A record was read by itself.
    fn record(&mut self, key: CountKey, at: UnixMicros, offset: Offset);
    /// A VM changed. Changes of one VM are passed in the order of the journal.
    fn change(&mut self, vm: u32, offset: Offset, change: Change<'_>);
}

/// The result of a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SummaryRead {
    /// The first offset that is kept.
    pub first: Offset,
    /// The last offset in a sealed segment.
    pub sealed: Offset,
    /// The last offset.
    pub head: Offset,
    /// The last record that was counted if the deadline passed before the end of the window.
    pub read_to: Option<Offset>,
    /// Whether all records of the window are in sealed segments.
    pub is_sealed: bool,
}

/// A sealed segment with the numbers of its summary.
#[derive(Clone, Copy, Debug)]
struct Segment {
    first: u64,
    last: u64,
    received_min: i64,
    received_max: i64,
    version: Option<u32>,
    earliest: Option<i64>,
}

/// The way to read a segment.
#[derive(Clone, Copy, Debug)]
struct Step {
    segment: Segment,
    is_in_window: bool,
}

/// The reading of one request.
struct RequestReader<'r, V> {
    request: &'r SummaryRequest<'r>,
    visitor: &'r mut V,
    first: u64,
    read_to: Option<Offset>,
}

pub(super) fn read<V: SummaryVisitor>(
    file: &ReadFile,
    head: u64,
    request: &SummaryRequest<'_>,
    visitor: &mut V,
) -> Result<SummaryRead, JournalError> {
    let (first, sealed, begin, steps) = file.with(|connection| {
        let (first, sealed) = (connection.first()?, connection.sealed()?);
        let (begin, steps) = plan(connection, request)?;
        Ok((first, sealed, begin, steps))
    })?;
    let mut reading = RequestReader { request, visitor, first, read_to: None };
    if let Some(held) = begin {
        reading.changes(&held, 0);
    }
    let mut rest = steps.as_slice();
    while let Some((now, later)) =
        rest.split_at_checked(rest.len().min(READ_SEGMENTS_MAX)).filter(|_| !rest.is_empty())
    {
        file.with(|connection| now.iter().try_for_each(|step| reading.step(connection, *step)))?;
        if reading.read_to.is_some() {
            break;
        }
        rest = later;
    }
    let is_sealed = match reading.read_to {
        Some(_) => false,
        None => reading.open(file, sealed, head)?,
    };
    let read_to = reading.read_to;
    Ok(SummaryRead { first: Offset(first), sealed: Offset(sealed), head: Offset(head), read_to, is_sealed })
}

/// The conditions before the first segment to read, and the segments to read.
fn plan(
    connection: &ReadConnection,
    request: &SummaryRequest<'_>,
) -> Result<(Option<Vec<u8>>, Vec<Step>), JournalError> {
    let segments = segments(connection)?;
    let SummaryRequest { since, until, after, .. } = *request;
    let is_in_window = |segment: &Segment| {
        segment.received_max >= since.0 && segment.received_min < until.0 && segment.last > after.0
    };
    let window =
        segments.iter().position(|segment| segment.received_max >= since.0).unwrap_or(segments.len());
    let mut held = None;
    let mut begin = window;
    if !request.changes.is_none() {
        let before = segments.get(window).map_or(i64::MAX, |segment| number(segment.first));
        let found = held_before(connection, before)?;
        let upto = found.as_ref().map_or(0, |(segment, _)| *segment);
        begin = segments.partition_point(|segment| segment.last <= upto).min(window);
        held = found.map(|(_, standing)| standing);
    }
    let steps = segments.iter().enumerate().skip(begin).filter_map(|(index, segment)| {
        let is_in_window = is_in_window(segment);
        let reaches_back = segment.earliest.is_some_and(|earliest| earliest < until.0);
        let has_changes = !request.changes.is_none() && (index < window || reaches_back);
        (is_in_window || has_changes).then_some(Step { segment: *segment, is_in_window })
    });
    Ok((held, steps.collect()))
}

fn segments(connection: &ReadConnection) -> Result<Vec<Segment>, JournalError> {
    let sql = "SELECT segment.first, segment.last, received_min, received_max, summary.version, summary.earliest \
               FROM segment LEFT JOIN summary ON summary.segment = segment.last ORDER BY segment.last";
    connection.sql(|connection| {
        let mut select = connection.prepare_cached(sql)?;
        let rows = select.query_map([], |row| {
            Ok(Segment {
                first: unsigned(row.get(0)?),
                last: unsigned(row.get(1)?),
                received_min: row.get(2)?,
                received_max: row.get(3)?,
                version: row.get(4)?,
                earliest: row.get(5)?,
            })
        })?;
        rows.collect()
    })
}

/// The conditions after the last segment before `offset` that has them.
fn held_before(connection: &ReadConnection, offset: i64) -> Result<Option<(u64, Vec<u8>)>, JournalError> {
    let sql = "SELECT segment, standing FROM summary WHERE segment < ?1 AND standing IS NOT NULL \
               ORDER BY segment DESC LIMIT 1";
    connection.sql(|connection| {
        let mut select = connection.prepare_cached(sql)?;
        select.query_row([offset], |row| Ok((unsigned(row.get(0)?), row.get(1)?))).optional()
    })
}

impl<V: SummaryVisitor> RequestReader<'_, V> {
    fn step(&mut self, connection: &mut ReadConnection, step: Step) -> Result<(), JournalError> {
        let Step { segment, is_in_window } = step;
        if self.read_to.is_some() {
            return Ok(());
        }
        let has_summary = segment.version == Some(self.request.digest.version());
        if is_in_window {
            self.visitor.segment(Offset(segment.first), Offset(segment.last));
        }
        let has_all_records = segment.first >= self.first;
        let is_whole = segment.last > self.request.after.0 && segment.first > self.request.after.0;
        let counted = is_in_window
            && has_summary
            && has_all_records
            && is_whole
            && !self.request.is_exact
            && self.counts(connection, segment)?;
        let changed =
            !self.request.changes.is_none() && has_summary && self.stored_changes(connection, segment)?;
        let wants_changes = !self.request.changes.is_none() && !changed;
        if is_in_window && (!counted || wants_changes) {
            self.scan(connection, segment, !counted, wants_changes)?;
        }
        if is_in_window && self.request.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            self.read_to = Some(Offset(segment.last));
        }
        Ok(())
    }

    /// Passes the counts of a segment's summary; `false` if it cannot be used.
    fn counts(&mut self, connection: &ReadConnection, segment: Segment) -> Result<bool, JournalError> {
        let SummaryRequest { together, counts, since, until, .. } = *self.request;
        if !together && counts.is_none() {
            return Ok(true);
        }
        let visitor = RefCell::new(&mut *self.visitor);
        let read = with_blob(connection, "counts", segment, |bytes| {
            let is_known = connection.checked_summaries().contains(&segment.last);
            if !is_known {
                // Read once without effect: counts that were passed cannot be taken back.
                read_counts(bytes, |_| true, |_| false, |_, _| ())?;
                connection.checked_summaries().insert(segment.last);
            }
            let mut of_vms = counts.ascending();
            let wants_vm = |vm| if vm == 0 { together } else { of_vms(vm) };
            let wants = |key| visitor.borrow().wants(key);
            read_counts(bytes, wants_vm, wants, |key, minutes| {
                let minutes = in_window(minutes, since, until);
                if !minutes.is_empty() {
                    visitor.borrow_mut().counts(key, minutes);
                }
            })
        })?;
        Ok(is_valid(connection, segment, read))
    }

    /// Passes the changes of a segment's summary; `false` if it cannot be used.
    fn stored_changes(
        &mut self,
        connection: &ReadConnection,
        segment: Segment,
    ) -> Result<bool, JournalError> {
        let read = with_blob(connection, "changes", segment, |bytes| self.changes(bytes, segment.first))?;
        Ok(is_valid(connection, segment, read))
    }

    fn changes(&mut self, bytes: &[u8], first: u64) -> Option<()> {
        let (mut wanted, visitor) = (self.request.changes.ascending(), &mut *self.visitor);
        let each = |ChangeOf { vm, offset, change }: ChangeOf<'_>| visitor.change(vm, Offset(offset), change);
        read_changes(bytes, first, &mut wanted, each)
    }

    /// Reads a segment record by record.
    fn scan(
        &mut self,
        connection: &mut ReadConnection,
        segment: Segment,
        counts: bool,
        changes: bool,
    ) -> Result<(), JournalError> {
        let stretch = Stretch { after: segment.first.max(self.first).saturating_sub(1), upto: segment.last };
        let digest = self.request.digest;
        connection.reading(|connection, reader| {
            let damage = reader.damage;
            let missing =
                |first, last, error: Option<&rusqlite::Error>| damage.note_missing(first, last, error);
            let mut take = |record: LightRecord| self.record(&record, counts, changes);
            read_light(connection, reader.names, digest, stretch, &mut take, &missing)
        })
    }

    fn record(&mut self, record: &LightRecord, counts: bool, changes: bool) {
        let LightRecord { offset, vm, name, received, digested } = record;
        let SummaryRequest { since, until, after, together, counts: counted, changes: changed, .. } =
            self.request;
        if counts && *received >= since.0 && *received < until.0 && *offset > after.0 {
            let (at, offset) = (UnixMicros(*received), Offset(*offset));
            let key = CountKey { vm: *vm, name: *name, class: digested.class };
            if *together {
                self.visitor.record(CountKey { vm: 0, ..key }, at, offset);
            }
            if counted.has(*vm) {
                self.visitor.record(key, at, offset);
            }
        }
        if changes && changed.has(*vm) {
            for change in &digested.changes {
                self.visitor.change(*vm, Offset(*offset), change.clone());
            }
        }
    }

    /// Reads the records after the last segment; returns whether none of them is in the window.
    fn open(&mut self, file: &ReadFile, sealed: u64, head: u64) -> Result<bool, JournalError> {
        let unsealed = Stretch { after: sealed.max(self.first.saturating_sub(1)), upto: head };
        if unsealed.is_empty() {
            return Ok(true);
        }
        let mut open = file.open_part();
        file.with(|connection| {
            let digest = self.request.digest;
            connection.reading(|connection, reader| {
                let records = open.read_on(connection, reader.names, reader.damage, digest, unsealed)?;
                self.visitor.segment(Offset(unsealed.after + 1), Offset(head));
                records.iter().for_each(|record| self.record(record, true, !self.request.changes.is_none()));
                Ok(records.iter().all(|record| record.received >= self.request.until.0))
            })
        })
    }
}

/// The minutes that begin in a window.
fn in_window(minutes: &[MinuteCount], since: UnixMicros, until: UnixMicros) -> &[MinuteCount] {
    let (Some(first), Some(last)) = (minutes.first(), minutes.last()) else { return minutes };
    if first.begin() >= since && last.begin() < until {
        return minutes;
    }
    let begin = minutes.partition_point(|minute| minute.begin() < since);
    let end = minutes.partition_point(|minute| minute.begin() < until);
    &minutes[begin.min(end)..end]
}

/// Reads a blob of a segment's summary; `None` if there is none.
fn with_blob<T>(
    connection: &ReadConnection,
    column: &str,
    segment: Segment,
    read: impl FnOnce(&[u8]) -> T,
) -> Result<Option<T>, JournalError> {
    let sql = format!("SELECT {column} FROM summary WHERE segment = ?1");
    connection
        .sql(|connection| {
            let mut select = connection.prepare_cached(&sql)?;
            select
                .query_row([number(segment.last)], |row| Ok(row.get_ref(0)?.as_blob().ok().map(read)))
                .optional()
        })
        .map(Option::flatten)
}

/// Whether a blob of a segment's summary was there and valid. Notes the damage if it was not valid.
fn is_valid(connection: &ReadConnection, segment: Segment, read: Option<Option<()>>) -> bool {
    if read == Some(None) {
        let damage = Damage::Index("its summary is invalid".into());
        connection.damage().note(segment.first, segment.last, damage);
    }
    read == Some(Some(()))
}
