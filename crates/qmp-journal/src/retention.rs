//! Retention: how long records are kept, and what to prune next. Pure: no file, no clock.

use std::time::Duration;

use qmp_wire::{Offset, UnixMicros};

use super::limits::{RETENTION_CHUNK_RECORDS, RETENTION_SEGMENTS_PER_AGE};

/// How long records are kept. The default keeps everything.
///
/// Whole segments are pruned, oldest first. With both limits, a segment is pruned when it exceeds either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Records that were received longer ago than this are pruned; some stay for a tenth longer.
    pub max_age: Option<Duration>,
    /// Records are pruned when the file uses more bytes than this; free pages in it do not count.
    pub max_bytes: Option<u64>,
}

/// A range of records that were pruned before they were read: after the one offset, up to and including the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrunedRange {
    /// The last offset before the range.
    pub after: Offset,
    /// The last offset of the range.
    pub upto: Offset,
}

impl PrunedRange {
    /// The number of records. Offsets have no holes.
    #[must_use]
    pub fn records(self) -> u64 {
        self.upto.0.saturating_sub(self.after.0)
    }

    /// The text for records that the file has lost.
    pub(super) fn text(self) -> String {
        let (first, last) = (self.after.0 + 1, self.upto.0);
        format!("records {first} to {last} were committed and are gone from the journal")
    }

    /// The range that a reader misses which has read everything up to `after`, in a journal whose first record is
    /// `first`.
    ///
    /// A reader that begins at the start asks for the records that exist, and misses nothing.
    #[must_use]
    pub fn before(first: Offset, after: Offset) -> Option<Self> {
        let upto = Offset(first.0.saturating_sub(1));
        (after.0 > 0 && after < upto).then_some(Self { after, upto })
    }
}

/// The facts about the file from which a sweep computes its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measurement {
    /// Bytes in used pages.
    pub(super) used_bytes: u64,
    /// The last offset of the first segment; `None` without segments.
    pub(super) first_segment: Option<u64>,
    /// The last offset of the segments before the first one that is too young to be pruned.
    pub(super) too_old: u64,
}

impl Retention {
    /// Whether any limit is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.max_age.is_some() || self.max_bytes.is_some()
    }

    /// Records received before this time are too old.
    pub(super) fn oldest(&self, now: UnixMicros) -> Option<UnixMicros> {
        self.max_age.map(|age| UnixMicros(now.0.saturating_sub(micros(age))))
    }

    /// An open segment whose first record was received before this time is to be sealed: only sealed segments are
    /// pruned, and on a quiet host a segment would take years to fill.
    pub(super) fn seal_before(&self, now: UnixMicros) -> Option<UnixMicros> {
        self.max_age.map(|age| UnixMicros(now.0.saturating_sub(micros(age / RETENTION_SEGMENTS_PER_AGE))))
    }

    /// The offset up to which everything is to be pruned.
    pub(super) fn target(&self, measured: Measurement) -> u64 {
        let too_large = self.max_bytes.is_some_and(|max| measured.used_bytes > max);
        // One segment at a time: the bytes that it frees are known only after it is pruned.
        let by_size = if too_large { measured.first_segment.unwrap_or(0) } else { 0 };
        measured.too_old.max(by_size)
    }
}

/// How many records to prune in one transaction, after `committed` records were written.
///
/// Twice as many as were written, so that the journal shrinks even while it is written at full speed.
pub(super) fn chunk(committed: u64) -> u64 {
    committed.saturating_mul(2).max(RETENTION_CHUNK_RECORDS)
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_is_set_by_age_and_size() {
        let bytes = |max| Retention { max_bytes: Some(max), max_age: None };
        //  name                     retention  used  first segment  too old   target
        type Case = (&'static str, Retention, u64, Option<u64>, u64, u64);
        let cases: [Case; 5] = [
            ("nothing is set", Retention::default(), 900, Some(10), 0, 0),
            ("small enough", bytes(900), 900, Some(10), 0, 0),
            ("too large", bytes(899), 900, Some(10), 0, 10),
            ("too large, no segment", bytes(899), 900, None, 0, 0),
            ("too old and too large", bytes(899), 900, Some(10), 30, 30),
        ];
        for (name, retention, used_bytes, first_segment, too_old, expected) in cases {
            let measured = Measurement { used_bytes, first_segment, too_old };
            assert_eq!(retention.target(measured), expected, "{name}");
        }
    }

    #[test]
    fn reader_misses_records_between_its_offset_and_the_first_kept() {
        let cases: [(u64, u64, u64); 5] = [
            // first kept, read up to, missed
            (1, 0, 0),
            (101, 0, 0),
            (101, 40, 60),
            (101, 99, 1),
            (101, 100, 0),
        ];
        for (first, after, missing) in cases {
            let removed = PrunedRange::before(Offset(first), Offset(after));
            assert_eq!(removed.map_or(0, PrunedRange::records), missing, "{first} {after}");
        }
    }

    #[test]
    fn age_limits_and_chunk_size_are_computed() {
        let hour = Retention { max_age: Some(Duration::from_secs(3600)), max_bytes: None };
        let now = UnixMicros(4_000_000_000);
        assert_eq!(hour.oldest(now), Some(UnixMicros(400_000_000)));
        assert_eq!(hour.seal_before(now), Some(UnixMicros(3_640_000_000)));
        assert_eq!(Retention::default().oldest(now), None);
        assert_eq!((chunk(0), chunk(10_000)), (RETENTION_CHUNK_RECORDS, 20_000));
    }
}
