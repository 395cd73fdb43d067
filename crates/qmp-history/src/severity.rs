//! The severity of records, by their name and class.

use qmp_events::{EventKind, EventSeverity};
use qmp_findings::FindingSeverity;
use qmp_journal::{Class, RecordKind};
use qmp_wire::Body;

/// The urgency of a record for an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The guest or its storage is in trouble.
    Error,
    /// The record needs the attention of an operator.
    Warning,
    /// The machine, or the watching of it, begins, stops or starts over.
    Lifecycle,
    /// The machine goes on, or something that it did is done.
    Good,
    /// Everything else.
    News,
}

/// A record with more urgency than its name has: an event that reports a failure, a finding that is a warning.
pub(crate) const URGENT: Class = Class::new(1);

/// A finding that is evidence, and no conclusion.
pub(crate) const EVIDENCE: Class = Class::new(2);

impl Severity {
    /// All severities, the most urgent first.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warning, Self::Lifecycle, Self::Good, Self::News];

    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Lifecycle => "lifecycle",
            Self::Good => "good",
            Self::News => "news",
        }
    }

    /// The severity of events of this name and class.
    pub(crate) fn of_event(name: &str, class: Class) -> Self {
        if class == URGENT {
            return Self::Error;
        }
        match EventKind::from_name(name).map(|kind| kind.desc().severity) {
            Some(EventSeverity::Error) => Self::Error,
            Some(EventSeverity::Warning) => Self::Warning,
            Some(EventSeverity::Lifecycle) => Self::Lifecycle,
            Some(EventSeverity::Success) => Self::Good,
            Some(EventSeverity::Info) | None => Self::News,
        }
    }

    /// The severity of other records of this kind and class.
    pub(crate) fn of_kind(kind: RecordKind, class: Class) -> Self {
        match (kind, class) {
            (RecordKind::Finding, URGENT) => Self::Warning,
            (RecordKind::Finding, EVIDENCE) | (RecordKind::Event | RecordKind::Attached, _) => Self::News,
            (RecordKind::Finding | RecordKind::Detached, _) => Self::Lifecycle,
        }
    }

    /// The severity of a finding of this kind.
    pub(crate) fn of_finding(finding: &str) -> Self {
        match FindingSeverity::of(finding) {
            FindingSeverity::Warning => Self::Warning,
            FindingSeverity::Lifecycle => Self::Lifecycle,
        }
    }
}

/// The class of a record, which its name alone does not tell.
pub(crate) fn class(body: &Body<'_>, is_evidence: bool) -> Class {
    match body {
        Body::Event { name, data, .. } => match EventKind::from_name(name).map(|kind| kind.desc()) {
            Some(desc) if desc.failure.is_some() && desc.severity != EventSeverity::Error => {
                let is_failure = desc.severity_with(data.as_deref()) == EventSeverity::Error;
                if is_failure { URGENT } else { Class::default() }
            }
            _ => Class::default(),
        },
        Body::Finding { .. } if is_evidence => EVIDENCE,
        Body::Finding { finding, .. } if FindingSeverity::of(finding) == FindingSeverity::Warning => URGENT,
        Body::Finding { .. } | Body::Attached { .. } | Body::Detached { .. } => Class::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severity_by_class_is_that_of_the_event() {
        let cases = [
            ("STOP", None),
            ("MIGRATION", Some(r#"{"status": "failed"}"#)),
            ("MIGRATION", Some(r#"{"status": "active"}"#)),
            ("BLOCK_JOB_COMPLETED", Some(r#"{"error": "Input/output error"}"#)),
            ("GUEST_PANICKED", Some(r#"{"action": "pause"}"#)),
            ("__com.example_NEW", Some("no JSON")),
        ];
        for (name, data) in cases {
            let body = Body::Event {
                name: name.into(),
                sent_name: None,
                timestamp: None,
                data: data.map(Into::into),
            };
            let expected = match EventSeverity::of(name, data) {
                EventSeverity::Error => Severity::Error,
                EventSeverity::Warning => Severity::Warning,
                EventSeverity::Lifecycle => Severity::Lifecycle,
                EventSeverity::Success => Severity::Good,
                EventSeverity::Info => Severity::News,
            };
            assert_eq!(Severity::of_event(name, class(&body, false)), expected, "{name} {data:?}");
        }
    }

    /// Summaries have the class and no kind of a finding, other results the kind.
    #[test]
    fn severity_of_finding_by_class_and_by_kind_is_the_same() {
        for kind in qmp_findings::KINDS {
            let body = Body::Finding {
                finding: kind.name.into(),
                summary: "".into(),
                causes: Vec::new(),
                data: None,
            };
            let by_class = Severity::of_kind(RecordKind::Finding, class(&body, false));
            assert_eq!(Severity::of_finding(kind.name), by_class, "{}", kind.name);
        }
    }
}
