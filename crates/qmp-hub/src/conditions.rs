//! Conditions that no record of a selection can meet, by the members in the catalogue and in the list of findings.
//!
//! These are warnings, not errors: events and findings of later releases may have other members.

use std::collections::BTreeSet;

use qmp_journal::{FINDING_MEMBERS, Globs, Kind, WherePath};
use qmp_settings::suggest;

/// The most members that a warning lists; of more, only those with a similar name.
const MEMBERS_NAMED_MAX: usize = 24;

/// The records that conditions are for. The three selections are alternatives; without any, all records.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selected<'a> {
    /// Names of events.
    pub event: Option<&'a Globs>,
    /// Kinds of findings.
    pub finding: Option<&'a Globs>,
    /// Kinds of records.
    pub kind: &'a [Kind],
}

/// The members that records may have.
struct Members {
    /// The events and kinds of findings that have them, for people.
    of: Vec<&'static str>,
    /// Members of the data.
    data: BTreeSet<&'static str>,
    /// Members of the record itself.
    record: BTreeSet<&'static str>,
}

impl Selected<'_> {
    /// The warnings about the conditions, one sentence each; none if the records may have unknown members.
    #[must_use]
    pub fn doubts(&self, conditions: &[WherePath]) -> Vec<String> {
        let Some(members) = self.members() else { return Vec::new() };
        conditions.iter().filter_map(|condition| members.doubt(condition.path())).collect()
    }

    fn members(&self) -> Option<Members> {
        let is_open = self.event.is_none() && self.finding.is_none() && self.kind.is_empty();
        if is_open || self.kind.iter().any(|kind| matches!(kind, Kind::Attached | Kind::Event)) {
            return None;
        }
        let mut members = Members { of: Vec::new(), data: BTreeSet::new(), record: BTreeSet::new() };
        if let Some(names) = self.event {
            members.add_events(names)?;
        }
        let any = Globs::default();
        let kinds = self.finding.or_else(|| self.kind.contains(&Kind::Finding).then_some(&any));
        if let Some(kinds) = kinds {
            members.add_findings(kinds)?;
        }
        if self.kind.contains(&Kind::Detached) {
            members.of.push("detached");
            members.record.extend(["reason", "detail", "certain_until"]);
        }
        Some(members)
    }
}

impl Members {
    /// Adds members of events of the catalogue; `None` if the patterns may select other events too.
    fn add_events(&mut self, names: &Globs) -> Option<()> {
        let meant = qmp_events::catalogue().iter().filter(|event| names.matches(event.name));
        let before = self.of.len();
        for event in meant {
            self.of.push(event.name);
            let top = |name: &'static str| name.split('.').next().unwrap_or(name);
            self.data.extend(event.members.iter().map(|member| top(member.name)));
        }
        // Each name is known, or is a pattern that matches known names.
        let is_known = |pattern: &str| {
            let glob = Globs::parse([pattern]).ok();
            glob.is_some_and(|glob| qmp_events::catalogue().iter().any(|event| glob.matches(event.name)))
        };
        (self.of.len() > before && !names.is_any() && names.patterns().all(is_known)).then_some(())?;
        self.record.insert("data");
        Some(())
    }

    fn add_findings(&mut self, kinds: &Globs) -> Option<()> {
        let meant: Vec<&'static str> = qmp_findings::kinds().filter(|kind| kinds.matches(kind)).collect();
        self.data.extend(meant.iter().flat_map(|kind| qmp_findings::members(kind)));
        self.record.extend(FINDING_MEMBERS);
        (!meant.is_empty()).then(|| self.of.extend(meant))
    }

    fn doubt(&self, path: &[Box<str>]) -> Option<String> {
        let (first, second) = (path.first()?, path.get(1));
        let wanted = match second {
            Some(second) if **first == *"data" && self.record.contains("data") => second,
            _ if self.record.contains(&**first) => return None,
            _ => first,
        };
        if self.data.contains(&**wanted) {
            return None;
        }
        let known: Vec<&str> = self.data.iter().chain(&self.record).copied().collect();
        let advice = match suggest::nearest(wanted, known.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None if known.len() > MEMBERS_NAMED_MAX => suggest::advice(wanted, &known, MEMBERS_NAMED_MAX),
            None => format!("there are {}", known.join(", ")),
        };
        let of = match self.of.as_slice() {
            [one] => format!("{one} has"),
            [one, other] => format!("neither {one} nor {other} has"),
            many => format!("none of {} kinds of records has", many.len()),
        };
        let a = if self.of.len() == 1 { "no" } else { "a" };
        Some(format!("{of} {a} member {wanted}, so this never matches; {advice}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_that_cannot_match_is_doubted() {
        type Case<'a> = (Option<&'a str>, Option<&'a str>, &'a [Kind], &'a str, Option<&'a str>);
        let cases: [Case<'_>; 18] = [
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
                &[Kind::Detached],
                "reasn=removed",
                Some("detached has no member reasn, so this never matches; did you mean reason?"),
            ),
            (None, None, &[Kind::Event], "a=b", None),
            (None, None, &[], "a=b", None),
        ];
        for (event, finding, kind, condition, expected) in cases {
            let globs = |glob: Option<&str>| glob.map(|glob| Globs::parse([glob]).expect("a glob"));
            let (event, finding) = (globs(event), globs(finding));
            let selected = Selected { event: event.as_ref(), finding: finding.as_ref(), kind };
            let doubts = selected.doubts(&[condition.parse().expect(condition)]);
            match expected {
                None => assert_eq!(doubts, [""; 0], "{condition} of {selected:?}"),
                Some(expected) => {
                    assert_eq!(doubts.len(), 1, "{condition} of {selected:?}");
                    assert!(doubts[0].starts_with(expected), "{condition}: {doubts:?}");
                }
            }
        }
    }
}
