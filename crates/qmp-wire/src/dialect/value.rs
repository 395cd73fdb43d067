//! A JSON value as QEMU holds it: the members of an object are printed in the order of QEMU's hash table.

use std::{cmp::Reverse, collections::BTreeMap};

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::bucket::bucket;

/// A JSON value with exact 64-bit integers.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// An integer in the range of `i64`.
    Int(i64),
    /// An integer above it, in the range of `u64`.
    Uint(u64),
    /// Any other number.
    Double(f64),
    /// A string; U+0000 is possible.
    String(String),
    /// `[…]`
    List(Vec<Value>),
    /// `{…}`
    Object(Object),
}

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

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Uint(number) => serializer.serialize_u64(*number),
            Self::Double(number) => serializer.serialize_f64(*number),
            Self::String(text) => serializer.serialize_str(text),
            Self::List(values) => serializer.collect_seq(values),
            Self::Object(object) => object.serialize(serializer),
        }
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        // A serializer that keeps QEMU's order puts the last inserted member of a bucket first.
        for (name, value) in self.members().into_iter().rev() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
