//! The order in which QEMU finds unexpected arguments.
//!
//! QEMU keeps the unread arguments in a second hash table and reports the first one left in it. The error for a
//! request with two unexpected arguments names one of them, and this order decides which.
//!
//! Source: measured on QEMU 7.2 and 11.1 with two to six unexpected arguments; the hash table of glib.

use super::Object;

/// Sizes of the table are powers of two, and positions are taken modulo the largest prime below.
///
/// Source: `ghash.c` of glib.
const PRIMES: [u32; 22] = [
    1, 2, 3, 7, 13, 31, 61, 127, 251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131_071, 262_139,
    524_287, 1_048_573, 2_097_143,
];

/// Returns the first member for which `wanted` is true, in the order of QEMU's table of arguments.
pub fn first_of(object: &Object, wanted: impl Fn(&str) -> bool) -> Option<&str> {
    let mut table = Table::new(3);
    for (name, _) in object.members() {
        table.insert(name);
    }
    table.places.into_iter().flatten().find(|name| wanted(name))
}

struct Table<'a> {
    places: Vec<Option<&'a str>>,
    shift: usize,
    taken: usize,
}

impl<'a> Table<'a> {
    fn new(shift: usize) -> Self {
        Self { places: vec![None; 1 << shift], shift, taken: 0 }
    }

    fn insert(&mut self, name: &'a str) {
        let modulus = PRIMES[self.shift.min(PRIMES.len() - 1)];
        let mut place = (hash(name).wrapping_mul(11) % modulus) as usize;
        let mut step = 0;
        while self.places[place].is_some() {
            step += 1;
            place = (place + step) & (self.places.len() - 1);
        }
        self.places[place] = Some(name);
        self.taken += 1;
        if self.places.len() <= self.taken + self.taken / 16 {
            self.grow();
        }
    }

    fn grow(&mut self) {
        let mut grown = Self::new(self.shift + 1);
        for name in self.places.iter().flatten() {
            grown.insert(name);
        }
        *self = grown;
    }
}

fn hash(name: &str) -> u32 {
    name.bytes().fold(5381, |hash: u32, byte| hash.wrapping_mul(33).wrapping_add(u32::from(byte)))
}
