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
    /// Parses a text that is one JSON value; `Null` if QEMU would not accept it.
    #[must_use]
    pub fn read(text: &[u8]) -> Self {
        let mut input = Input::new(ErrorTexts::Worded);
        input.feed(text);
        // A number or a keyword ends only at the next byte.
        input.feed(b"\n");
        input.poll().and_then(Result::ok).unwrap_or(Self::Null)
    }

    /// Like [`read`](Self::read), for a text that a QEMU printed: printing the value keeps the order of its
    /// members.
    ///
    /// Members of one bucket are printed in the reverse order of their insertion, so that a QEMU which reads and
    /// prints its own text swaps them.
    #[must_use]
    pub fn read_printed(text: &[u8]) -> Self {
        Self::read(text).reversed()
    }

    fn reversed(self) -> Self {
        match self {
            Self::List(values) => Self::List(values.into_iter().map(Self::reversed).collect()),
            Self::Object(object) => {
                let mut reversed = Object::default();
                for (name, value) in object.members() {
                    reversed.insert(name, value.clone().reversed());
                }
                Self::Object(reversed)
            }
            other => other,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_text_prints_the_same_again() {
        // `minor` and `micro` are in one bucket.
        let cases = [
            r#"{"micro": 22, "minor": 2, "major": 7}"#,
            r#"[{"a": {"minor": 2, "micro": {"micro": 1, "minor": []}}}]"#,
            r#""x""#,
        ];
        for text in cases {
            assert_eq!(printed(&Value::read_printed(text.as_bytes())), text);
        }
        assert_ne!(printed(&Value::read(cases[0].as_bytes())), cases[0]);
    }

    fn printed(value: &Value) -> String {
        let mut out = Vec::new();
        value.print(false, &mut out);
        String::from_utf8(out).expect("ASCII")
    }
}
