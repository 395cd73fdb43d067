//! The violations that an event can have.

use std::fmt;

use crate::desc::Builtin;
use crate::json::JsonType;
use crate::release::Release;

/// Maximum length of a received value in a message, in characters: enough to recognize it.
const SHOWN_CHARS: usize = 64;

/// One violation of an event for the release that sent it.
///
/// Displayed as one line with the expectation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// Name of the event.
    pub event: Box<str>,
    /// Dotted path of the member within `data`; empty for the event as a whole.
    pub path: Box<str>,
    /// The release that sent it.
    pub release: Release,
    /// The kind of the violation.
    pub kind: ViolationKind,
}

/// The kinds of violations.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ViolationKind {
    /// No release has the event.
    UnknownEvent,
    /// The event exists only in later releases.
    EventNotYet {
        /// First release that has it.
        since: Release,
    },
    /// The event was removed from the release.
    EventRemoved {
        /// First release that no longer has it.
        removed: Release,
    },
    /// The event has data although it has none in the release.
    UnexpectedData,
    /// The event has no data, or `null`, although some members are mandatory.
    MissingData {
        /// The mandatory members.
        members: Vec<&'static str>,
    },
    /// The text is not JSON, or contains a string that is not Unicode.
    Malformed {
        /// The error of the parser.
        error: Box<str>,
    },
    /// A mandatory member is missing.
    MissingMember,
    /// No release has the member.
    UnknownMember,
    /// The member exists only in later releases.
    MemberNotYet {
        /// First release that has it.
        since: Release,
    },
    /// The member was removed from the release.
    MemberRemoved {
        /// First release that no longer has it.
        removed: Release,
    },
    /// The member belongs to another branch of its union.
    MemberOfOtherBranch {
        /// The value of the tag that selects that branch.
        branch: &'static str,
    },
    /// The member occurs more than once.
    DuplicateMember,
    /// The value is of another JSON type.
    WrongType {
        /// The expected type.
        expected: JsonType,
        /// The type of the value.
        found: JsonType,
    },
    /// The integer does not fit its type.
    OutOfRange {
        /// The type.
        ty: Builtin,
    },
    /// No release has the value.
    UnknownValue {
        /// The received value.
        value: Box<str>,
        /// The values of the release.
        expected: Vec<&'static str>,
    },
    /// The value exists only in later releases.
    ValueNotYet {
        /// The value.
        value: &'static str,
        /// First release that has it.
        since: Release,
    },
    /// The value was removed from the release.
    ValueRemoved {
        /// The value.
        value: &'static str,
        /// First release that no longer has it.
        removed: Release,
    },
    /// Members contradict each other.
    Inconsistent {
        /// The broken rule, in words.
        rule: Box<str>,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&shown(&self.event))?;
        if !self.path.is_empty() {
            write!(formatter, " {}", shown(&self.path))?;
        }
        formatter.write_str(": ")?;
        let release = self.release;
        match &self.kind {
            ViolationKind::UnknownEvent => formatter.write_str("unknown event"),
            ViolationKind::EventNotYet { since } | ViolationKind::MemberNotYet { since } => {
                write!(formatter, "came with QEMU {since}, not expected from {release}")
            }
            ViolationKind::EventRemoved { removed } | ViolationKind::MemberRemoved { removed } => {
                write!(formatter, "removed in QEMU {removed}, not expected from {release}")
            }
            ViolationKind::UnexpectedData => {
                write!(formatter, "has data, but QEMU {release} sends it without")
            }
            ViolationKind::MissingData { members } => {
                write!(formatter, "has no data, but QEMU {release} sends {}", members.join(", "))
            }
            ViolationKind::Malformed { error } => write!(formatter, "not readable: {error}"),
            ViolationKind::MissingMember => {
                write!(formatter, "missing, but QEMU {release} always sends it")
            }
            ViolationKind::UnknownMember => formatter.write_str("unknown member"),
            ViolationKind::MemberOfOtherBranch { branch } => {
                write!(formatter, "not expected here: belongs to {branch}")
            }
            ViolationKind::DuplicateMember => formatter.write_str("there more than once"),
            ViolationKind::WrongType { expected, found } => {
                write!(formatter, "expected {expected}, found {found}")
            }
            ViolationKind::OutOfRange { ty } => match ty.range() {
                Some((least, greatest)) => {
                    write!(formatter, "out of range of {}: {least} to {greatest}", ty.name())
                }
                None => write!(formatter, "out of range of {}", ty.name()),
            },
            ViolationKind::UnknownValue { value, expected } => {
                write!(
                    formatter,
                    "unknown value \"{}\", QEMU {release} has {}",
                    shown(value),
                    expected.join(", ")
                )
            }
            ViolationKind::ValueNotYet { value, since } => {
                write!(formatter, "value {value} came with QEMU {since}, not expected from {release}")
            }
            ViolationKind::ValueRemoved { value, removed } => {
                write!(formatter, "value {value} removed in QEMU {removed}, not expected from {release}")
            }
            ViolationKind::Inconsistent { rule } => formatter.write_str(rule),
        }
    }
}

/// Returns a text of a peer on one line, limited in length.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}
