//! Records that cannot be read when a hub starts, and how many of them a VM may have lost. Pure: no file, no clock.
//!
//! Offsets have no holes, so the number of the unreadable records is known, and the numbers of most of their VMs are known
//! from the records after them. Each of the remaining ones may be of any VM without a later record: such a VM has lost
//! at most as many records as are unreadable after its last one, and as no other VM is known to have lost.

/// Offsets without a readable record, and how many of them are known to be of VMs with later records.
#[derive(Debug, Default)]
pub(super) struct UnreadableRecords {
    /// First and last offset of each span.
    spans: Vec<(u64, u64)>,
    records: u64,
    /// Records that the numbers of later ones account for.
    attributed: u64,
}

impl UnreadableRecords {
    /// Adds the offsets of `first..=last`, which are after those that were added before.
    pub(super) fn add(&mut self, first: u64, last: u64) {
        self.records = self.records.saturating_add(last.saturating_add(1).saturating_sub(first));
        match self.spans.last_mut() {
            Some((_, end)) if end.saturating_add(1) == first => *end = last,
            _ => self.spans.push((first, last)),
        }
    }

    /// Accounts for `records` of a VM whose later records show that it has lost them, and no more.
    pub(super) fn attribute(&mut self, records: u64) {
        self.attributed = self.attributed.saturating_add(records);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// How many of the records may be of a VM whose last readable record is at `offset`.
    pub(super) fn possible_after(&self, offset: u64) -> u64 {
        let after = |(first, last): &(u64, u64)| last.saturating_sub(offset.max(first.saturating_sub(1)));
        let after = self.spans.iter().map(after).fold(0, u64::saturating_add);
        // Numbers that account for more records than there are come from damage.
        let unattributed = self.records.checked_sub(self.attributed).unwrap_or(self.records);
        after.min(unattributed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vm_may_have_lost_the_records_after_its_last_one_that_are_not_attributed() {
        //  spans                     attributed   last, possible
        type Case = (&'static [(u64, u64)], u64, &'static [(u64, u64)]);
        let cases: [Case; 5] = [
            (&[], 0, &[(0, 0), (9, 0)]),
            (&[(10, 10)], 0, &[(0, 1), (9, 1), (11, 0)]),
            (&[(10, 12), (13, 14), (20, 20)], 0, &[(9, 6), (15, 1), (21, 0)]),
            (&[(10, 12), (20, 20)], 3, &[(9, 1), (15, 1), (21, 0)]),
            (&[(10, 12)], 4, &[(9, 3), (15, 0)]),
        ];
        for (spans, attributed, expected) in cases {
            let mut unreadable = UnreadableRecords::default();
            spans.iter().for_each(|(first, last)| unreadable.add(*first, *last));
            unreadable.attribute(attributed);
            for (last, possible) in expected {
                assert_eq!(unreadable.possible_after(*last), *possible, "{spans:?} {attributed} {last}");
            }
        }
    }
}
