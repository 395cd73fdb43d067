//! The urgency of records, for receivers that order them by it.

use qmp_events::EventSeverity;
use qmp_findings::FindingSeverity;
use qmp_wire::Body;

/// The severity of a record, by the words for events.
pub(super) fn of(body: &Body<'_>) -> EventSeverity {
    match body {
        Body::Event { name, data, .. } => EventSeverity::of(name, data.as_deref()),
        Body::Finding { finding, data, .. } => {
            of_finding(FindingSeverity::of_record(finding, data.as_deref()))
        }
        Body::Detached { detail, .. } => of_finding(FindingSeverity::of_detached(detail.as_deref())),
        Body::Attached { .. } => EventSeverity::Info,
    }
}

fn of_finding(severity: FindingSeverity) -> EventSeverity {
    match severity {
        FindingSeverity::Warning => EventSeverity::Warning,
        FindingSeverity::Lifecycle => EventSeverity::Lifecycle,
    }
}

/// The name of a severity, as in the hub's HTTP interface.
pub(super) fn name(severity: EventSeverity) -> &'static str {
    match severity {
        EventSeverity::Error => "error",
        EventSeverity::Warning => "warning",
        EventSeverity::Lifecycle => "lifecycle",
        EventSeverity::Success => "good",
        EventSeverity::Info => "news",
    }
}
