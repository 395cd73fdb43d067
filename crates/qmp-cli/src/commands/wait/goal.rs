//! What `qmp wait` waits for: an event, a finding, or the end of QEMU.

use std::fmt;

use qmp_findings::{COMMAND, KINDS, PROCESS_ENDED, QUERY};
use qmp_journal::{Globs, WherePath};
use qmp_settings::suggest;
use qmp_wire::{Body, Record};

use crate::commands::tail::is_gone;
use crate::exit::Failure;
use crate::filter::{self, EventArgs, EventFilter};

/// Which record ends the wait.
#[derive(Debug)]
pub(super) enum Goal {
    /// An event.
    Event {
        /// Its name, or a pattern of names.
        name: String,
        filter: Box<EventFilter>,
    },
    /// A finding.
    Finding {
        /// Its kind, or a pattern of kinds.
        name: String,
        kinds: Globs,
        /// Conditions on its data.
        wheres: Vec<WherePath>,
    },
    /// The record that QEMU closed its monitor.
    Ended,
}

impl Goal {
    /// Waits for an event.
    pub(super) fn event(name: &str, wheres: &[String]) -> Result<Self, Failure> {
        let args = EventArgs { event: vec![name.to_owned()], wheres: wheres.to_vec() };
        Ok(Self::Event { name: name.to_owned(), filter: Box::new(args.filter()?) })
    }

    /// Waits for a finding.
    pub(super) fn finding(name: &str, wheres: &[String]) -> Result<Self, Failure> {
        let kinds = Globs::parse([name]).map_err(Failure::usage)?;
        let wheres =
            wheres.iter().map(|text| text.parse()).collect::<Result<_, _>>().map_err(Failure::usage)?;
        Ok(Self::Finding { name: name.to_owned(), kinds, wheres })
    }

    /// Whether the record ends the wait.
    pub(super) fn is_match(&self, record: &Record<'_>) -> bool {
        match (self, &record.body) {
            (Self::Event { filter, .. }, _) => filter.is_match(record),
            (Self::Finding { kinds, wheres, .. }, Body::Finding { finding, data, .. }) => {
                let data = data.as_deref().unwrap_or("{}");
                kinds.matches(finding) && wheres.iter().all(|condition| condition.matches(data))
            }
            (Self::Finding { .. }, _) => false,
            (Self::Ended, _) => is_gone(record),
        }
    }

    /// What may be wrong with the name. It may be one of a later release, so it is no error.
    pub(super) fn doubt(&self) -> Option<String> {
        match self {
            Self::Event { name, .. } => filter::doubt(name),
            Self::Finding { name, kinds, .. } => {
                let known = || KINDS.into_iter().chain([COMMAND, PROCESS_ENDED, QUERY]);
                if known().any(|kind| kinds.matches(kind)) {
                    return None;
                }
                let near = suggest::nearest(name, known()).map(|near| format!("; did you mean {near}?"));
                Some(format!("this release has no finding {name}{}", near.unwrap_or_default()))
            }
            Self::Ended => None,
        }
    }
}

/// What has not come, in a message.
impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event { name, .. } => f.write_str(name),
            Self::Finding { name, .. } => write!(f, "finding {name}"),
            Self::Ended => f.write_str("end of QEMU"),
        }
    }
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
        let record = Record { body, ..examples::story().remove(0) };
        let cases: [(&str, &[&str], bool); 6] = [
            ("why-ended", &[], true),
            ("why-*", &[], true),
            ("job", &[], false),
            ("why-ended", &["cause=guest-shutdown"], true),
            ("why-ended", &["cause=killed"], false),
            ("why-ended", &["cause=guest-shutdown", "signal=9"], false),
        ];
        for (name, wheres, expected) in cases {
            let wheres: Vec<String> = wheres.iter().map(|&text| text.to_owned()).collect();
            let goal = Goal::finding(name, &wheres).unwrap();
            assert_eq!(goal.is_match(&record), expected, "{name} {wheres:?}");
        }
        assert!(!Goal::event("*", &[]).unwrap().is_match(&record), "a finding is no event");
    }

    #[test]
    fn unknown_kinds_are_doubted() {
        let doubt = |name: &str| Goal::finding(name, &[]).unwrap().doubt();
        assert_eq!((doubt("why-ended"), doubt("why-*"), doubt("command")), (None, None, None));
        assert_eq!(
            doubt("why-endet").unwrap(),
            "this release has no finding why-endet; did you mean why-ended?"
        );
    }
}
