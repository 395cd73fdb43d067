//! Reads a window of the journal by its summaries: counts by minute, and changes.
//!
//! Sealed segments are read by their summaries; a segment of the window without one of the request's version, any with one
//! that is damaged, and the records after the last segment are read one by one. Changes are read from the last summary before
//! the window that has what holds and can be read, so that the values at the beginning of the window are known; and after the
//! window those that reach back into it. There, the changes of another version are read, too, until a hub has made them
//! again. After a segment without a summary, values from before it are not known.

use std::sync::Arc;
use std::time::Instant;

use qmp_wire::{Offset, UnixMicros};

use super::error::JournalError;
use super::light::{LightRecord, read_light};
use super::limits::READ_SEGMENTS_MAX;
use super::read::{ReadConnection, ReadFile};
use super::rows::Stretch;
use super::segment_counts::SegmentCounts;
use super::summary::{ChangeOf, CountKey, CountTable, are_changes, read_changes};
use super::summary_cache::RequestNumber;
use super::summary_load::{CountLoader, note_if_invalid, with_blob};
use super::summary_plan::{Plan, Segment, Step, plan};
use super::summary_request::{SummaryRead, SummaryRequest, SummaryVisitor};

/// The reading of one request.
struct RequestReader<'r, V> {
    file: &'r ReadFile,
    request: &'r SummaryRequest<'r>,
    visitor: &'r mut V,
    first: u64,
    number: RequestNumber,
    read_to: Option<Offset>,
}

pub(super) fn read<V: SummaryVisitor>(
    file: &ReadFile,
    head: u64,
    request: &SummaryRequest<'_>,
    visitor: &mut V,
) -> Result<SummaryRead, JournalError> {
    let (first, sealed, plan) =
        file.with(|connection| Ok((connection.first()?, connection.sealed()?, plan(connection, request)?)))?;
    let Plan { begin, steps, first_segment, has_all_summaries } = plan;
    let number = file.summaries().begin(first_segment);
    let loader = CountLoader::new(file, request, number);
    let mut reading = RequestReader { file, request, visitor, first, number, read_to: None };
    if let Some(held) = begin {
        reading.changes(&held, 0);
    }
    let mut rest = steps.as_slice();
    while let Some((now, later)) =
        rest.split_at_checked(rest.len().min(READ_SEGMENTS_MAX)).filter(|_| !rest.is_empty())
    {
        let counted = now.iter().filter(|step| step.has_counts(request, first)).map(|step| step.segment);
        let mut counts = loader.load(&counted.collect::<Vec<_>>())?.into_iter();
        file.with(|connection| {
            now.iter().try_for_each(|step| {
                let counts = step.has_counts(request, first).then(|| counts.next()).flatten().flatten();
                reading.step(connection, *step, counts.as_deref())
            })
        })?;
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
    let (first, sealed, head) = (Offset(first), Offset(sealed), Offset(head));
    Ok(SummaryRead { first, sealed, head, read_to, is_sealed, has_all_summaries })
}

impl<V: SummaryVisitor> RequestReader<'_, V> {
    /// Reads a segment by its summary, of which `counts` are decoded, or record by record.
    fn step(
        &mut self,
        connection: &mut ReadConnection,
        step: Step,
        counts: Option<&CountTable>,
    ) -> Result<(), JournalError> {
        let Step { segment, is_in_window } = step;
        let SummaryRequest { together, counts: vms, since, until, .. } = *self.request;
        if self.read_to.is_some() {
            return Ok(());
        }
        if is_in_window {
            self.visitor.segment(Offset(segment.first), Offset(segment.last));
        }
        if let Some(table) = counts {
            self.visitor.segment_counts(&SegmentCounts::new(table, (since, until), together, vms));
        }
        let counted = counts.is_some() || (!together && vms.is_none());
        let (wants_changes, can_use_changes) =
            (!self.request.changes.is_none(), step.can_use_changes(self.request));
        let changed = wants_changes && can_use_changes && self.stored_changes(connection, segment)?;
        let scans_changes = wants_changes && !changed && (is_in_window || can_use_changes);
        let scans_counts = is_in_window && !counted;
        if scans_counts || scans_changes {
            self.scan(connection, segment, scans_counts, scans_changes)?;
        }
        if is_in_window && self.request.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            self.read_to = Some(Offset(segment.last));
        }
        Ok(())
    }

    /// Passes the changes of a segment's summary; `false` if it cannot be used.
    fn stored_changes(
        &mut self,
        connection: &ReadConnection,
        segment: Segment,
    ) -> Result<bool, JournalError> {
        let (last, Some(version)) = (segment.last, segment.version) else { return Ok(false) };
        let cached = self.file.summaries().changes(last, version, self.number);
        if let Some(bytes) = cached {
            self.changes(&bytes, segment.first);
            return Ok(true);
        }
        // What was passed cannot be taken back when the end turns out to be damaged. The bytes of VMs that are not wanted are
        // checked, too: later requests read them from memory, unchecked.
        let read = with_blob(connection, "changes", &segment, |bytes| {
            are_changes(bytes, segment.first).then(|| {
                self.changes(bytes, segment.first);
                Arc::from(bytes)
            })
        })?;
        note_if_invalid(connection, &segment, read.as_ref());
        let bytes: Option<Arc<[u8]>> = read.flatten();
        if let Some(bytes) = &bytes {
            self.file.summaries().put_changes(last, version, self.number, bytes);
        }
        Ok(bytes.is_some())
    }

    /// Passes the changes of bytes that [`are_changes`].
    fn changes(&mut self, bytes: &[u8], first: u64) {
        let (mut wanted, visitor) = (self.request.changes.ascending(), &mut *self.visitor);
        let each = |ChangeOf { vm, offset, change }: ChangeOf<'_>| visitor.change(vm, Offset(offset), change);
        let _ = read_changes(bytes, first, &mut wanted, each);
    }

    /// Reads a segment record by record.
    fn scan(
        &mut self,
        connection: &mut ReadConnection,
        segment: Segment,
        counts: bool,
        changes: bool,
    ) -> Result<(), JournalError> {
        // The plan is of an earlier transaction: what retention has removed since is not missing.
        let first = segment.first.max(connection.first()?);
        let stretch = Stretch { after: first.saturating_sub(1), upto: segment.last };
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
