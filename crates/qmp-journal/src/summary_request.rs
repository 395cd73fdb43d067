//! Requests to the summaries of a journal, and what they find.

use std::time::Instant;

use qmp_wire::{Offset, UnixMicros};

use super::digest::{Change, Digest};
use super::segment_counts::{MINUTE, SegmentCounts};
use super::summary::{CountKey, MinuteCount};
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
    /// The records of a sealed segment were counted. Passes them to [`Self::counts`] unless it is implemented otherwise.
    fn segment_counts(&mut self, counts: &SegmentCounts<'_>) {
        counts.each_key(|at| at.saturating_add(MINUTE), |key, minutes| self.counts(key, minutes));
    }
    /// Records of a key were counted, by ascending minutes.
    fn counts(&mut self, _key: CountKey, _minutes: &[MinuteCount]) {}
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
    /// Whether all segments with wanted changes, those of the window aside, have a summary of the request's version. Changes of
    /// another version are as that one derived them, and those of segments without a summary are not read.
    pub has_all_summaries: bool,
}
