//! The QEMU release that a monitor claims to be.

use crate::dialect::{ErrorTexts, Object, Value};

/// The QEMU that a monitor claims to be: its greeting, and the wording of its errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Major, minor and micro number of the release.
    pub version: (u32, u32, u32),
    /// The package text; empty for a QEMU as released upstream.
    pub package: Box<str>,
    /// Whether out-of-band execution is offered.
    pub out_of_band: bool,
    /// Whether messages are spread over many lines (`pretty=on`).
    pub pretty: bool,
}

impl Profile {
    /// Returns the wording of this release's input errors.
    #[must_use]
    pub fn error_texts(&self) -> ErrorTexts {
        match (self.version.0, self.version.1) {
            (0..=2, _) | (3, 0) => ErrorTexts::One,
            (3..=10, _) => ErrorTexts::Worded,
            _ => ErrorTexts::Placed,
        }
    }

    /// Returns the value of `query-version`.
    #[must_use]
    pub fn version_value(&self) -> Value {
        let (major, minor, micro) = self.version;
        let numbers = [("major", major), ("minor", minor), ("micro", micro)];
        let numbers = numbers.map(|(name, number)| (name, Value::Int(number.into())));
        let package = Value::String(self.package.to_string());
        object([("qemu", object(numbers)), ("package", package)])
    }

    /// Returns the greeting.
    pub(super) fn greeting(&self) -> Value {
        let capabilities = if self.out_of_band { vec![Value::String("oob".into())] } else { Vec::new() };
        let members = [("version", self.version_value()), ("capabilities", Value::List(capabilities))];
        object([("QMP", object(members))])
    }
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(members.into_iter().collect::<Object>())
}
