//! The name of a VM in the hub.
//!
//! The name is part of records, addresses, metrics labels and message subjects, so its characters are limited: letters,
//! digits, `.`, `_` and `-`, the first of them a letter or digit.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use qmp_wire::QualifiedName;

/// The longest name, in bytes: room for a UUID, or a host name's label, and still a column on a terminal.
pub const VM_NAME_MAX_BYTES: usize = 64;

/// A VM's name: 1 to 64 characters of `A-Z a-z 0-9 . _ -`, the first a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VmName(Box<str>);

/// Errors of reading a [`VmName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VmNameError {
    /// The text is empty.
    #[error("the name of a VM is empty")]
    Empty,
    /// The name is longer than [`VM_NAME_MAX_BYTES`].
    #[error("the name has {bytes} bytes, more than {VM_NAME_MAX_BYTES}")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// The first character is neither a letter nor a digit.
    #[error("the name {name:?} begins with {found:?}; the first character must be a letter or digit")]
    BadStart {
        /// The text given.
        name: Box<str>,
        /// Its first character.
        found: char,
    },
    /// A character is none of the allowed ones.
    #[error("the name {name:?} holds {found:?}; letters, digits, '.', '_' and '-' are allowed")]
    BadCharacter {
        /// The text given.
        name: Box<str>,
        /// The first character that is not allowed.
        found: char,
    },
}

/// Whether a VM of the journal is one of another host: its own hub attaches, asks and concludes.
pub(crate) fn is_of_other_host(vm: &str) -> bool {
    QualifiedName::parse(vm).is_some()
}

impl VmName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VmName {
    type Err = VmNameError;

    fn from_str(name: &str) -> Result<Self, VmNameError> {
        if name.len() > VM_NAME_MAX_BYTES {
            return Err(VmNameError::TooLong { bytes: name.len() });
        }
        let first = name.chars().next().ok_or(VmNameError::Empty)?;
        let allowed = |found: &char| found.is_ascii_alphanumeric() || matches!(found, '.' | '_' | '-');
        if let Some(found) = name.chars().find(|found| !allowed(found)) {
            return Err(VmNameError::BadCharacter { name: name.into(), found });
        }
        if !first.is_ascii_alphanumeric() {
            return Err(VmNameError::BadStart { name: name.into(), found: first });
        }
        Ok(Self(name.into()))
    }
}

impl TryFrom<&str> for VmName {
    type Error = VmNameError;

    fn try_from(name: &str) -> Result<Self, VmNameError> {
        name.parse()
    }
}

impl fmt::Display for VmName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl AsRef<str> for VmName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for VmName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_plain() {
        let long = "x".repeat(65);
        let longest = "x".repeat(64);
        let cases: [(&str, &str, &str); 12] = [
            // name              text                refusal, or nothing
            ("letter", "a", ""),
            ("number of Proxmox", "100", ""),
            ("libvirt", "domain-7-web.example_1", ""),
            ("64 bytes", &longest, ""),
            ("empty", "", "the name of a VM is empty"),
            ("65 bytes", &long, "the name has 65 bytes, more than 64"),
            (
                "dot first",
                ".web",
                "the name \".web\" begins with '.'; the first character must be a letter or digit",
            ),
            (
                "dash first",
                "-n",
                "the name \"-n\" begins with '-'; the first character must be a letter or digit",
            ),
            ("slash", "a/b", "the name \"a/b\" holds '/'; letters, digits, '.', '_' and '-' are allowed"),
            ("space", "a b", "the name \"a b\" holds ' '; letters, digits, '.', '_' and '-' are allowed"),
            ("not ASCII", "é", "the name \"é\" holds 'é'; letters, digits, '.', '_' and '-' are allowed"),
            (
                "line end",
                "a\n",
                "the name \"a\\n\" holds '\\n'; letters, digits, '.', '_' and '-' are allowed",
            ),
        ];
        for (case, text, refusal) in cases {
            assert_eq!(refused(text), refusal, "{case}");
        }
    }

    proptest! {
        /// A name that was read is written as it was read, and never needs quoting in a path or a subject.
        #[test]
        fn reads_what_it_writes(text in "\\PC{0,70}") {
            if let Ok(name) = text.parse::<VmName>() {
                prop_assert_eq!(name.to_string(), text.clone());
                prop_assert!(!text.contains(['/', ' ', '*', '>', '%', '"', ':', '=']));
                prop_assert_eq!(text.len(), text.chars().count());
            }
        }
    }

    fn refused(text: &str) -> String {
        text.parse::<VmName>().err().map(|error| error.to_string()).unwrap_or_default()
    }
}
