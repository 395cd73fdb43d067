//! Look-ups in the catalogue.

use std::fmt;
use std::str::FromStr;

use crate::desc::EventDesc;
use crate::event_kind::EventKind;
use crate::generated::EVENTS;
use crate::severity::EventSeverity;

/// Returns every event that any QEMU release has, sorted by name.
pub fn catalogue() -> &'static [EventDesc] {
    &EVENTS
}

impl EventKind {
    /// Returns the name on the wire.
    pub fn name(self) -> &'static str {
        self.desc().name
    }

    /// Returns the description in the catalogue.
    pub fn desc(self) -> &'static EventDesc {
        &EVENTS[self as usize]
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The error of parsing the name of an event that is not in the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no event of QEMU")]
#[non_exhaustive]
pub struct ParseEventKindError {
    /// The text.
    pub text: Box<str>,
}

impl FromStr for EventKind {
    type Err = ParseEventKindError;

    fn from_str(text: &str) -> Result<Self, ParseEventKindError> {
        Self::from_name(text).ok_or_else(|| ParseEventKindError { text: text.into() })
    }
}

impl EventSeverity {
    /// Returns the severity of an event, by its name and by the member with which it reports a failure. An event that is
    /// not in the catalogue is `Info`.
    #[must_use]
    pub fn of(name: &str, data: Option<&str>) -> Self {
        EventKind::from_name(name).map_or(Self::Info, |kind| kind.desc().severity_with(data))
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
