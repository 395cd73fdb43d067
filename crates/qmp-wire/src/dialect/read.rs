//! Reads a text that is one value.

use super::input::{ErrorTexts, Input};
use super::value::{Object, Value};

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
