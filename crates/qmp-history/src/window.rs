//! The window of a request, and its buckets.

use std::time::{Duration, Instant};

use qmp_journal::{JournalError, Query, Reader, SEGMENT_RECORDS, SegmentCounts, VmCounts};
use qmp_wire::{Offset, UnixMicros};

use crate::words::DIGEST;

pub(crate) const MINUTE: i64 = 60_000_000;

/// The most buckets of a window: more than a screen has columns.
pub const BUCKETS_MAX: u32 = 4_000;

/// How long after its end a window may still get records: a finding has the time at which it could be concluded, which is some
/// minutes before its record at the most.
pub const SETTLED_AFTER: Duration = Duration::from_secs(15 * 60);

/// Segments up to which a window is read record by record if its buckets are shorter than a minute: 130,000 records, some
/// 100 ms.
const EXACT_SEGMENTS_MAX: u64 = 8;

/// The range of a request: its records, and the time budget.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Which records. Its times are those of the window; without them, the window is all of the journal.
    pub query: Query,
    /// Only records after this one are counted: where a partial answer is continued.
    pub after: Offset,
    /// When to stop reading.
    pub deadline: Option<Instant>,
}

/// A window with buckets of equal length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) since: i64,
    pub(crate) until: i64,
    /// The length of a bucket.
    pub(crate) bucket: i64,
    pub(crate) buckets: u32,
    /// Whether records are counted by their own times, and not by minutes.
    pub(crate) is_exact: bool,
}

impl Window {
    /// The window of a scope. If its buckets are at least a minute long, or too many records would have to be read one by
    /// one, it is widened to whole minutes.
    pub(crate) fn of(
        reader: &Reader,
        scope: &Scope,
        now: UnixMicros,
        buckets: u32,
    ) -> Result<Self, JournalError> {
        let until = scope.query.until.map_or(now.0, |until| until.0);
        let since = match scope.query.since {
            Some(since) => since.0,
            None => reader.earliest(DIGEST)?.map_or(until, |earliest| earliest.0),
        };
        // A window that ends before it begins is empty.
        let until = until.max(since);
        let buckets = i64::from(buckets.clamp(1, BUCKETS_MAX));
        let bucket = ceil_div(until.saturating_sub(since), buckets).max(1);
        let is_exact = !scope.query.where_.is_empty() || (bucket < MINUTE && is_short(reader, since, until)?);
        Ok(Self::new((since, until), bucket, is_exact))
    }

    fn new((since, until): (i64, i64), bucket: i64, is_exact: bool) -> Self {
        let (since, until, bucket) = match is_exact {
            true => (since, until, bucket),
            false => (
                since.div_euclid(MINUTE).saturating_mul(MINUTE),
                ceil_div(until, MINUTE).saturating_mul(MINUTE),
                ceil_div(bucket, MINUTE).saturating_mul(MINUTE),
            ),
        };
        let buckets = u32::try_from(ceil_div(until.saturating_sub(since), bucket)).unwrap_or(u32::MAX);
        Self { since, until, bucket, buckets, is_exact }
    }

    /// Whether no further record can belong to the window.
    pub(crate) fn is_settled(&self, now: UnixMicros) -> bool {
        is_settled(UnixMicros(self.until), now)
    }
}

/// Finds buckets without a division for each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BucketFinder {
    since: i64,
    bucket: u64,
    /// 2^64 / `bucket`, rounded down.
    reciprocal: u64,
}

impl BucketFinder {
    pub(crate) fn new(window: &Window) -> Self {
        let bucket = window.bucket.unsigned_abs().max(1);
        Self { since: window.since, bucket, reciprocal: u64::MAX / bucket }
    }

    /// The end of the bucket of a time in the window.
    pub(crate) fn end_of(&self, at: i64) -> i64 {
        let after = i64::try_from(self.bucket_of(at)).unwrap_or(i64::MAX).saturating_add(1);
        let bucket = i64::try_from(self.bucket).unwrap_or(i64::MAX);
        self.since.saturating_add(after.saturating_mul(bucket))
    }

    /// The bucket of a time in the window.
    #[inline]
    pub(crate) fn bucket_of(&self, at: i64) -> usize {
        let after = u64::try_from(at.saturating_sub(self.since)).unwrap_or(0);
        // The reciprocal is less than one too small, so the quotient is that, or one more.
        let quotient = u64::try_from((u128::from(after) * u128::from(self.reciprocal)) >> 64).unwrap_or(0);
        let is_more = after - quotient * self.bucket >= self.bucket;
        usize::try_from(quotient + u64::from(is_more)).unwrap_or(usize::MAX)
    }
}

/// The buckets of a segment's minutes.
#[derive(Debug)]
pub(crate) struct SegmentBuckets<'c> {
    counts: SegmentCounts<'c>,
    finder: BucketFinder,
    /// The bucket of each minute; empty if there are too many.
    table: Vec<u32>,
}

/// Minutes of a segment whose buckets are found once, in place of once for each record.
const TABLE_MINUTES_MAX: u64 = 1 << 14;

/// Stands for a bucket outside of the window.
const OUTSIDE: u32 = u32::MAX;

impl<'c> SegmentBuckets<'c> {
    pub(crate) fn new(finder: BucketFinder, counts: &SegmentCounts<'c>) -> Self {
        let bucket = |minute| {
            let bucket = counts.in_window(minute).map(|at| finder.bucket_of(at));
            bucket.and_then(|bucket| u32::try_from(bucket).ok()).unwrap_or(OUTSIDE)
        };
        let minutes = if counts.minutes() <= TABLE_MINUTES_MAX { counts.minutes() } else { 0 };
        Self { counts: *counts, finder, table: (0..minutes).map(bucket).collect() }
    }

    /// Passes index of the key and bucket of each record that is in the window.
    #[inline]
    pub(crate) fn each(&self, of_vm: VmCounts<'_>, mut each: impl FnMut(usize, usize)) {
        if self.table.is_empty() {
            of_vm.each(|key, minute| {
                if let Some(at) = self.counts.in_window(minute) {
                    each(key, self.finder.bucket_of(at));
                }
            });
            return;
        }
        of_vm.each(|key, minute| {
            let bucket = usize::try_from(minute).ok().and_then(|minute| self.table.get(minute)).copied();
            if let Some(bucket) = bucket.filter(|bucket| *bucket != OUTSIDE) {
                each(key, bucket as usize);
            }
        });
    }
}

/// Whether no further record can belong to a window that ends at `until`.
#[must_use]
pub fn is_settled(until: UnixMicros, now: UnixMicros) -> bool {
    let after = i64::try_from(SETTLED_AFTER.as_micros()).unwrap_or(i64::MAX);
    until.0.saturating_add(after) <= now.0
}

/// Division that rounds up; the divisor is positive.
fn ceil_div(number: i64, by: i64) -> i64 {
    number.div_euclid(by) + i64::from(number.rem_euclid(by) != 0)
}

fn is_short(reader: &Reader, since: i64, until: i64) -> Result<bool, JournalError> {
    let (first, last) = reader.offsets(UnixMicros(since), UnixMicros(until))?;
    Ok(last.0.saturating_sub(first.0) < EXACT_SEGMENTS_MAX * SEGMENT_RECORDS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Every time of the window has a bucket, and the window has the asked times in it.
        #[test]
        fn window_has_all_its_times(since in -1_i64 << 55..1 << 55, span in 0_i64..1 << 55, buckets in 1_u32..5000, exact in any::<bool>(), at in 0.0..1.0_f64) {
            let bucket = ceil_div(span, i64::from(buckets)).max(1);
            let window = Window::new((since, since + span), bucket, exact);
            prop_assert!(window.since <= since && window.until >= since + span);
            prop_assert!(window.buckets <= buckets + 1, "{:?}", window);
            if !exact {
                prop_assert!(window.since % MINUTE == 0 && window.until % MINUTE == 0 && window.bucket % MINUTE == 0);
            }
            #[expect(clippy::cast_possible_truncation, reason = "a part of the span")]
            let at = since + (span as f64 * at) as i64;
            if at < since + span {
                                let finder = BucketFinder::new(&window);
                for at in [at, since, at - (at - since) / 2] {
                    let bucket = usize::try_from((at - window.since) / window.bucket).expect("in the window");
                    prop_assert_eq!(finder.bucket_of(at), bucket);
                    prop_assert!(bucket < window.buckets as usize);
                }
            }
        }
    }
}
