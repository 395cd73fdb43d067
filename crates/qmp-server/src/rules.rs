//! The rules of a release for each event: existence, rate limit, and hidden members.

use std::collections::BTreeMap;

use qmp_events::{EventKind, MemberDesc, Release, Throttle, TypeRef, ViolationKind, catalogue, validate};
use qmp_wire::dialect::{Hidden, Value};

use crate::{
    check,
    types::{ObjectType, Type},
};

/// The parts of events that QEMU's `-compat` leaves out.
///
/// Source: QEMU 6.0 (`deprecated-output`) and 6.2 (`unstable-output`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HiddenOutput {
    /// Events and members that are deprecated in the release.
    pub deprecated: bool,
    /// Events and members that are unstable.
    pub unstable: bool,
}

impl HiddenOutput {
    /// Sets whether deprecated events and members are left out.
    #[must_use]
    pub fn with_deprecated(mut self, hidden: bool) -> Self {
        self.deprecated = hidden;
        self
    }

    /// Sets whether unstable events and members are left out.
    #[must_use]
    pub fn with_unstable(mut self, hidden: bool) -> Self {
        self.unstable = hidden;
        self
    }
}

/// The events of a release.
#[derive(Debug)]
pub(crate) struct Rules {
    /// By index in the catalogue; `None` if the release does not have the event.
    known: Vec<Option<Rule>>,
    registered: BTreeMap<Box<str>, Type>,
    release: Release,
    /// Whether members that the release always has may be left out.
    hides: bool,
    /// Whether events that the release does not have pass, too, without a rule.
    any: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Rule {
    pub(crate) limit: Option<Throttle>,
    pub(crate) hidden: Vec<Hidden>,
    pub(crate) gate: Option<Gate>,
}

/// An event whose source falls silent after it, until it is armed again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gate {
    /// The members that identify the source; the first one present counts.
    pub(crate) keys: &'static [&'static str],
    /// A member with a separate silence for each of its values.
    pub(crate) also: Option<&'static str>,
}

static NO_RULE: Rule = Rule { limit: None, hidden: Vec::new(), gate: None };

impl Rules {
    pub(crate) fn new(
        release: Release,
        output: HiddenOutput,
        registered: BTreeMap<Box<str>, ObjectType>,
        any: bool,
    ) -> Self {
        let known = catalogue().iter().map(|desc| {
            let deprecated = desc.deprecated.is_some_and(|since| release >= since);
            let hidden = deprecated && output.deprecated || desc.unstable && output.unstable;
            (desc.exists_in(release) && !hidden).then(|| Rule {
                limit: desc.throttle_at(release),
                hidden: hidden_members(desc.members, release, output),
                gate: gate(desc.kind),
            })
        });
        let registered = registered.into_iter().map(|(name, ty)| (name, ty.into())).collect();
        Self { known: known.collect(), registered, release, hides: output != HiddenOutput::default(), any }
    }

    /// Returns the violation of the claimed release, or of the registered type, by an event; `None` if it fits.
    pub(crate) fn violation(&self, name: &str, data: Option<&str>) -> Option<String> {
        if let Some(ty) = self.registered.get(name) {
            let value = Value::read(data.unwrap_or("{}").as_bytes());
            return check::check_value("data", &value, ty).err();
        }
        // For an event that only `any_event` allows, the release has no rule.
        let kind = EventKind::from_name(name)?;
        self.known.get(kind as usize)?.as_ref()?;
        let mut violations = validate(name, data, self.release).into_iter();
        let missing = |kind: &ViolationKind| {
            matches!(kind, ViolationKind::MissingMember | ViolationKind::MissingData { .. })
        };
        let violation = violations.find(|violation| !(self.hides && missing(&violation.kind)))?;
        let text = violation.to_string();
        // The text begins with the name, which the report already contains.
        Some(text.strip_prefix(name).unwrap_or(&text).trim_start_matches([':', ' ']).to_owned())
    }

    /// Returns the rule of an event; `None` if it must not be emitted.
    pub(crate) fn rule(&self, kind: Option<EventKind>, name: &str) -> Option<&Rule> {
        let known = kind.and_then(|kind| self.known.get(kind as usize)?.as_ref());
        known.or_else(|| {
            (self.any || kind.is_none() && self.registered.contains_key(name)).then_some(&NO_RULE)
        })
    }
}

/// Source: behaviour of QEMU 7.2 and 11.1: an interface is silent until `query-rx-filter`, a threshold is cleared
/// once it was exceeded, an image is reported corrupt once, and once more if that is fatal.
fn gate(kind: EventKind) -> Option<Gate> {
    let (keys, also): (&'static [&'static str], _) = match kind {
        EventKind::NicRxFilterChanged => (&["name", "path"], None),
        EventKind::BlockWriteThreshold => (&["node-name"], None),
        EventKind::BlockImageCorrupted => (&["node-name", "device"], Some("fatal")),
        _ => return None,
    };
    Some(Gate { keys, also })
}

fn hidden_members(members: &[MemberDesc], release: Release, output: HiddenOutput) -> Vec<Hidden> {
    let mut hidden = Vec::new();
    for member in members {
        let deprecated = member.deprecated.is_some_and(|since| release >= since);
        let leave_out = !member.exists_in(release)
            || deprecated && output.deprecated
            || member.unstable && output.unstable;
        let within = if leave_out { Vec::new() } else { hidden_within(member.ty, release, output) };
        if leave_out || !within.is_empty() {
            hidden.push(Hidden { name: member.name.into(), within });
        }
    }
    hidden
}

fn hidden_within(ty: TypeRef, release: Release, output: HiddenOutput) -> Vec<Hidden> {
    match ty {
        TypeRef::Builtin(_) | TypeRef::Enum(_) => Vec::new(),
        TypeRef::Array(element) => hidden_within(*element, release, output),
        TypeRef::Struct(desc) => {
            let mut hidden = hidden_members(desc.members, release, output);
            let branches = desc.union.iter().flat_map(|union| union.branches).filter_map(|branch| branch.ty);
            for branch in branches {
                // A member is left out only if no branch of this release has a member of that name.
                let all = hidden_members(branch.members, release, output);
                hidden.extend(all.into_iter().filter(|member| {
                    !desc.union.iter().flat_map(|union| union.branches).filter_map(|branch| branch.ty).any(
                        |branch| {
                            branch
                                .members
                                .iter()
                                .any(|other| *other.name == *member.name && other.exists_in(release))
                        },
                    )
                }));
            }
            hidden
        }
    }
}
