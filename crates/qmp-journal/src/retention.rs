//! How long records are kept, and what to do next about it. Pure: no file, no clock.

use std::time::Duration;

use qmp_wire::{Offset, UnixMicros};

use super::limits::{RETENTION_CHUNK_RECORDS, RETENTION_SEGMENTS_PER_AGE};

/// How long records are kept. The default keeps everything.
///
/// Whole segments go, oldest first. Both limits may be set: a segment goes when either wants it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Records go that were received longer ago than this; some stay for a tenth longer.
    pub max_age: Option<Duration>,
    /// Records go when the file uses more bytes than this; what is used counts, not what is free in it.
    pub max_bytes: Option<u64>,
}

/// Records that were removed before they were read: those after the one offset, up to and including the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The last offset before them.
    pub after: Offset,
    /// The last of them.
    pub upto: Offset,
}

impl Removed {
    /// How many they are. Offsets have no holes.
    #[must_use]
    pub fn records(self) -> u64 {
        self.upto.0.saturating_sub(self.after.0)
    }

    /// For people, of records that were lost in the file.
    pub(super) fn text(self) -> String {
        let (first, last) = (self.after.0 + 1, self.upto.0);
        format!("records {first} to {last} were committed and are gone from the journal")
    }

    /// What is missing for who has everything up to `after`, in a journal whose first record is `first`.
    ///
    /// Who begins at the start asks for what there is, and misses nothing.
    #[must_use]
    pub fn before(first: Offset, after: Offset) -> Option<Self> {
        let upto = Offset(first.0.saturating_sub(1));
        (after.0 > 0 && after < upto).then_some(Self { after, upto })
    }
}

/// How the bounds of a sweep are found: what the file says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measured {
    /// Bytes in pages that hold something.
    pub(super) used_bytes: u64,
    /// The last offset of the first segment; `None` without segments.
    pub(super) first_segment: Option<u64>,
    /// The last offset of the segments before the first one that is young enough to stay.
    pub(super) too_old: u64,
}

impl Retention {
    /// Whether anything is ever removed.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.max_age.is_some() || self.max_bytes.is_some()
    }

    /// Records received before this moment are too old.
    pub(super) fn oldest(&self, now: UnixMicros) -> Option<UnixMicros> {
        self.max_age.map(|age| UnixMicros(now.0.saturating_sub(micros(age))))
    }

    /// An open segment whose first record was received before this moment is to be sealed: only sealed ones go,
    /// and on a quiet host it would take years to fill one.
    pub(super) fn seal_before(&self, now: UnixMicros) -> Option<UnixMicros> {
        self.max_age.map(|age| UnixMicros(now.0.saturating_sub(micros(age / RETENTION_SEGMENTS_PER_AGE))))
    }

    /// Everything up to this offset is to go.
    pub(super) fn target(&self, measured: Measured) -> u64 {
        let too_large = self.max_bytes.is_some_and(|max| measured.used_bytes > max);
        // One at a time: how much room a segment gives is known when it is gone.
        let by_size = if too_large { measured.first_segment.unwrap_or(0) } else { 0 };
        measured.too_old.max(by_size)
    }
}

/// How many records go in one transaction, after `committed` ones were written.
///
/// Twice as many as came, so that the journal shrinks even while it is written at full speed.
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
    fn what_goes() {
        let bytes = |max| Retention { max_bytes: Some(max), max_age: None };
        //  name                     kept       used  first segment  too old   goes up to
        type Case = (&'static str, Retention, u64, Option<u64>, u64, u64);
        let cases: [Case; 5] = [
            ("nothing is set", Retention::default(), 900, Some(10), 0, 0),
            ("small enough", bytes(900), 900, Some(10), 0, 0),
            ("too large", bytes(899), 900, Some(10), 0, 10),
            ("too large, no segment", bytes(899), 900, None, 0, 0),
            ("too old and too large", bytes(899), 900, Some(10), 30, 30),
        ];
        for (name, retention, used_bytes, first_segment, too_old, expected) in cases {
            let measured = Measured { used_bytes, first_segment, too_old };
            assert_eq!(retention.target(measured), expected, "{name}");
        }
    }

    #[test]
    fn what_is_missing() {
        let cases: [(u64, u64, u64); 5] = [
            // first kept, read up to, missing
            (1, 0, 0),
            (101, 0, 0),
            (101, 40, 60),
            (101, 99, 1),
            (101, 100, 0),
        ];
        for (first, after, missing) in cases {
            let removed = Removed::before(Offset(first), Offset(after));
            assert_eq!(removed.map_or(0, Removed::records), missing, "{first} {after}");
        }
    }

    #[test]
    fn moments() {
        let hour = Retention { max_age: Some(Duration::from_secs(3600)), max_bytes: None };
        let now = UnixMicros(4_000_000_000);
        assert_eq!(hour.oldest(now), Some(UnixMicros(400_000_000)));
        assert_eq!(hour.seal_before(now), Some(UnixMicros(3_640_000_000)));
        assert_eq!(Retention::default().oldest(now), None);
        assert_eq!((chunk(0), chunk(10_000)), (RETENTION_CHUNK_RECORDS, 20_000));
    }
}
