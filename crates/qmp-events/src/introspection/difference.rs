//! Differences between introspection and the catalogue.

use std::fmt;

use crate::release::Release;

/// One difference between introspection and the catalogue, displayed as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The event.
    pub event: String,
    /// Dotted name of the member; empty for the event as a whole.
    pub path: String,
    /// The release used for the catalogue.
    pub release: Release,
    /// The kind of the difference.
    pub kind: DifferenceKind,
    /// Whether a sound QEMU may have the difference.
    pub severity: Severity,
}

/// The severity of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Explained: a build condition, another target, a hidden feature, a vendor's extension.
    Note,
    /// Not explained.
    Difference,
}

/// The kinds of differences.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DifferenceKind {
    /// QEMU lacks the event.
    EventMissing {
        /// The condition without which the event may be missing.
        condition: Option<&'static str>,
    },
    /// QEMU has an event that the catalogue does not have in the release.
    EventUnexpected,
    /// QEMU lacks the member.
    MemberMissing,
    /// QEMU has a member that the catalogue does not have in the release.
    MemberUnexpected,
    /// The types differ.
    Type {
        /// The catalogue's, folded to JSON.
        expected: String,
        /// QEMU's.
        found: String,
    },
    /// Only one of the two says that the member may be absent.
    Optional {
        /// Whether the catalogue says that it may be absent.
        expected: bool,
    },
    /// QEMU lacks the value.
    ValueMissing {
        /// The value.
        value: String,
    },
    /// QEMU has a value that the catalogue does not have in the release.
    ValueUnexpected {
        /// The value.
        value: String,
    },
    /// QEMU lacks a feature that the catalogue has.
    FeatureMissing {
        /// `deprecated` or `unstable`.
        feature: &'static str,
        /// The enum value, if the feature is one of a value.
        value: Option<String>,
    },
    /// QEMU has a feature that the catalogue lacks.
    FeatureUnexpected {
        /// `deprecated` or `unstable`.
        feature: &'static str,
        /// The enum value, if the feature is one of a value.
        value: Option<String>,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event, path, release, .. } = self;
        write!(formatter, "{}", event.escape_debug())?;
        if !path.is_empty() {
            write!(formatter, " {}", path.escape_debug())?;
        }
        formatter.write_str(": ")?;
        match &self.kind {
            DifferenceKind::EventMissing { condition: None } => {
                write!(formatter, "missing, expected in QEMU {release}")
            }
            DifferenceKind::EventMissing { condition: Some(condition) } => {
                write!(formatter, "missing; QEMU {release} has it only with {condition}")
            }
            DifferenceKind::EventUnexpected => write!(formatter, "not known of QEMU {release}"),
            DifferenceKind::MemberMissing => {
                write!(formatter, "member missing, expected in QEMU {release}")
            }
            DifferenceKind::MemberUnexpected => {
                write!(formatter, "member not known of QEMU {release}")
            }
            DifferenceKind::Type { expected, found } => {
                write!(formatter, "type is {}, expected {expected}", found.escape_debug())
            }
            DifferenceKind::Optional { expected: true } => {
                formatter.write_str("always there, expected to be optional")
            }
            DifferenceKind::Optional { expected: false } => {
                formatter.write_str("optional, expected to be always there")
            }
            DifferenceKind::ValueMissing { value } => {
                write!(formatter, "value {value} missing, expected in QEMU {release}")
            }
            DifferenceKind::ValueUnexpected { value } => {
                write!(formatter, "value {} not known of QEMU {release}", value.escape_debug())
            }
            DifferenceKind::FeatureMissing { feature, value } => {
                write!(formatter, "{}expected to be {feature} in QEMU {release}", of(value.as_ref()))
            }
            DifferenceKind::FeatureUnexpected { feature, value } => {
                write!(formatter, "{}{feature}, not expected in QEMU {release}", of(value.as_ref()))
            }
        }
    }
}

fn of(value: Option<&String>) -> String {
    value.map_or(String::new(), |value| format!("value {} ", value.escape_debug()))
}
