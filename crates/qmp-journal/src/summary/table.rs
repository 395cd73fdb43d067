//! The counts of a segment in the memory of a reader: decoded once, in two bytes a record where a segment has the usual length.
//!
//! A VM has a cell for each of its records: the minute and the index of the name and class in one number. All VMs together have
//! for each name and class the minutes with records, and the number of records up to each, so that the records of some hours are a
//! difference.

use super::counts::{Key, each_vm, read_minutes};
use crate::digest::Class;

/// Numbers in the least of three widths that holds all of them.
#[derive(Debug)]
enum Packed {
    Two(Vec<u16>),
    Four(Vec<u32>),
    Eight(Vec<u64>),
}

/// A width of numbers. What is left of a number that is too large is its low bits.
trait Width: Copy {
    fn new(number: u64) -> Self;
    fn get(self) -> u64;
}

impl Width for u16 {
    #[inline]
    fn new(number: u64) -> Self {
        (number & 0xffff) as Self
    }

    #[inline]
    fn get(self) -> u64 {
        u64::from(self)
    }
}

impl Width for u32 {
    #[inline]
    fn new(number: u64) -> Self {
        (number & 0xffff_ffff) as Self
    }

    #[inline]
    fn get(self) -> u64 {
        u64::from(self)
    }
}

impl Width for u64 {
    #[inline]
    fn new(number: u64) -> Self {
        number
    }

    #[inline]
    fn get(self) -> u64 {
        self
    }
}

impl Packed {
    /// No numbers, with room for `count` up to `most`.
    fn with_capacity(count: usize, most: u64) -> Self {
        if most <= u64::from(u16::MAX) {
            Self::Two(Vec::with_capacity(count))
        } else if most <= u64::from(u32::MAX) {
            Self::Four(Vec::with_capacity(count))
        } else {
            Self::Eight(Vec::with_capacity(count))
        }
    }

    fn new(numbers: &[u64]) -> Self {
        let mut packed = Self::with_capacity(numbers.len(), numbers.iter().copied().max().unwrap_or(0));
        match &mut packed {
            Self::Two(all) => all.extend(numbers.iter().map(|number| u16::new(*number))),
            Self::Four(all) => all.extend(numbers.iter().map(|number| u32::new(*number))),
            Self::Eight(all) => all.extend_from_slice(numbers),
        }
        packed
    }

    #[inline]
    fn get(&self, index: usize) -> u64 {
        match self {
            Self::Two(all) => all.get(index).copied().map_or(0, Width::get),
            Self::Four(all) => all.get(index).copied().map_or(0, Width::get),
            Self::Eight(all) => all.get(index).copied().unwrap_or(0),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Two(all) => all.len(),
            Self::Four(all) => all.len(),
            Self::Eight(all) => all.len(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Two(all) => all.capacity() * size_of::<u16>(),
            Self::Four(all) => all.capacity() * size_of::<u32>(),
            Self::Eight(all) => all.capacity() * size_of::<u64>(),
        }
    }

    fn shrink_to_fit(&mut self) {
        match self {
            Self::Two(all) => all.shrink_to_fit(),
            Self::Four(all) => all.shrink_to_fit(),
            Self::Eight(all) => all.shrink_to_fit(),
        }
    }
}

/// The counts of a segment, or of some of its VMs.
#[derive(Debug)]
pub(crate) struct CountTable {
    /// The first minute of the segment.
    base: i64,
    /// The minutes from the first to the last.
    minutes: u64,
    /// Names and classes, in ascending order, and the end of the minutes of each.
    keys: Box<[(u32, Class)]>,
    key_ends: Box<[u32]>,
    /// The minutes of all VMs together, after the first one, and the records of the segment up to each.
    together: Packed,
    together_sums: Packed,
    /// The VMs, in ascending order, and the end of the cells of each.
    vms: Box<[u32]>,
    vm_ends: Packed,
    /// The low bits of a cell, which are the index of its key.
    key_bits: u32,
    cells: Packed,
}

impl CountTable {
    /// Decodes what [`write_counts`](super::counts::write_counts) wrote of at most `records` records: all VMs together, and
    /// the wanted VMs. `None` if the bytes are no such counts.
    pub(crate) fn read(bytes: &[u8], records: u64, mut wants_vm: impl FnMut(u32) -> bool) -> Option<Self> {
        let mut builder = None;
        each_vm(bytes, |base, vm, run| match &mut builder {
            None if vm == 0 => {
                builder = Some(TableBuilder::new(base, run, records)?);
                Some(())
            }
            Some(builder) if vm > 0 => {
                if wants_vm(vm) {
                    builder.add(vm, run)?;
                }
                Some(())
            }
            _ => None,
        })?;
        builder.map(TableBuilder::finish)
    }

    /// Memory, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let packed = [&self.together, &self.together_sums, &self.vm_ends, &self.cells];
        let packed: usize = packed.into_iter().map(Packed::bytes).sum();
        let ids = size_of_val(&*self.keys) + size_of_val(&*self.key_ends) + size_of_val(&*self.vms);
        size_of::<Self>() + packed + ids
    }

    /// Names and classes, which cells have by their index.
    pub(crate) fn keys(&self) -> &[(u32, Class)] {
        &self.keys
    }

    /// The first minute, and the number of minutes from it to the last.
    pub(crate) fn minutes(&self) -> (i64, u64) {
        (self.base, self.minutes)
    }

    /// The VMs, in ascending order.
    pub(crate) fn vms(&self) -> &[u32] {
        &self.vms
    }

    /// Passes index of the key, first minute and number of records of spans of all VMs together. `end_of` returns the end of the
    /// span that begins at a minute; minutes are counted from the first one.
    pub(crate) fn each_together(&self, end_of: impl Fn(u64) -> u64, mut each: impl FnMut(usize, u64, u64)) {
        let mut begin = 0;
        for (key, end) in self.key_ends.iter().map(|end| *end as usize).enumerate() {
            while begin < end {
                let minute = self.together.get(begin);
                let next = self.minute_from(begin + 1, end, end_of(minute));
                let before = begin.checked_sub(1).map_or(0, |before| self.together_sums.get(before));
                each(key, minute, self.together_sums.get(next - 1).saturating_sub(before));
                begin = next;
            }
        }
    }

    /// The index of the first minute of all VMs together from `minute` on, of those from `begin` up to `end`.
    fn minute_from(&self, begin: usize, end: usize, minute: u64) -> usize {
        // Near ones are found first: spans may be short.
        let mut step = 1;
        let (mut low, mut high) = (begin, begin);
        while high < end && self.together.get(high) < minute {
            (low, high) = (high + 1, high + step);
            step *= 2;
        }
        high = high.min(end);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.together.get(middle) < minute {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Passes index of the key and minute after the first one of each record of a VM, by key and minute.
    #[inline]
    pub(crate) fn each_of_vm(&self, vm_index: usize, each: impl FnMut(usize, u64)) {
        let end = |index| usize::try_from(self.vm_ends.get(index)).unwrap_or(0);
        let cells = vm_index.checked_sub(1).map_or(0, end)..end(vm_index);
        match &self.cells {
            Packed::Two(all) => each_cell(&all[cells], self.key_bits, each),
            Packed::Four(all) => each_cell(&all[cells], self.key_bits, each),
            Packed::Eight(all) => each_cell(&all[cells], self.key_bits, each),
        }
    }
}

#[inline]
fn each_cell<W: Width>(cells: &[W], key_bits: u32, mut each: impl FnMut(usize, u64)) {
    let mask = (1 << key_bits) - 1;
    for cell in cells {
        let cell = cell.get();
        #[expect(clippy::cast_possible_truncation, reason = "the index of a key")]
        each((cell & mask) as usize, cell >> key_bits);
    }
}

/// A table to which VMs are added in their order.
struct TableBuilder {
    table: CountTable,
    /// The keys as they are encoded.
    keys: Vec<Key>,
    vms: Vec<u32>,
    ends: Vec<u64>,
    /// The most records that the VMs that follow may have.
    left: u64,
}

impl TableBuilder {
    /// Decodes the counts of all VMs together.
    fn new(base: i64, mut run: &[u8], records: u64) -> Option<Self> {
        let (mut keys, mut key_ends, mut minutes, mut sums) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut key, mut sum) = (Key::default(), 0_u64);
        while !run.is_empty() {
            key = key.next(&mut run)?;
            if keys.last().is_some_and(|last| *last >= key) {
                return None;
            }
            read_minutes(&mut run, |minute, count| {
                sum = sum.checked_add(count).filter(|sum| count > 0 && *sum <= records)?;
                minutes.push(minute);
                sums.push(sum);
                Some(())
            })?;
            keys.push(key);
            key_ends.push(u32::try_from(minutes.len()).ok()?);
        }
        let last = minutes.iter().copied().max();
        base.checked_add_unsigned(last.unwrap_or(0))?;
        let key_bits = keys.len().next_power_of_two().trailing_zeros();
        let most = last.unwrap_or(0).checked_add(1)?.checked_mul(1 << key_bits)?;
        let split = keys.iter().map(|key| key.split()).collect::<Option<Box<[_]>>>()?;
        let table = CountTable {
            base,
            minutes: last.map_or(0, |last| last + 1),
            keys: split,
            key_ends: key_ends.into(),
            together: Packed::new(&minutes),
            together_sums: Packed::new(&sums),
            vms: Box::default(),
            vm_ends: Packed::new(&[]),
            key_bits,
            cells: Packed::with_capacity(usize::try_from(sum).ok()?, most - 1),
        };
        Some(Self { table, keys, vms: Vec::new(), ends: Vec::new(), left: sum })
    }

    /// Decodes the counts of the next VM.
    fn add(&mut self, vm: u32, run: &[u8]) -> Option<()> {
        if self.vms.last().is_some_and(|last| *last >= vm) {
            return None;
        }
        let limits = (self.table.minutes, self.left);
        let added = match &mut self.table.cells {
            Packed::Two(cells) => add_cells(cells, run, &self.keys, self.table.key_bits, limits)?,
            Packed::Four(cells) => add_cells(cells, run, &self.keys, self.table.key_bits, limits)?,
            Packed::Eight(cells) => add_cells(cells, run, &self.keys, self.table.key_bits, limits)?,
        };
        self.left -= added;
        self.vms.push(vm);
        self.ends.push(self.table.cells.len() as u64);
        Some(())
    }

    fn finish(self) -> CountTable {
        let Self { mut table, vms, ends, .. } = self;
        table.cells.shrink_to_fit();
        CountTable { vms: vms.into(), vm_ends: Packed::new(&ends), ..table }
    }
}

/// Appends the cells of a VM; returns their number. `None` if a key or minute is not one of all VMs together, or if there are more
/// records than are left.
fn add_cells<W: Width>(
    cells: &mut Vec<W>,
    mut run: &[u8],
    keys: &[Key],
    key_bits: u32,
    (minutes, left): (u64, u64),
) -> Option<u64> {
    let (mut key, mut index, mut added) = (Key::default(), 0, 0);
    while !run.is_empty() {
        key = key.next(&mut run)?;
        index += keys.get(index..)?.iter().position(|other| *other == key)?;
        read_minutes(&mut run, |minute, count| {
            added += count.min(left + 1);
            if minute >= minutes || added > left {
                return None;
            }
            let cell = W::new(minute << key_bits | index as u64);
            if count == 1 {
                cells.push(cell);
            } else {
                cells.resize(cells.len() + usize::try_from(count).ok()?, cell);
            }
            Some(())
        })?;
    }
    Some(added)
}
