//! The newest records, of which those on the screen stand still while the display is paused.

use std::collections::VecDeque;

use qmp_wire::{Body, Record};

/// Most records kept: several screens, also of a large terminal.
const RECENT_RECORDS: usize = 2_000;

/// Most bytes of their texts. A record with a snapshot has some KiB.
const RECENT_MAX_BYTES: usize = 8 << 20;

/// The newest records, the oldest first.
#[derive(Debug, Default)]
pub(super) struct RecentRecords {
    shown: BoundedRecords,
    /// The records since the display was paused.
    later: BoundedRecords,
    is_paused: bool,
    /// How many records arrived since then, also those that were evicted.
    pending: u64,
}

impl RecentRecords {
    /// Adds a record, in order of its offset.
    pub(super) fn push(&mut self, record: Record<'static>) {
        if self.is_paused {
            self.pending += 1;
            self.later.push(record);
        } else {
            self.shown.push(record);
        }
    }

    /// The records that are shown, the oldest first.
    pub(super) fn shown(&self) -> impl DoubleEndedIterator<Item = &Record<'static>> {
        self.shown.records.iter()
    }

    /// All records that are kept, in no order.
    pub(super) fn kept(&self) -> impl Iterator<Item = &Record<'static>> {
        self.shown.records.iter().chain(&self.later.records)
    }

    /// How many records arrived since the display was paused.
    pub(super) fn pending(&self) -> u64 {
        self.pending
    }

    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Pauses or resumes.
    pub(super) fn set_paused(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
        if !is_paused {
            self.pending = 0;
            for record in std::mem::take(&mut self.later).records {
                self.shown.push(record);
            }
        }
    }
}

/// Records up to a number and a size.
#[derive(Debug, Default)]
struct BoundedRecords {
    records: VecDeque<Record<'static>>,
    bytes: usize,
}

impl BoundedRecords {
    fn push(&mut self, record: Record<'static>) {
        self.bytes += bytes(&record);
        self.records.push_back(record);
        while self.records.len() > RECENT_RECORDS || (self.bytes > RECENT_MAX_BYTES && self.records.len() > 1)
        {
            self.bytes -= self.records.pop_front().map_or(0, |first| bytes(&first));
        }
    }
}

/// The bytes of a record's texts.
fn bytes(record: &Record<'_>) -> usize {
    let text = match &record.body {
        Body::Attached { snapshot } => snapshot.len(),
        Body::Event { name, data, .. } => name.len() + data.as_ref().map_or(0, |data| data.len()),
        Body::Finding { summary, data, .. } => summary.len() + data.as_ref().map_or(0, |data| data.len()),
        Body::Detached { detail, .. } => detail.as_ref().map_or(0, |detail| detail.len()),
    };
    record.vm.len() + text
}

#[cfg(test)]
mod tests {
    use qmp_wire::{Epoch, Offset, Seq, UnixMicros};

    use super::*;

    fn record(offset: u64, data: usize) -> Record<'static> {
        let body = Body::Event {
            name: "STOP".into(),
            sent_name: None,
            timestamp: None,
            data: Some(" ".repeat(data).into()),
        };
        let (epoch, seq) = (Epoch(1), Seq(offset));
        Record { offset: Some(Offset(offset)), vm: "v".into(), epoch, seq, received: UnixMicros(0), body }
    }

    fn shown(recent: &RecentRecords) -> Vec<u64> {
        recent.shown().map(|record| record.offset.map_or(0, |offset| offset.0)).collect()
    }

    #[test]
    fn paused_list_stands_still_and_goes_on() {
        let mut recent = RecentRecords::default();
        recent.push(record(1, 0));
        recent.set_paused(true);
        for offset in 2..=5_000 {
            recent.push(record(offset, 0));
        }
        assert_eq!((shown(&recent), recent.pending()), (vec![1], 4_999));
        recent.set_paused(false);
        let offsets = shown(&recent);
        assert_eq!((offsets.len(), offsets.last(), recent.pending()), (RECENT_RECORDS, Some(&5_000), 0));
    }

    #[test]
    fn records_are_limited_in_bytes() {
        let mut recent = RecentRecords::default();
        for offset in 1..=10 {
            recent.push(record(offset, RECENT_MAX_BYTES / 4));
        }
        assert_eq!(shown(&recent), [8, 9, 10]);
        recent.push(record(11, 2 * RECENT_MAX_BYTES));
        assert_eq!(shown(&recent), [11], "the newest is kept whatever its size");
    }
}
