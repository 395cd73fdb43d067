//! Conditions that no record of a selection can meet, by the members in the catalogue and in the list of findings.
//!
//! These are warnings, not errors: events and findings of later releases may have other members.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use qmp_events::{Builtin, TypeRef};
use qmp_journal::{FINDING_MEMBERS, Globs, RecordKind, WherePath};
use qmp_settings::suggest;
use qmp_wire::DetachReason;

/// The most members that a warning lists; of more, only those with a similar name.
const MEMBERS_NAMED_MAX: usize = 24;

/// The members of a snapshot, the data of `attached`.
const SNAPSHOT_MEMBERS: [&str; 12] = [
    "address",
    "errors",
    "greeting",
    "libvirt",
    "process",
    "query-block-jobs",
    "query-jobs",
    "query-migrate",
    "query-name",
    "query-status",
    "query-uuid",
    "query-version",
];

/// The values of `reason` in `detached`.
static DETACH_REASONS: [DetachReason; 7] = [
    DetachReason::PeerClosed,
    DetachReason::Overrun,
    DetachReason::HubStopped,
    DetachReason::ProtocolError,
    DetachReason::Removed,
    DetachReason::RecordsLost,
    DetachReason::SourceLost,
];

/// The records that conditions are for. The three selections are alternatives; without any, all records.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordSelection<'a> {
    /// Names of events.
    pub event: Option<&'a Globs>,
    /// Kinds of findings.
    pub finding: Option<&'a Globs>,
    /// Kinds of records.
    pub kind: &'a [RecordKind],
}

/// Members with their values; `None` if the values are not listed.
type Names = BTreeMap<&'static str, Option<Vec<&'static str>>>;

/// The members that records may have.
#[derive(Default)]
struct Members {
    /// The events and kinds of findings that have them, for people.
    of: Vec<&'static str>,
    /// Members of the data.
    data: Names,
    /// Members of the record itself.
    record: Names,
}

impl RecordSelection<'_> {
    /// The warnings about the conditions, one sentence each; none if the selected names are unknown.
    #[must_use]
    pub fn warnings(&self, conditions: &[WherePath]) -> Vec<String> {
        if conditions.is_empty() {
            return Vec::new();
        }
        let Some(members) = self.members() else { return Vec::new() };
        conditions.iter().filter_map(|condition| members.doubt(condition)).collect()
    }

    fn members(&self) -> Option<Members> {
        let is_open = self.event.is_none() && self.finding.is_none() && self.kind.is_empty();
        let has_kind = |kind| is_open || self.kind.contains(&kind);
        let mut members = Members::default();
        let any = Globs::default();
        // A kind selects all its records, also those that the names do not select.
        let events = if has_kind(RecordKind::Event) { Some(&any) } else { self.event };
        if let Some(names) = events {
            members.add_events(names)?;
        }
        let findings = if has_kind(RecordKind::Finding) { Some(&any) } else { self.finding };
        if let Some(kinds) = findings {
            members.add_findings(kinds)?;
        }
        if has_kind(RecordKind::Attached) {
            members.of.push("attached");
            SNAPSHOT_MEMBERS.into_iter().for_each(|name| add(&mut members.record, name, None));
        }
        if has_kind(RecordKind::Detached) {
            members.add_detached();
        }
        Some(members)
    }
}

/// Adds a member. Its values are listed if those of all records are.
fn add(names: &mut Names, name: &'static str, values: Option<Vec<&'static str>>) {
    match names.entry(name) {
        Entry::Vacant(place) => _ = place.insert(values),
        Entry::Occupied(mut place) => match (place.get_mut(), values) {
            (Some(known), Some(more)) => known.extend(more),
            (known, _) => *known = None,
        },
    }
}

/// The values of a type, if they are listed.
fn values_of(ty: &TypeRef) -> Option<Vec<&'static str>> {
    match ty {
        TypeRef::Enum(desc) => Some(desc.values.iter().map(|value| value.name).collect()),
        TypeRef::Builtin(Builtin::Bool) => Some(vec!["true", "false"]),
        TypeRef::Array(element) => values_of(element),
        TypeRef::Builtin(_) | TypeRef::Struct(_) => None,
    }
}

impl Members {
    /// Adds members of events of the catalogue; `None` if the patterns may select other events too.
    fn add_events(&mut self, names: &Globs) -> Option<()> {
        let meant = qmp_events::catalogue().iter().filter(|event| names.matches(event.name));
        let before = self.of.len();
        for event in meant {
            self.of.push(event.name);
            for member in event.members {
                match member.name.split_once('.') {
                    None => add(&mut self.data, member.name, values_of(&member.ty)),
                    Some((top, _)) => add(&mut self.data, top, None),
                }
            }
        }
        // Each name is known, or is a pattern that matches known names.
        let is_known = |pattern: &str| {
            let glob = Globs::parse([pattern]).ok();
            glob.is_some_and(|glob| qmp_events::catalogue().iter().any(|event| glob.matches(event.name)))
        };
        (self.of.len() > before && names.patterns().all(is_known)).then_some(())?;
        add(&mut self.record, "data", None);
        Some(())
    }

    fn add_findings(&mut self, kinds: &Globs) -> Option<()> {
        let meant: Vec<&'static str> = qmp_findings::kinds().filter(|kind| kinds.matches(kind)).collect();
        for member in meant.iter().flat_map(|kind| qmp_findings::members(kind)) {
            add(&mut self.data, member, None);
        }
        for member in FINDING_MEMBERS {
            add(&mut self.record, member, (member == "finding").then(|| meant.clone()));
        }
        (!meant.is_empty()).then(|| self.of.extend(meant))
    }

    fn add_detached(&mut self) {
        self.of.push("detached");
        let reasons = DETACH_REASONS.iter().map(DetachReason::as_str).collect();
        add(&mut self.record, "reason", Some(reasons));
        for member in ["detail", "certain_until"] {
            add(&mut self.record, member, None);
        }
    }

    fn doubt(&self, condition: &WherePath) -> Option<String> {
        let path = condition.path();
        let first = path.first()?;
        let (wanted, found, rest) = match path.get(1) {
            Some(second) if **first == *"data" && self.record.contains_key("data") => {
                (second, [self.data.get(&**second), None], &path[2..])
            }
            _ => (first, [self.record.get(&**first), self.data.get(&**first)], &path[1..]),
        };
        let found: Vec<_> = found.into_iter().flatten().collect();
        if found.is_empty() {
            return Some(self.unknown_member(wanted));
        }
        // Members of a member are not checked, and have other values.
        let listed = found.into_iter().map(Option::as_deref).collect::<Option<Vec<_>>>()?.concat();
        let value = condition.value();
        if !rest.is_empty() || listed.contains(&value) {
            return None;
        }
        let advice = advice(value, &listed);
        Some(format!("no {wanted} is {value}, so this never matches; {advice}"))
    }

    fn unknown_member(&self, wanted: &str) -> String {
        let known: Vec<&str> = self.data.keys().chain(self.record.keys()).copied().collect();
        let advice = advice(wanted, &known);
        let of = match self.of.as_slice() {
            [one] => format!("{one} has"),
            [one, other] => format!("neither {one} nor {other} has"),
            many => format!("none of {} kinds of records has", many.len()),
        };
        let a = if self.of.len() == 1 { "no" } else { "a" };
        format!("{of} {a} member {wanted}, so this never matches; {advice}")
    }
}

/// The name that is similar to `wanted`, or the known ones.
fn advice(wanted: &str, known: &[&str]) -> String {
    match suggest::nearest(wanted, known.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None if known.len() > MEMBERS_NAMED_MAX => suggest::advice(wanted, known, MEMBERS_NAMED_MAX),
        None => format!("there are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_that_cannot_match_is_doubted() {
        type Case<'a> = (Option<&'a str>, Option<&'a str>, &'a [RecordKind], &'a str, Option<&'a str>);
        let cases: [Case<'_>; 28] = [
            (None, Some("why-ended"), &[], "cause=killed", None),
            (None, Some("why-ended"), &[], "data.cause=killed", None),
            (None, Some("why-ended"), &[], "finding=why-ended", None),
            (
                None,
                Some("job"),
                &[],
                "id=backup0",
                Some("job has no member id, so this never matches; there are began_unseen, "),
            ),
            (None, Some("job"), &[], "data.id=backup0", Some("job has no member id, ")),
            (
                None,
                Some("why-ended"),
                &[],
                "casue=killed",
                Some("why-ended has no member casue, so this never matches; did you mean cause?"),
            ),
            (None, Some("silent"), &[], "process.pid=7", None),
            (None, Some("why-*"), &[], "ended_by=killed", None),
            (None, Some("unheard-of"), &[], "a=b", None),
            (Some("SHUTDOWN"), None, &[], "reason=guest-panic", None),
            (Some("SHUTDOWN"), None, &[], "data.guest=true", None),
            (
                Some("SHUTDOWN"),
                None,
                &[],
                "cause=killed",
                Some("SHUTDOWN has no member cause, so this never matches; there are "),
            ),
            (Some("{STOP,RESUME}"), None, &[], "a=b", Some("neither RESUME nor STOP has a member a, ")),
            (Some("UNHEARD_OF"), None, &[], "a=b", None),
            (Some("SHUTDOWN"), Some("job"), &[], "job=backup0", None),
            (
                None,
                None,
                &[RecordKind::Detached],
                "reasn=removed",
                Some("detached has no member reasn, so this never matches; did you mean reason?"),
            ),
            (None, None, &[RecordKind::Event], "a=b", Some("none of ")),
            (None, None, &[RecordKind::Attached], "query-status.status=running", None),
            (None, None, &[RecordKind::Attached], "status=running", Some("attached has no member status, ")),
            (None, None, &[], "process.pid=7", None),
            (None, None, &[], "data.reason=guest-panic", None),
            (None, None, &[], "reason=removed", None),
            (None, None, &[], "cuase=killed", Some("none of ")),
            (None, None, &[], "finding=why-ended", None),
            (
                None,
                None,
                &[],
                "finding=why-end",
                Some("no finding is why-end, so this never matches; did you mean why-ended?"),
            ),
            (None, Some("job"), &[], "finding=why-ended", Some("no finding is why-ended, ")),
            (
                Some("SHUTDOWN"),
                None,
                &[],
                "reason=guest-pancake",
                Some("no reason is guest-pancake, so this never matches; "),
            ),
            (
                None,
                None,
                &[RecordKind::Detached],
                "reason=peer-closed",
                Some("no reason is peer-closed, so this never matches; did you mean peer closed?"),
            ),
        ];
        for (event, finding, kind, condition, expected) in cases {
            let globs = |glob: Option<&str>| glob.map(|glob| Globs::parse([glob]).expect("a glob"));
            let (event, finding) = (globs(event), globs(finding));
            let selected = RecordSelection { event: event.as_ref(), finding: finding.as_ref(), kind };
            let warnings = selected.warnings(&[condition.parse().expect(condition)]);
            match expected {
                None => assert_eq!(warnings, [""; 0], "{condition} of {selected:?}"),
                Some(expected) => {
                    assert_eq!(warnings.len(), 1, "{condition} of {selected:?}");
                    assert!(warnings[0].starts_with(expected), "{condition}: {warnings:?}");
                }
            }
        }
    }
}
