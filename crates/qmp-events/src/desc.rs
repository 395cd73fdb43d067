//! The types of the catalogue: descriptions of events, members, types and enum values, with their releases.
//!
//! All descriptions are statics, written by `cargo xtask codegen` from `catalogue/*.toml`.

use std::time::Duration;

use serde_json::Value;

use crate::event_kind::EventKind;
use crate::release::Release;
use crate::releases::RELEASES;
use crate::severity::EventSeverity;
use crate::throttle::{Throttle, ThrottleDesc};

/// Describes one event.
#[derive(Debug)]
#[non_exhaustive]
pub struct EventDesc {
    /// The event itself.
    pub kind: EventKind,
    /// Name on the wire.
    pub name: &'static str,
    /// QAPI module that defines it.
    pub module: &'static str,
    /// First release that has it.
    pub since: Release,
    /// How urgent it is.
    pub severity: EventSeverity,
    /// The member that makes it an error.
    pub failure: Option<FailureDesc>,
    /// First release that no longer has it.
    pub removed: Option<Release>,
    /// First release in which it is deprecated.
    pub deprecated: Option<Release>,
    /// Whether QEMU calls it unstable: it may change or be removed without notice.
    pub unstable: bool,
    /// Build-time condition or target without which a QEMU lacks the event.
    pub condition: Option<&'static str>,
    /// First release to which the condition applies; `None`: since the event exists.
    pub condition_since: Option<Release>,
    /// First release to which the condition no longer applies.
    pub condition_removed: Option<Release>,
    /// First release in which the event has data, if it had none before.
    pub data_since: Option<Release>,
    /// The occurrence that the event reports.
    pub summary: &'static str,
    /// Additional remarks.
    pub notes: &'static [&'static str],
    /// Members of `data` in all releases.
    pub members: &'static [MemberDesc],
    /// The rate limit of similar events, in all releases.
    pub throttle: Option<ThrottleDesc>,
    /// Events that this one announces, in order.
    pub sequels: &'static [SequelDesc],
    /// Conditions under which QEMU exits after the event and its sequels.
    pub ends: &'static [EndsDesc],
    /// Consistency rules between members.
    pub rules: &'static [RuleDesc],
    /// Texts of `data`, each valid for the newest release that has the event.
    pub examples: &'static [&'static str],
    /// Source of the facts.
    pub source: &'static str,
}

/// The member with which an event reports a failure, which makes it an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailureDesc {
    /// Its name, directly in `data`.
    pub member: &'static str,
    /// Its value in a failure; `None`: any text.
    pub value: Option<&'static str>,
}

impl EventDesc {
    /// Returns whether `release` has the event.
    pub fn exists_in(&self, release: Release) -> bool {
        release.within(Some(self.since), self.removed)
    }

    /// Returns the condition or target without which a QEMU of that release lacks the event.
    pub fn condition_in(&self, release: Release) -> Option<&'static str> {
        self.condition.filter(|_| release.within(self.condition_since, self.condition_removed))
    }

    /// Returns the newest release that has the event.
    pub fn newest_release(&self) -> Release {
        let mut newest = RELEASES.iter().rev();
        *newest.find(|release| self.exists_in(**release)).unwrap_or(&self.since)
    }

    /// Iterates over the members that `release` has, in the order of the schema.
    pub fn members_at(&self, release: Release) -> impl Iterator<Item = &'static MemberDesc> {
        self.members.iter().filter(move |member| member.exists_in(release))
    }

    /// Returns the rate limit of the event in `release`; `None` if it has none there.
    pub fn throttle_at(&self, release: Release) -> Option<Throttle> {
        let throttle = self.throttle.as_ref().filter(|throttle| release >= throttle.since)?;
        let key = throttle.keys.iter().rev().find(|key| release >= key.since);
        Some(Throttle {
            interval: Duration::from_millis(throttle.interval_ms.into()),
            key: key.map(|key| key.member),
            exempt: throttle.exempt.filter(|exempt| exempt.applies_in(release)),
        })
    }

    /// How urgent the event is with this data.
    #[must_use]
    pub fn severity_with(&self, data: Option<&str>) -> EventSeverity {
        if self.is_failure(data) { EventSeverity::Error } else { self.severity }
    }

    /// Whether the event reports a failure by its data.
    fn is_failure(&self, data: Option<&str>) -> bool {
        let (Some(failure), Some(data)) = (self.failure, data) else { return false };
        let data: Value = serde_json::from_str(data).unwrap_or_default();
        let found = data.get(failure.member).and_then(Value::as_str);
        found.is_some_and(|found| failure.value.is_none_or(|value| found == value))
    }
}

/// Describes a member of an event's data or of a struct.
#[derive(Debug)]
#[non_exhaustive]
pub struct MemberDesc {
    /// Name on the wire.
    pub name: &'static str,
    /// Type of its value.
    pub ty: TypeRef,
    /// Meaning of the value.
    pub summary: &'static str,
    /// First release that has it; `None` if it is as old as its object.
    pub since: Option<Release>,
    /// First release that no longer has it.
    pub removed: Option<Release>,
    /// Whether it may be absent in the newest release.
    pub optional: bool,
    /// First release in which it may be absent; before that it is always present.
    pub optional_since: Option<Release>,
    /// Unit of the value, such as `bytes`.
    pub unit: Option<&'static str>,
    /// First release in which it is deprecated.
    pub deprecated: Option<Release>,
    /// Whether QEMU calls it unstable.
    pub unstable: bool,
    /// Build-time condition without which a QEMU lacks it.
    pub condition: Option<&'static str>,
}

impl MemberDesc {
    /// Returns whether `release` has the member, provided that it has the object.
    pub fn exists_in(&self, release: Release) -> bool {
        release.within(self.since, self.removed)
    }

    /// Returns whether the member may be absent in `release`.
    pub fn optional_in(&self, release: Release) -> bool {
        match self.optional_since {
            Some(since) => release >= since,
            None => self.optional,
        }
    }
}

/// The type of a member.
#[derive(Clone, Copy, Debug)]
pub enum TypeRef {
    /// A type of QAPI itself.
    Builtin(Builtin),
    /// A list of one type.
    Array(&'static TypeRef),
    /// One of a set of strings.
    Enum(&'static EnumDesc),
    /// An object with its own members.
    Struct(&'static StructDesc),
}

/// The types that QAPI itself defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the whole meaning")]
#[non_exhaustive]
pub enum Builtin {
    Str,
    Bool,
    Number,
    Int,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Size,
    Any,
    Null,
}

impl Builtin {
    /// Returns the name in QAPI.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Str => "str",
            Self::Bool => "bool",
            Self::Number => "number",
            Self::Int => "int",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Uint8 => "uint8",
            Self::Uint16 => "uint16",
            Self::Uint32 => "uint32",
            Self::Uint64 => "uint64",
            Self::Size => "size",
            Self::Any => "any",
            Self::Null => "null",
        }
    }

    /// Returns the smallest and the largest value of an integer type; `None` for other types.
    pub const fn range(self) -> Option<(i128, i128)> {
        Some(match self {
            Self::Int8 => (i8::MIN as i128, i8::MAX as i128),
            Self::Int16 => (i16::MIN as i128, i16::MAX as i128),
            Self::Int32 => (i32::MIN as i128, i32::MAX as i128),
            Self::Int | Self::Int64 => (i64::MIN as i128, i64::MAX as i128),
            Self::Uint8 => (0, u8::MAX as i128),
            Self::Uint16 => (0, u16::MAX as i128),
            Self::Uint32 => (0, u32::MAX as i128),
            Self::Uint64 | Self::Size => (0, u64::MAX as i128),
            Self::Str | Self::Bool | Self::Number | Self::Any | Self::Null => return None,
        })
    }
}

/// Describes an enum.
#[derive(Debug)]
#[non_exhaustive]
pub struct EnumDesc {
    /// Name in QAPI; not on the wire.
    pub name: &'static str,
    /// Meaning of the enum.
    pub summary: &'static str,
    /// Its values in all releases.
    pub values: &'static [ValueDesc],
    /// Source of the facts.
    pub source: &'static str,
}

impl EnumDesc {
    /// Iterates over the values that `release` has, in the order of the schema.
    pub fn values_at(&self, release: Release) -> impl Iterator<Item = &'static ValueDesc> {
        self.values.iter().filter(move |value| release.within(value.since, value.removed))
    }
}

/// Describes a value of an enum.
#[derive(Debug)]
#[non_exhaustive]
pub struct ValueDesc {
    /// The string on the wire.
    pub name: &'static str,
    /// Meaning of the value.
    pub summary: &'static str,
    /// First release that has it; `None` if it is as old as its enum.
    pub since: Option<Release>,
    /// First release that no longer has it.
    pub removed: Option<Release>,
    /// First release in which it is deprecated.
    pub deprecated: Option<Release>,
    /// Whether QEMU calls it unstable.
    pub unstable: bool,
    /// Build-time condition without which a QEMU lacks it.
    pub condition: Option<&'static str>,
}

/// Describes an object type.
#[derive(Debug)]
#[non_exhaustive]
pub struct StructDesc {
    /// Name in QAPI; not on the wire.
    pub name: &'static str,
    /// Content of the object.
    pub summary: &'static str,
    /// Its members in all releases; of a union, the tag.
    pub members: &'static [MemberDesc],
    /// The branches, if the type is a union.
    pub union: Option<UnionDesc>,
    /// Source of the facts.
    pub source: &'static str,
}

impl StructDesc {
    /// Iterates over the members that `release` has, without those of branches, in the order of the schema.
    pub fn members_at(&self, release: Release) -> impl Iterator<Item = &'static MemberDesc> {
        self.members.iter().filter(move |member| member.exists_in(release))
    }
}

/// Describes the branches of a union.
#[derive(Debug)]
#[non_exhaustive]
pub struct UnionDesc {
    /// The member whose value selects the branch.
    pub tag: &'static str,
    /// The branches that add members; other values of the tag add none.
    pub branches: &'static [BranchDesc],
}

/// Describes one branch of a union.
#[derive(Debug)]
#[non_exhaustive]
pub struct BranchDesc {
    /// The value of the tag.
    pub value: &'static str,
    /// The members that it adds; `None` if it adds none.
    pub ty: Option<&'static StructDesc>,
}

/// Describes an event that another one announces.
#[derive(Debug)]
#[non_exhaustive]
pub struct SequelDesc {
    /// The event that follows.
    pub event: EventKind,
    /// Values of its members, where the release has them.
    pub with: &'static [(&'static str, &'static [Scalar])],
    /// The condition under which it follows.
    pub when: WhenDesc,
    /// Additional remark.
    pub note: Option<&'static str>,
}

/// Describes that QEMU exits after an event and its sequels.
#[derive(Debug)]
#[non_exhaustive]
pub struct EndsDesc {
    /// The condition under which it exits.
    pub when: WhenDesc,
    /// Additional remark.
    pub note: Option<&'static str>,
}

/// A condition on an event and on the QEMU that sent it; all parts must hold.
#[derive(Debug)]
#[non_exhaustive]
pub struct WhenDesc {
    /// Members with their allowed values: each member must have one of its values.
    pub members: &'static [(&'static str, &'static [Scalar])],
    /// An option with which QEMU must have been started, or an equal setting made at run time.
    pub option: Option<&'static str>,
    /// An option with which QEMU must not have been started.
    pub unless_option: Option<&'static str>,
    /// First release to which it applies.
    pub since: Option<Release>,
    /// First release to which it no longer applies.
    pub removed: Option<Release>,
}

/// Describes a consistency rule: if all members of `when` have one of their values, those of `then` must have one
/// of theirs.
#[derive(Debug)]
#[non_exhaustive]
pub struct RuleDesc {
    /// The condition of the rule.
    pub when: &'static [(&'static str, &'static [Scalar])],
    /// The values required by the rule.
    pub then: &'static [(&'static str, &'static [Scalar])],
    /// The reason.
    pub note: Option<&'static str>,
}

/// A value that a member is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A string or an enum value.
    Str(&'static str),
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
}
