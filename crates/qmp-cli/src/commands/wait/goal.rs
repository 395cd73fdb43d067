//! The goal of `qmp wait`: an event, a finding, or the end of QEMU.

use std::fmt;

use qmp_hub::conditions::RecordSelection;
use qmp_journal::{Globs, Query, RecordKind};
use qmp_settings::suggest;
use qmp_wire::{Body, Record};

use crate::commands::detached::is_gone;
use crate::exit::Failure;
use crate::filter::{EventArgs, EventFilter};

/// The record that ends the wait.
#[derive(Debug)]
pub(super) enum Goal {
    /// An event.
    Event {
        /// Its name, or a pattern of names.
        name: String,
        args: EventArgs,
        filter: Box<EventFilter>,
    },
    /// A finding.
    Finding {
        /// Its kind, or a pattern of kinds.
        name: String,
        kinds: Globs,
        /// Conditions on the finding.
        query: Box<Query>,
    },
    /// The record that QEMU closed its monitor.
    Ended,
}

impl Goal {
    /// Creates a goal for an event.
    pub(super) fn event(name: &str, wheres: &[String]) -> Result<Self, Failure> {
        let args = EventArgs { event: vec![name.to_owned()], wheres: wheres.to_vec() };
        Ok(Self::Event { name: name.to_owned(), filter: Box::new(args.filter()?), args })
    }

    /// Creates a goal for a finding.
    pub(super) fn finding(name: &str, wheres: &[String]) -> Result<Self, Failure> {
        let kinds = Globs::parse([name]).map_err(Failure::usage)?;
        let where_ =
            wheres.iter().map(|text| text.parse()).collect::<Result<_, _>>().map_err(Failure::usage)?;
        let query = Query { kind: vec![RecordKind::Finding], where_, ..Query::default() };
        Ok(Self::Finding { name: name.to_owned(), kinds, query: Box::new(query) })
    }

    /// Whether the record ends the wait.
    pub(super) fn is_match(&self, record: &Record<'_>) -> bool {
        match (self, &record.body) {
            (Self::Event { filter, .. }, _) => filter.is_match(record),
            (Self::Finding { kinds, query, .. }, Body::Finding { finding, .. }) => {
                kinds.matches(finding) && query.matches(record)
            }
            (Self::Finding { .. }, _) => false,
            (Self::Ended, _) => is_gone(record),
        }
    }

    /// Warnings about the name and the conditions. Unknown ones may be of a later release, so they are not errors.
    pub(super) fn warnings(&self) -> Vec<String> {
        match self {
            Self::Event { args, .. } => args.warnings(&[]),
            Self::Finding { name, kinds, query } => {
                if !qmp_findings::kinds().any(|kind| kinds.matches(kind)) {
                    let near = suggest::nearest(name, qmp_findings::kinds());
                    let advice = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                    return vec![format!("this release has no finding {name}{advice}")];
                }
                RecordSelection { finding: Some(kinds), ..RecordSelection::default() }.warnings(&query.where_)
            }
            Self::Ended => Vec::new(),
        }
    }
}

/// The goal, for messages.
impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event { name, .. } => f.write_str(name),
            Self::Finding { name, .. } => write!(f, "finding {name}"),
            Self::Ended => f.write_str("end of QEMU"),
        }
    }
}

/// The hint if the event may have been reported already, or may follow the next start.
pub(super) const SINCE_HINT: &str =
    "--since OFFSET includes earlier events; --keep-waiting waits until the VM is back";

pub(super) fn gone(vm: &str, goal: &Goal) -> Failure {
    Failure::gone(format_args!("{vm} is not attached, and no {goal} was reported")).hint(SINCE_HINT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::examples;

    #[test]
    fn finding_matches_by_kind_and_data() {
        let body = Body::Finding {
            finding: "why-ended".into(),
            summary: "The guest shut down.".into(),
            causes: Vec::new(),
            data: Some(r#"{"cause": "guest-shutdown"}"#.into()),
        };
        let record = Record { body, ..examples::records().remove(0) };
        let cases: [(&str, &[&str], bool); 8] = [
            ("why-ended", &[], true),
            ("why-*", &[], true),
            ("job", &[], false),
            ("why-ended", &["cause=guest-shutdown"], true),
            ("why-ended", &["data.cause=guest-shutdown"], true),
            ("why-ended", &["finding=why-ended"], true),
            ("why-ended", &["cause=killed"], false),
            ("why-ended", &["cause=guest-shutdown", "signal=9"], false),
        ];
        for (name, wheres, expected) in cases {
            let wheres: Vec<String> = wheres.iter().map(|&text| text.to_owned()).collect();
            let goal = Goal::finding(name, &wheres).unwrap();
            assert_eq!(goal.is_match(&record), expected, "{name} {wheres:?}");
        }
        assert!(!Goal::event("*", &[]).unwrap().is_match(&record), "a finding is not an event");
    }

    #[test]
    fn unknown_kind_or_member_gets_a_warning() {
        let warnings = |name: &str, wheres: &[&str]| {
            let wheres: Vec<String> = wheres.iter().map(|&text| text.to_owned()).collect();
            Goal::finding(name, &wheres).unwrap().warnings().join("|")
        };
        for name in ["why-ended", "why-*", "command"] {
            assert_eq!(warnings(name, &["client=ci"]), "", "{name}");
        }
        assert_eq!(
            warnings("why-endet", &[]),
            "this release has no finding why-endet; did you mean why-ended?"
        );
        assert!(
            warnings("job", &["id=backup0"])
                .starts_with("job has no member id, so this never matches; there are ")
        );
        let event = Goal::event("SHUTDOWN", &["resaon=guest-panic".to_owned()]).unwrap();
        assert_eq!(
            event.warnings(),
            ["SHUTDOWN has no member resaon, so this never matches; did you mean reason?"]
        );
    }
}
