//! The urgency of an event for an operator: the colour of its name, and its priority in a log.
//!
//! A judgement of this project, not of the protocol. The catalogue has it at each event that is not `info`.

use serde_json::Value;

use crate::{EventDesc, EventKind};

/// How urgent an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventSeverity {
    /// The guest or its storage is in trouble.
    Error,
    /// The event needs the attention of an operator.
    Warning,
    /// The machine stops, goes down or starts over.
    Lifecycle,
    /// The machine goes on, or something that it did is done.
    Success,
    /// Everything else.
    Info,
}

impl EventSeverity {
    /// Returns the severity of an event, by its name and by the member with which it reports a failure. An event that is
    /// not in the catalogue is `Info`.
    #[must_use]
    pub fn of(name: &str, data: Option<&str>) -> Self {
        EventKind::from_name(name).map_or(Self::Info, |kind| kind.desc().severity_with(data))
    }
}

impl EventDesc {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severity_of_event_depends_on_name_and_failure() {
        let cases = [
            ("GUEST_PANICKED", Some(r#"{"action": "pause"}"#), EventSeverity::Error),
            ("BLOCK_JOB_COMPLETED", Some(r#"{"device": "d", "len": 1}"#), EventSeverity::Success),
            ("BLOCK_JOB_COMPLETED", Some(r#"{"error": "Input/output error"}"#), EventSeverity::Error),
            ("MIGRATION", Some(r#"{"status": "failed"}"#), EventSeverity::Error),
            ("MIGRATION", Some(r#"{"status": "active"}"#), EventSeverity::Info),
            ("MIGRATION", Some("no json"), EventSeverity::Info),
            ("WATCHDOG", None, EventSeverity::Warning),
            ("STOP", None, EventSeverity::Lifecycle),
            ("__com.example_NEW", None, EventSeverity::Info),
        ];
        for (name, data, expected) in cases {
            assert_eq!(EventSeverity::of(name, data), expected, "{name} {data:?}");
        }
    }
}
