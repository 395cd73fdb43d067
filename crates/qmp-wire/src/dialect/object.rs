//! Objects, whose members are printed in the order of QEMU's hash table.

use std::{cmp::Reverse, collections::BTreeMap};

use super::Value;

/// Buckets of QEMU's hash table of members.
///
/// Source: QEMU `qobject/qdict.c`; checked against what QEMU 7.2 and 11.1 print.
const BUCKETS: u32 = 512;

/// An object. Iterates by bucket, and in one bucket the member inserted last comes first, as QEMU prints it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object {
    members: BTreeMap<(u32, Box<str>), (Order, Value)>,
    inserted: u32,
}

/// Number of members inserted before; ignored when objects are compared.
#[derive(Clone, Copy, Debug)]
struct Order(u32);

impl PartialEq for Order {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Object {
    /// Adds a member; returns `false` and changes nothing if a member of that name exists.
    pub fn insert(&mut self, name: &str, value: Value) -> bool {
        let key = (bucket(name), Box::from(name));
        if self.members.contains_key(&key) {
            return false;
        }
        self.members.insert(key, (Order(self.inserted), value));
        self.inserted += 1;
        true
    }

    /// Returns the member of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.members.get(&(bucket(name), Box::from(name))).map(|(_, value)| value)
    }

    /// Returns the member of that name for changes in place.
    #[must_use]
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.members.get_mut(&(bucket(name), Box::from(name))).map(|(_, value)| value)
    }

    /// Removes the member of that name and returns it.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.members.remove(&(bucket(name), Box::from(name))).map(|(_, value)| value)
    }

    /// Returns the number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Returns whether there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Returns the members in no particular order.
    pub fn into_members(self) -> impl Iterator<Item = (String, Value)> {
        self.members.into_iter().map(|((_, name), (_, value))| (name.into(), value))
    }

    /// Returns the members in QEMU's order.
    #[must_use]
    pub fn members(&self) -> Vec<(&str, &Value)> {
        let mut members: Vec<_> = self.members.iter().collect();
        members.sort_by_key(|((bucket, _), (order, _))| (*bucket, Reverse(order.0)));
        members.into_iter().map(|((_, name), (_, value))| (&**name, value)).collect()
    }
}

impl<'a> FromIterator<(&'a str, Value)> for Object {
    /// Of two members of one name, the first is kept.
    fn from_iter<I: IntoIterator<Item = (&'a str, Value)>>(members: I) -> Self {
        let mut object = Self::default();
        for (name, value) in members {
            object.insert(name, value);
        }
        object
    }
}

/// Returns the bucket of a member's name.
pub(super) fn bucket(name: &str) -> u32 {
    if name.as_bytes().contains(&0) {
        // QEMU stores U+0000 as the two bytes C0 80.
        let bytes = name.bytes().flat_map(|byte| if byte == 0 { vec![0xC0, 0x80] } else { vec![byte] });
        hash(&bytes.collect::<Vec<_>>())
    } else {
        hash(name.as_bytes())
    }
}

fn hash(name: &[u8]) -> u32 {
    /// 5 × index mod 24, which repeats after 24 indices.
    const SHIFTS: [u32; 24] =
        [0, 5, 10, 15, 20, 1, 6, 11, 16, 21, 2, 7, 12, 17, 22, 3, 8, 13, 18, 23, 4, 9, 14, 19];
    let mut hash = 0x238F_13AF_u32.wrapping_mul(u32::try_from(name.len()).unwrap_or(u32::MAX));
    for bytes in name.chunks(SHIFTS.len()) {
        for (byte, shift) in bytes.iter().zip(SHIFTS) {
            hash = hash.wrapping_add(u32::from(*byte) << shift);
        }
    }
    hash.wrapping_mul(1_103_515_243).wrapping_add(12_345) % BUCKETS
}
