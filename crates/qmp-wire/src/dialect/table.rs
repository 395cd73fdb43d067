//! The order in which QEMU finds unexpected arguments.
//!
//! QEMU keeps the unread arguments in a second hash table and reports the first one left in it. The error for a
//! request with two unexpected arguments names one of them, and this order decides which.
//!
//! Source: measured on QEMU 7.2 and 11.1 with two to six unexpected arguments; the hash table of glib.

use super::value::Object;

/// Sizes of the table are powers of two, and positions are taken modulo the largest prime below.
///
/// Source: `ghash.c` of glib.
const PRIMES: [u32; 22] = [
    1, 2, 3, 7, 13, 31, 61, 127, 251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131_071, 262_139,
    524_287, 1_048_573, 2_097_143,
];

/// Returns the first member for which `is_unexpected` is true, in the order of QEMU's table of arguments.
pub fn first_of(object: &Object, is_unexpected: impl Fn(&str) -> bool) -> Option<&str> {
    let mut table = Table::new(3);
    for (name, _) in object.members() {
        table.insert(name);
    }
    table.slots.into_iter().flatten().find(|name| is_unexpected(name))
}

struct Table<'a> {
    slots: Vec<Option<&'a str>>,
    shift: usize,
    used: usize,
}

impl<'a> Table<'a> {
    fn new(shift: usize) -> Self {
        Self { slots: vec![None; 1 << shift], shift, used: 0 }
    }

    fn insert(&mut self, name: &'a str) {
        let modulus = PRIMES[self.shift.min(PRIMES.len() - 1)];
        let mut slot = (hash(name).wrapping_mul(11) % modulus) as usize;
        let mut step = 0;
        while self.slots[slot].is_some() {
            step += 1;
            slot = (slot + step) & (self.slots.len() - 1);
        }
        self.slots[slot] = Some(name);
        self.used += 1;
        if self.slots.len() <= self.used + self.used / 16 {
            self.grow();
        }
    }

    fn grow(&mut self) {
        let mut grown = Self::new(self.shift + 1);
        for name in self.slots.iter().flatten() {
            grown.insert(name);
        }
        *self = grown;
    }
}

fn hash(name: &str) -> u32 {
    name.bytes().fold(5381, |hash: u32, byte| hash.wrapping_mul(33).wrapping_add(u32::from(byte)))
}
