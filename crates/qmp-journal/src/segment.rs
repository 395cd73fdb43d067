//! Segments: the index of the journal, built a piece at a time after the commits.
//!
//! An index that every commit updates costs five times the time of the records themselves. So the records after the
//! last seal have none (reading scans them, they are few), and when they fill a segment its postings are written at
//! once, in the order of the file: for each VM, event and rare kind the offsets of its records, about three bytes a
//! record.

use std::collections::{BTreeMap, HashMap};

use super::body::RecordKind;
use super::checksum::Checksum;
use super::columns::minute;
use super::varint::{push_varint, take_varint};

/// A record as the index has it: the ids of its names, and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexedRecord {
    pub(super) offset: u64,
    pub(super) vm: u32,
    pub(super) kind: RecordKind,
    pub(super) event: Option<u32>,
    pub(super) received: i64,
    /// The bytes of its texts that are not names.
    pub(super) bytes: u64,
    /// The checksum of its content.
    pub(super) sum: u64,
}

/// The segment that is being filled and is not in the file.
#[derive(Debug, Default)]
pub(super) struct OpenSegment {
    records: u64,
    bytes: u64,
    first: u64,
    last: u64,
    received_min: i64,
    received_max: i64,
    checksum: Checksum,
    postings: HashMap<u32, Posting>,
    tally: BTreeMap<(i64, u32), u64>,
}

#[derive(Debug, Default)]
struct Posting {
    last: u64,
    offsets: Vec<u8>,
}

/// A full segment, as the rows that describe it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SealedSegment {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) received_min: i64,
    pub(super) received_max: i64,
    /// The checksum of its records.
    pub(super) checksum: Checksum,
    /// Name and offsets, by name.
    pub(super) postings: Vec<(u32, Vec<u8>)>,
    /// Minute, event, records.
    pub(super) tally: Vec<(i64, u32, u64)>,
}

impl OpenSegment {
    /// Adds a record; its offset is one more than that of the record before.
    pub(super) fn add(&mut self, record: IndexedRecord) {
        if self.records == 0 {
            self.first = record.offset;
            (self.received_min, self.received_max) = (record.received, record.received);
        }
        self.records += 1;
        self.bytes += record.bytes;
        self.checksum.number(record.sum);
        self.last = record.offset;
        self.received_min = self.received_min.min(record.received);
        self.received_max = self.received_max.max(record.received);
        self.post(record.vm, record.offset);
        match record.event {
            Some(event) => {
                self.post(event, record.offset);
                *self.tally.entry((minute(record.received), event)).or_default() += 1;
            }
            None => self.post(record.kind.id(), record.offset),
        }
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Bytes of the texts of its records.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether one of its records has this name.
    pub(super) fn holds(&self, name: u32) -> bool {
        self.postings.contains_key(&name)
    }

    /// The earliest time of receipt; 0 without records.
    pub(super) fn received_min(&self) -> i64 {
        self.received_min
    }

    /// Returns the segment as it is and begins the next.
    pub(super) fn seal(&mut self) -> SealedSegment {
        let mut postings: Vec<_> =
            self.postings.drain().map(|(name, posting)| (name, posting.offsets)).collect();
        postings.sort_unstable_by_key(|(name, _)| *name);
        (self.records, self.bytes) = (0, 0);
        SealedSegment {
            first: self.first,
            last: self.last,
            received_min: self.received_min,
            received_max: self.received_max,
            checksum: std::mem::take(&mut self.checksum),
            postings,
            tally: std::mem::take(&mut self.tally)
                .into_iter()
                .map(|((minute, event), records)| (minute, event, records))
                .collect(),
        }
    }

    fn post(&mut self, name: u32, offset: u64) {
        let before_first = self.first - 1;
        let posting =
            self.postings.entry(name).or_insert_with(|| Posting { last: before_first, offsets: Vec::new() });
        push_varint(&mut posting.offsets, offset - posting.last);
        posting.last = offset;
    }
}

/// The offsets of a posting, ascending; `None` if the bytes are not a posting.
pub(super) fn offsets(first: u64, bytes: &[u8]) -> Option<Vec<u64>> {
    let mut found = Vec::with_capacity(bytes.len());
    let mut last = first.checked_sub(1)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        // Offsets ascend: a step of 0 is damage.
        last = last.checked_add(take_varint(&mut rest).filter(|step| *step > 0)?)?;
        found.push(last);
    }
    Some(found)
}

/// The number of offsets in a posting.
pub(super) fn offsets_in(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte < 0x80).count() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A posting yields the offsets that were added.
        #[test]
        fn postings_round_trip(steps in prop::collection::vec((0_u32..5, 0_i64..200_000_000), 1..400), first in 1_u64..1 << 40) {
            let mut segment = OpenSegment::default();
            for (offset, (vm, received)) in (first..).zip(&steps) {
                segment.add(IndexedRecord { offset, vm: 10 + vm, kind: RecordKind::Event, event: Some(20 + vm % 2), received: *received, bytes: 1, sum: offset });
            }
            let sealed = segment.seal();
            prop_assert_eq!((sealed.first, sealed.last), (first, first + steps.len() as u64 - 1));
            prop_assert_eq!(sealed.tally.iter().map(|(.., records)| records).sum::<u64>(), steps.len() as u64);
            for (name, bytes) in &sealed.postings {
                let expected: Vec<u64> = (first..).zip(&steps)
                    .filter(|(_, (vm, _))| 10 + vm == *name || 20 + vm % 2 == *name)
                    .map(|(offset, _)| offset)
                    .collect();
                prop_assert_eq!(offsets_in(bytes), expected.len() as u64);
                prop_assert_eq!(offsets(sealed.first, bytes), Some(expected));
            }
        }

        /// Bytes that are not a posting are refused, never a panic.
        #[test]
        fn damaged_postings_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..40), first in any::<u64>()) {
            let _ = offsets(first, &bytes);
        }
    }
}
