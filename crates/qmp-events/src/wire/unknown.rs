//! JSON that is kept byte for byte.

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::object::WireObject;
use super::reader::{Decode, DecodeFailure, Reader, deserialize_by_text};
use crate::print::Print;

/// A JSON value as its text, so that nothing is lost, 64-bit integers included.
///
/// Two values are equal if their texts are.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RawJson(Box<RawValue>);

impl RawJson {
    /// Wraps a text that is one JSON value.
    ///
    /// # Errors
    ///
    /// The error of `serde_json` if it is not.
    pub fn new(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text).map(Self)
    }

    /// Returns the value in the form of `serde_json`.
    pub fn into_inner(self) -> Box<RawValue> {
        self.0
    }

    /// Returns the text of the value.
    pub fn get(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for RawJson {}

/// Members of an object that are not in the catalogue, in their original order.
///
/// A name may occur twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnknownMembers(Vec<(Box<str>, RawJson)>);

impl UnknownMembers {
    /// Adds a member at the end.
    pub fn push(&mut self, name: impl Into<Box<str>>, value: RawJson) {
        self.0.push((name.into(), value));
    }

    /// Returns the value of the first member of that name.
    pub fn get(&self, name: &str) -> Option<&RawJson> {
        self.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Iterates over the members in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &RawJson)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// Returns whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl WireObject for UnknownMembers {
    fn serialize_members<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        self.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))
    }
}

impl Serialize for UnknownMembers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl Decode for UnknownMembers {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeFailure> {
        let mut members = Self::default();
        let tag = reader.take_tag();
        let mut is_tagged = false;
        let mut is_first = true;
        while let Some(name) = reader.next_name(&mut is_first)? {
            if tag != Some(&*name) {
                members.push(name, RawJson::decode(reader)?);
            } else if std::mem::replace(&mut is_tagged, true) {
                return Err(DecodeFailure);
            } else {
                reader.skip()?;
            }
        }
        Ok(members)
    }
}

deserialize_by_text!(UnknownMembers);

impl Print for UnknownMembers {}

impl Print for RawJson {}

impl Decode for RawJson {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeFailure> {
        reader.any().map(|value| Self(value.to_owned()))
    }
}
