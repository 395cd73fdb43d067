//! The counts of a sealed segment, as far as a request wants them.

use qmp_wire::UnixMicros;

use super::digest::Class;
use super::summary::{CountKey, CountTable, MinuteCount};
use super::vm_selection::VmSelection;

pub(super) const MINUTE: i64 = 60_000_000;

/// The counts of a sealed segment that are in the window of a request: of all VMs together, and of its VMs.
#[derive(Clone, Copy, Debug)]
pub struct SegmentCounts<'c> {
    table: &'c CountTable,
    /// The begin of the segment's first minute.
    begin: i64,
    since: i64,
    until: i64,
    together: bool,
    vms: VmSelection<'c>,
}

/// The records of one VM.
#[derive(Clone, Copy, Debug)]
pub struct VmCounts<'c> {
    table: &'c CountTable,
    index: usize,
}

impl<'c> SegmentCounts<'c> {
    pub(super) fn new(
        table: &'c CountTable,
        (UnixMicros(since), UnixMicros(until)): (UnixMicros, UnixMicros),
        together: bool,
        vms: VmSelection<'c>,
    ) -> Self {
        let begin = table.minutes().0.saturating_mul(MINUTE);
        Self { table, begin, since, until, together, vms }
    }

    /// The names and classes, which records have by their index.
    #[must_use]
    pub fn keys(&self) -> &'c [(u32, Class)] {
        self.table.keys()
    }

    /// The number of minutes from the first to the last, also if the window does not reach there.
    #[must_use]
    pub fn minutes(&self) -> u64 {
        self.table.minutes().1
    }

    /// Whether all minutes are in the window.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let last = self.minutes().saturating_sub(1);
        self.in_window(0).is_some() && self.in_window(last).is_some()
    }

    /// The begin of a minute, counted from the first one; `None` if it is not in the window.
    #[inline]
    #[must_use]
    pub fn in_window(&self, minute: u64) -> Option<i64> {
        let at = self.at(minute);
        (at >= self.since && at < self.until).then_some(at)
    }

    /// Passes index of the key, time and number of records of all VMs together, if they are wanted: of spans, of which `end_of`
    /// returns the end of the one that begins at a minute.
    pub fn each_together(&self, end_of: impl Fn(i64) -> i64, mut each: impl FnMut(usize, i64, u64)) {
        if !self.together {
            return;
        }
        let end = |minute| {
            let at = self.at(minute);
            let end = match at {
                at if at < self.since => self.since,
                at if at >= self.until => i64::MAX,
                at => end_of(at).min(self.until),
            };
            let after = end.saturating_sub(self.begin);
            let minutes = after.div_euclid(MINUTE) + i64::from(after.rem_euclid(MINUTE) > 0);
            u64::try_from(minutes).unwrap_or(0).max(minute + 1)
        };
        self.table.each_together(end, |key, minute, records| {
            if let Some(at) = self.in_window(minute) {
                each(key, at, records);
            }
        });
    }

    /// Passes the wanted VMs with their records, by their ids in ascending order.
    #[inline]
    pub fn each_vm(&self, mut each: impl FnMut(u32, VmCounts<'c>)) {
        let (table, vms) = (self.table, self.table.vms());
        let mut pass = |vm: u32, index: usize| each(vm, VmCounts { table, index });
        match self.vms {
            VmSelection::None => {}
            VmSelection::These(these) => {
                for vm in these {
                    if let Ok(index) = vms.binary_search(vm) {
                        pass(*vm, index);
                    }
                }
            }
            VmSelection::Every => vms.iter().enumerate().for_each(|(index, vm)| pass(*vm, index)),
        }
    }

    /// Passes the times with records of each name and class: of all VMs together with the id 0, and of the wanted VMs. Records in
    /// a span, of which `end_of` returns the end of the one that begins at a minute, are passed as one.
    pub fn each_key(&self, end_of: impl Fn(i64) -> i64, mut each: impl FnMut(CountKey, &[MinuteCount])) {
        let mut run = Run { vm: 0, key: 0, end: i64::MIN, minutes: Vec::new() };
        let of_all = |key, at, records| run.add((0, key), (at, records), self, &end_of, &mut each);
        self.each_together(&end_of, of_all);
        self.each_vm(|vm, counts| {
            counts.each(|key, minute| {
                if let Some(at) = self.in_window(minute) {
                    run.add((vm, key), (at, 1), self, &end_of, &mut each);
                }
            });
        });
        run.pass(self, &mut each);
    }

    #[inline]
    fn at(&self, minute: u64) -> i64 {
        let after = i64::try_from(minute).unwrap_or(i64::MAX).saturating_mul(MINUTE);
        self.begin.saturating_add(after)
    }
}

impl VmCounts<'_> {
    /// Passes index of the key and minute, counted from the first one of the segment, of each record, also of those that are not
    /// in the window.
    #[inline]
    pub fn each(&self, each: impl FnMut(usize, u64)) {
        self.table.each_of_vm(self.index, each);
    }
}

/// The times of one VM, name and class.
struct Run {
    vm: u32,
    key: usize,
    /// The end of the last span.
    end: i64,
    minutes: Vec<MinuteCount>,
}

impl Run {
    fn add(
        &mut self,
        (vm, key): (u32, usize),
        (at, records): (i64, u64),
        counts: &SegmentCounts<'_>,
        end_of: &impl Fn(i64) -> i64,
        each: &mut impl FnMut(CountKey, &[MinuteCount]),
    ) {
        if (self.vm, self.key) != (vm, key) {
            self.pass(counts, each);
            (self.vm, self.key) = (vm, key);
        }
        match self.minutes.last_mut().filter(|_| at < self.end) {
            Some(last) => last.records += records,
            None => {
                self.end = end_of(at);
                self.minutes.push(MinuteCount { minute: at.div_euclid(MINUTE), records });
            }
        }
    }

    fn pass(&mut self, counts: &SegmentCounts<'_>, each: &mut impl FnMut(CountKey, &[MinuteCount])) {
        if let Some((name, class)) = counts.keys().get(self.key).filter(|_| !self.minutes.is_empty()) {
            each(CountKey { vm: self.vm, name: *name, class: *class }, &self.minutes);
        }
        self.minutes.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::columns::minute;
    use super::super::digest::DigestResult;
    use super::super::summary::SummaryBuilder;
    use super::*;

    /// VM, name, class and time of a record.
    type Entry = (u32, u32, u8, i64);
    type Sums = BTreeMap<(u32, u32, Class, i64), u64>;

    fn encoded(records: &[Entry]) -> Vec<u8> {
        let mut builder = SummaryBuilder::default();
        for (offset, (vm, name, class, at)) in (1..).zip(records) {
            let digested = DigestResult { class: Class::new(*class), changes: Vec::new() };
            builder.add(offset, *vm, *name, *at, digested);
        }
        builder.finish(1).counts
    }

    fn sums(counts: &SegmentCounts<'_>) -> Sums {
        let mut sums = Sums::new();
        counts.each_key(
            |at| at + MINUTE,
            |CountKey { vm, name, class }, minutes| {
                for MinuteCount { minute, records } in minutes {
                    let before = sums.insert((vm, name, class, *minute), *records);
                    assert_eq!(before, None, "each minute is passed once");
                }
            },
        );
        sums
    }

    fn naive(records: &[Entry], (since, until): (i64, i64), vms: &[u32]) -> Sums {
        let mut sums = Sums::new();
        for (vm, name, class, at) in records {
            let minute = minute(*at);
            for vm in [0, *vm] {
                let is_wanted = vm == 0 || vms.contains(&vm);
                if is_wanted && minute * MINUTE >= since && minute * MINUTE < until {
                    *sums.entry((vm, *name, Class::new(*class), minute)).or_default() += 1;
                }
            }
        }
        sums
    }

    /// Records of an hour, of years with few names, or of years with many.
    fn records() -> impl Strategy<Value = Vec<Entry>> {
        let near = (1_u32..6, 1_000_u32..1_004, 0_u8..3, 0..60 * MINUTE);
        let far = (1_u32..6, 1_000_u32..1_004, 0_u8..3, -1_i64 << 50..1 << 50);
        let wide = (1_u32..6, any::<u32>(), 0_u8..8, -1_i64 << 61..1 << 61);
        prop_oneof![
            prop::collection::vec(near, 0..100),
            prop::collection::vec(far, 0..100),
            prop::collection::vec(wide, 0..100)
        ]
    }

    proptest! {
        /// The counts in memory, of all VMs or of those that are wanted, are those of the records.
        #[test]
        fn counts_in_memory_are_those_of_the_records(
            records in records(),
            vms in prop::collection::btree_set(1_u32..6, 0..4),
            window in (-10_i64..70, 0_i64..70),
            has_all_times in any::<bool>(),
        ) {
            let vms: Vec<u32> = vms.into_iter().collect();
            let (bytes, most) = (encoded(&records), records.len() as u64);
            let whole = CountTable::read(&bytes, most, |_| true).expect("what was written");
            let part = CountTable::read(&bytes, most, |vm| vms.contains(&vm)).expect("what was written");
            let window = match has_all_times {
                true => (i64::MIN, i64::MAX),
                false => (window.0 * MINUTE, (window.0 + window.1) * MINUTE),
            };
            let expected = naive(&records, window, &vms);
            let times = (UnixMicros(window.0), UnixMicros(window.1));
            for table in [&whole, &part] {
                let these = SegmentCounts::new(table, times, true, VmSelection::These(&vms));
                prop_assert_eq!(&sums(&these), &expected);
            }
            let alone = SegmentCounts::new(&part, times, false, VmSelection::Every);
            let of_vms: Sums = expected.into_iter().filter(|((vm, ..), _)| *vm > 0).collect();
            prop_assert_eq!(sums(&alone), of_vms);
        }

        /// Bytes with more records than the segment, or that were changed, never panic or take more memory than its records.
        #[test]
        fn damaged_counts_never_panic(records in records(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let (mut bytes, most) = (encoded(&records), records.len() as u64);
            if most > 0 {
                prop_assert!(CountTable::read(&bytes, most - 1, |_| true).is_none());
            }
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Some(table) = CountTable::read(&bytes, most, |_| true) {
                sums(&SegmentCounts::new(&table, (UnixMicros(i64::MIN), UnixMicros(i64::MAX)), true, VmSelection::Every));
            }
        }
    }

    #[test]
    fn record_takes_two_bytes_besides_the_sums() {
        // A year of 1,000 VMs: a cell for each record.
        let records: Vec<Entry> = (0..16_384_u32)
            .map(|index| {
                let event = (index.wrapping_mul(2_654_435_761) >> 16 | 1 << 15).trailing_zeros() + 1_100;
                (5 + index % 1_000, event, 0, i64::from(index) * 60 / 1_141 * MINUTE)
            })
            .collect();
        let table = CountTable::read(&encoded(&records), 16_384, |_| true).expect("what was written");
        assert!(table.bytes() < 16_384 * 4, "{}", table.bytes());
    }
}
