//! A JSON value as QEMU holds it.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{ErrorTexts, Input, Object};

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

impl Value {
    /// Reads a text that is one JSON value; `Null` stands for what a QEMU would not read.
    #[must_use]
    pub fn read(text: &[u8]) -> Self {
        let mut input = Input::new(ErrorTexts::Worded);
        input.feed(text);
        // A number or a keyword ends where something else begins.
        input.feed(b"\n");
        input.poll().and_then(Result::ok).unwrap_or(Self::Null)
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
        // A serializer that keeps QEMU's order puts what came last in a bucket first.
        for (name, value) in self.members().into_iter().rev() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
