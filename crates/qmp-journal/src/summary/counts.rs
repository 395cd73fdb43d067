//! The counts of a summary.
//!
//! ```text
//! form, first minute, then for each VM, the first of which is 0 and stands for all VMs:
//!   difference of its id, length of what follows, then for each name and class:
//!     difference of id × 8 + class, number of minutes, then for each minute:
//!       difference × 2 + (count > 1) [, count]
//! ```
//!
//! All numbers are LEB128, the first minute with its sign folded. The differences of minutes begin with the first minute of
//! the segment at each name. The length lets a reader skip a VM.

use qmp_wire::UnixMicros;

use crate::digest::Class;
use crate::varint::{push_signed, push_varint, take_bytes, take_signed, take_varint};

/// The form of the blob.
const FORM: u8 = 1;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cell {
    pub(crate) vm: u32,
    pub(crate) key: Key,
    pub(crate) minute: i64,
}

/// A name and a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u64);

impl Key {
    pub(crate) fn new(name: u32, class: Class) -> Self {
        Self(u64::from(name) << Class::BITS | u64::from(class.number()))
    }

    /// Takes the difference to the next key.
    #[inline]
    pub(crate) fn next(self, run: &mut &[u8]) -> Option<Self> {
        self.0.checked_add(take_varint(run)?).map(Self)
    }

    /// Name and class; `None` if a name has no such id.
    pub(crate) fn split(self) -> Option<(u32, Class)> {
        let class = Class::new((self.0 & 0xff) as u8);
        Some((u32::try_from(self.0 >> Class::BITS).ok()?, class))
    }
}

/// The VM, name and class of counted records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CountKey {
    /// The id of the VM's name; 0 for all VMs together.
    pub vm: u32,
    /// The id of the event's name, or of the kind of other records.
    pub name: u32,
    /// The class.
    pub class: Class,
}

/// The number of records in a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinuteCount {
    /// Minutes since the Unix epoch.
    pub minute: i64,
    /// The number of records.
    pub records: u64,
}

impl MinuteCount {
    /// The begin of the minute.
    #[inline]
    #[must_use]
    pub fn begin(&self) -> UnixMicros {
        UnixMicros(self.minute.saturating_mul(60_000_000))
    }
}

/// Encodes the records of a segment, which are sorted for it.
pub(crate) fn write_counts(cells: &mut [Cell]) -> Vec<u8> {
    cells.sort_unstable();
    let base = cells.iter().map(|cell| cell.minute).min().unwrap_or(0);
    let mut out = vec![FORM];
    push_signed(&mut out, base);
    let pairs: Vec<(Key, i64)> = cells.iter().map(|cell| (cell.key, cell.minute)).collect();
    let mut all = pairs.clone();
    all.sort_unstable();
    let mut run = Vec::new();
    write_run(&mut out, &mut run, 0, &all, base);
    let (mut vm, mut rest) = (0, pairs.as_slice());
    for cells in cells.chunk_by(|one, next| one.vm == next.vm) {
        let (own, tail) = rest.split_at(cells.len());
        write_run(&mut out, &mut run, cells[0].vm - vm, own, base);
        (vm, rest) = (cells[0].vm, tail);
    }
    out
}

fn write_run(out: &mut Vec<u8>, run: &mut Vec<u8>, vm: u32, pairs: &[(Key, i64)], base: i64) {
    run.clear();
    let mut key_before = 0;
    for same_key in pairs.chunk_by(|one, next| one.0 == next.0) {
        let key = same_key[0].0.0;
        push_varint(run, key - key_before);
        key_before = key;
        let minutes = same_key.chunk_by(|one, next| one.1 == next.1);
        push_varint(run, minutes.clone().count() as u64);
        let mut minute_before = base;
        for same_minute in minutes {
            let minute = same_minute[0].1;
            let count = same_minute.len() as u64;
            push_varint(run, minute.abs_diff(minute_before) << 1 | u64::from(count > 1));
            if count > 1 {
                push_varint(run, count);
            }
            minute_before = minute;
        }
    }
    push_varint(out, u64::from(vm));
    push_varint(out, run.len() as u64);
    out.extend_from_slice(run);
}

/// Passes the first minute, and the id and the encoded counts of each VM to `each`; the VM 0 comes first and stands for all.
/// `None` if the bytes are no counts, or if `each` returns it.
pub(crate) fn each_vm(bytes: &[u8], mut each: impl FnMut(i64, u32, &[u8]) -> Option<()>) -> Option<()> {
    let mut rest = bytes.strip_prefix(&[FORM])?;
    let base = take_signed(&mut rest)?;
    let mut vm = 0_u32;
    while !rest.is_empty() {
        vm = vm.checked_add(u32::try_from(take_varint(&mut rest)?).ok()?)?;
        each(base, vm, take_bytes(&mut rest)?)?;
    }
    Some(())
}

/// Passes the minutes of all VMs to `each`, by VM, name and class; the VM 0 stands for all. `None` if the bytes are no counts;
/// some may have been passed then.
pub(crate) fn read_counts(bytes: &[u8], mut each: impl FnMut(CountKey, &[MinuteCount])) -> Option<()> {
    let mut minutes = Vec::new();
    each_vm(bytes, |base, vm, mut run| {
        let mut key = Key(0);
        while !run.is_empty() {
            key = key.next(&mut run)?;
            let (name, class) = key.split()?;
            minutes.clear();
            read_minutes(&mut run, |after, records| {
                minutes.push(MinuteCount { minute: base.checked_add_unsigned(after)?, records });
                Some(())
            })?;
            each(CountKey { vm, name, class }, &minutes);
        }
        Some(())
    })
}

/// Passes the minutes of a key to `each`, counted from the first minute of the segment, with the number of records. `None` if
/// the bytes are no minutes, or if `each` returns it.
#[inline(always)]
pub(crate) fn read_minutes(run: &mut &[u8], mut each: impl FnMut(u64, u64) -> Option<()>) -> Option<()> {
    let mut rest = *run;
    let mut minute = 0_u64;
    for _ in 0..take_varint(&mut rest)? {
        let step = take_varint(&mut rest)?;
        minute = minute.checked_add(step >> 1)?;
        let records = if step & 1 == 1 { take_varint(&mut rest)? } else { 1 };
        each(minute, records)?;
    }
    *run = rest;
    Some(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Counts = BTreeMap<(u32, u32, Class, i64), u64>;

    fn cell(vm: u32, name: u32, class: u8, minute: i64) -> Cell {
        Cell { vm, key: Key::new(name, Class::new(class)), minute }
    }

    fn read(bytes: &[u8]) -> Option<Counts> {
        let mut counts = Counts::new();
        let each = |CountKey { vm, name, class }: CountKey, minutes: &[MinuteCount]| {
            for MinuteCount { minute, records } in minutes {
                let before = counts.insert((vm, name, class, *minute), *records);
                assert_eq!(before, None, "each cell is there once");
            }
        };
        read_counts(bytes, each).map(|()| counts)
    }

    /// The counts of the records one by one, of their VM and of all VMs.
    fn naive(cells: &[Cell]) -> Counts {
        let mut counts = Counts::new();
        for cell in cells {
            let (name, class) = cell.key.split().expect("a key");
            for vm in [0, cell.vm] {
                *counts.entry((vm, name, class, cell.minute)).or_default() += 1;
            }
        }
        counts
    }

    fn cells() -> impl Strategy<Value = Vec<Cell>> {
        let minute = prop_oneof![0_i64..5, -3_i64..2000, any::<i64>().prop_map(|at| at / 60_000_000)];
        let one = (1_u32..6, prop_oneof![1_u32..5, any::<u32>()], 0_u8..8, minute);
        prop::collection::vec(one.prop_map(|(vm, name, class, minute)| cell(vm, name, class, minute)), 0..300)
    }

    proptest! {
        /// The counts are those of the records.
        #[test]
        fn counts_are_those_of_the_records(cells in cells()) {
            let bytes = write_counts(&mut cells.clone());
            prop_assert_eq!(read(&bytes), Some(naive(&cells)));
        }

        /// Bytes that are no counts never panic.
        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), has_form in any::<bool>()) {
            let bytes = if has_form { [&[FORM], bytes.as_slice()].concat() } else { bytes };
            let _ = read_counts(&bytes, |_, _| ());
        }

        /// Cut or changed counts never panic.
        #[test]
        fn damaged_counts_never_panic(cells in cells(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut cells = cells;
            let mut bytes = write_counts(&mut cells);
            let at = at.index(bytes.len());
            let _ = read_counts(&bytes[..at], |_, _| ());
            bytes[at] = byte;
            let _ = read_counts(&bytes, |_, _| ());
        }
    }

    #[test]
    fn record_takes_few_bytes() {
        // A year of 1,000 VMs: a cell for each record.
        let mut cells: Vec<Cell> = (0..16_384_u32)
            .map(|index| {
                let event = (index.wrapping_mul(2_654_435_761) >> 16 | 1 << 15).trailing_zeros() + 1_100;
                cell(5 + index % 1_000, event, 0, i64::from(index) * 60 / 1_141)
            })
            .collect();
        let bytes = write_counts(&mut cells).len();
        assert!(bytes < 16_384 * 7 / 2, "{bytes}");
    }
}
