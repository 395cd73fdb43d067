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

/// A record with more urgency than its name has: an event that reports a failure, a finding or an end that is a warning.
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
            (RecordKind::Finding | RecordKind::Detached, URGENT) => Self::Warning,
            (RecordKind::Finding, EVIDENCE) | (RecordKind::Event | RecordKind::Attached, _) => Self::News,
            (RecordKind::Finding | RecordKind::Detached, _) => Self::Lifecycle,
        }
    }

    /// The severity of findings of this kind, whose records may have another one by their causes.
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
        Body::Finding { finding, data, .. } => {
            match (FindingSeverity::of_record(finding, data.as_deref()), is_evidence) {
                (FindingSeverity::Warning, _) => URGENT,
                (FindingSeverity::Lifecycle, true) => EVIDENCE,
                (FindingSeverity::Lifecycle, false) => Class::default(),
            }
        }
        Body::Detached { detail, .. } => match FindingSeverity::of_detached(detail.as_deref()) {
            FindingSeverity::Warning => URGENT,
            FindingSeverity::Lifecycle => Class::default(),
        },
        Body::Attached { .. } => Class::default(),
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

    /// Summaries have the class and no kind of a finding.
    #[test]
    fn severity_of_finding_is_that_of_its_cause() {
        let of = |finding: &str, data: Option<&str>, is_evidence| {
            let (finding, data) = (finding.to_owned().into(), data.map(|data| data.to_owned().into()));
            let body = Body::Finding { finding, summary: "".into(), causes: Vec::new(), data };
            Severity::of_kind(RecordKind::Finding, class(&body, is_evidence))
        };
        for kind in qmp_findings::KINDS {
            assert_eq!(of(kind.name, None, false), Severity::of_finding(kind.name), "{}", kind.name);
        }
        let cases = [
            ("why-paused", r#"{"cause": "io-error"}"#, false, Severity::Warning),
            ("why-paused", r#"{"cause": "host-stop"}"#, false, Severity::Lifecycle),
            ("why-ended", r#"{"cause": "killed"}"#, false, Severity::Warning),
            ("process-ended", r#"{"signal": 9}"#, true, Severity::Warning),
            ("process-ended", r#"{"exit_code": 0}"#, true, Severity::News),
            ("query", "{}", true, Severity::News),
        ];
        for (finding, data, is_evidence, expected) in cases {
            assert_eq!(of(finding, Some(data), is_evidence), expected, "{finding} {data}");
        }
    }

    #[test]
    fn severity_of_an_end_is_that_of_the_word_of_libvirt() {
        let cases = [
            (Some("libvirt: crashed"), Severity::Warning),
            (Some("libvirt: saved"), Severity::Lifecycle),
            (None, Severity::Lifecycle),
        ];
        for (detail, expected) in cases {
            let (reason, detail) = (qmp_wire::DetachReason::PeerClosed, detail.map(Into::into));
            let body = Body::Detached { reason, detail, certain_until: None };
            assert_eq!(Severity::of_kind(RecordKind::Detached, class(&body, false)), expected);
        }
    }
}
