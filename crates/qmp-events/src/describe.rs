//! The catalogue for users and scripts: the JSON of `qmp events --json`, and sentences.
//!
//! Members of objects within `data` are listed with dotted names; members of a union's branches are listed under
//! the union's name with the condition in `when`, as on the wire.

mod example;
mod members;
mod history;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

pub use example::{example_data, example_message};
pub use history::{Change, history};
pub use members::{MemberDescription, members};

use crate::catalogue::catalogue;
use crate::desc::{EventDesc, Scalar, WhenDesc};
use crate::release::Release;
pub use crate::text::{exempt_text, throttle_text, type_text, values_text, when_text};

/// An event as `qmp events --json` lists it.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct EventDescription {
    /// Name on the wire.
    pub name: &'static str,
    /// QAPI module that defines it.
    pub module: &'static str,
    /// First release that has it.
    pub since: String,
    /// First release that no longer has it.
    pub removed: Option<String>,
    /// First release in which it is deprecated.
    pub deprecated: Option<String>,
    /// Whether QEMU calls it unstable.
    pub unstable: bool,
    /// Build-time condition or target without which a QEMU lacks it.
    pub condition: Option<&'static str>,
    /// The occurrence that the event reports.
    pub summary: &'static str,
    /// Additional remarks.
    pub notes: &'static [&'static str],
    /// Members of `data`, nested ones after their object.
    pub members: Vec<MemberDescription>,
    /// The rate limit.
    pub throttle: Option<ThrottleDescription>,
    /// Events that this one announces, in order.
    pub sequels: Vec<SequelDescription>,
    /// The conditions under which QEMU exits after the event and its sequels.
    pub ends: Vec<EndsDescription>,
    /// A whole message.
    pub example: Option<Box<RawValue>>,
    /// Source of the facts.
    pub source: &'static str,
}

/// A rate limit as `qmp events --json` lists it.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct ThrottleDescription {
    /// Shortest time between two events of one key, in milliseconds.
    pub interval_ms: u32,
    /// The member by whose value it is limited separately.
    pub key: Option<&'static str>,
    /// The exemption from the limit, in words: `action is stop`.
    pub exempt: Option<String>,
    /// The same for programs: member and value.
    pub exempt_if: Option<BTreeMap<&'static str, &'static str>>,
}

/// An event that another one announces, as `qmp events --json` lists it.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct SequelDescription {
    /// The event that follows.
    pub event: &'static str,
    /// The condition under which it follows, in words: `action is reset; without -no-reboot`.
    pub when: String,
    /// The same for programs.
    #[serde(flatten)]
    pub condition: ConditionDescription,
    /// Values of the sequel's members.
    pub with: BTreeMap<&'static str, Vec<Value>>,
    /// Additional remark.
    pub note: Option<&'static str>,
}

/// An exit of QEMU, as `qmp events --json` lists it.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct EndsDescription {
    /// The condition under which it exits, in words.
    pub when: String,
    /// The same for programs.
    #[serde(flatten)]
    pub condition: ConditionDescription,
    /// Additional remark.
    pub note: Option<&'static str>,
}

/// A condition in parts, all of which must hold.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct ConditionDescription {
    /// Members with their allowed values: each member must have one of its values.
    pub members: BTreeMap<&'static str, Vec<Value>>,
    /// An option with which QEMU must have been started.
    pub option: Option<&'static str>,
    /// An option with which QEMU must not have been started.
    pub unless_option: Option<&'static str>,
    /// First release to which it applies.
    pub since: Option<String>,
    /// First release to which it no longer applies.
    pub removed: Option<String>,
}

/// Describes an event, as it is in `release`, or over all releases.
///
/// Over all releases, members and values are those of any release; whether a member may be absent, and the rate
/// limit, are those of the newest release that has the event.
pub fn event(desc: &EventDesc, release: Option<Release>) -> EventDescription {
    let at = release.unwrap_or_else(|| desc.newest_release());
    let applies = |when: &WhenDesc| release.is_none_or(|release| release.within(when.since, when.removed));
    let sequels = desc.sequels.iter().filter(|sequel| {
        applies(&sequel.when) && release.is_none_or(|release| sequel.event.desc().exists_in(release))
    });
    EventDescription {
        name: desc.name,
        module: desc.module,
        since: desc.since.to_string(),
        removed: desc.removed.map(|release| release.to_string()),
        deprecated: desc.deprecated.map(|release| release.to_string()),
        unstable: desc.unstable,
        condition: match release {
            Some(release) => desc.condition_in(release),
            None => desc.condition,
        },
        summary: desc.summary,
        notes: desc.notes,
        members: members(desc, release),
        throttle: throttle(desc, at),
        sequels: sequels
            .map(|sequel| SequelDescription {
                event: sequel.event.name(),
                when: when_text(&sequel.when),
                condition: condition(&sequel.when),
                with: values(sequel.with),
                note: sequel.note,
            })
            .collect(),
        ends: desc
            .ends
            .iter()
            .filter(|ends| applies(&ends.when))
            .map(|ends| EndsDescription {
                when: when_text(&ends.when),
                condition: condition(&ends.when),
                note: ends.note,
            })
            .collect(),
        example: example_message(desc, at).and_then(|message| RawValue::from_string(message).ok()),
        source: desc.source,
    }
}

/// Describes every event, or those that `release` has, sorted by name.
pub fn events(release: Option<Release>) -> Vec<EventDescription> {
    let all = catalogue().iter();
    let listed = all.filter(|desc| release.is_none_or(|release| desc.exists_in(release)));
    listed.map(|desc| event(desc, release)).collect()
}

/// Describes an event as [`event`] does, as a JSON value.
pub fn event_json(desc: &EventDesc, release: Option<Release>) -> Value {
    // Strings, numbers and texts that are valid JSON: serialization cannot fail.
    serde_json::to_value(event(desc, release)).unwrap_or_default()
}

fn throttle(desc: &EventDesc, release: Release) -> Option<ThrottleDescription> {
    let throttle = desc.throttle_at(release)?;
    Some(ThrottleDescription {
        interval_ms: u32::try_from(throttle.interval.as_millis()).unwrap_or(u32::MAX),
        key: throttle.key,
        exempt: throttle.exempt.as_ref().map(exempt_text),
        exempt_if: throttle.exempt.map(|exempt| BTreeMap::from([(exempt.member, exempt.value)])),
    })
}

fn condition(when: &WhenDesc) -> ConditionDescription {
    ConditionDescription {
        members: values(when.members),
        option: when.option,
        unless_option: when.unless_option,
        since: when.since.map(|release| release.to_string()),
        removed: when.removed.map(|release| release.to_string()),
    }
}

fn values(values: &[(&'static str, &'static [Scalar])]) -> BTreeMap<&'static str, Vec<Value>> {
    let value = |scalar: &Scalar| match *scalar {
        Scalar::Str(value) => Value::from(value),
        Scalar::Bool(value) => Value::from(value),
        Scalar::Int(value) => Value::from(value),
    };
    values.iter().map(|(member, values)| (*member, values.iter().map(value).collect())).collect()
}
