//! The looks of run states and events, the same as on the hub's page. Looks of different meaning differ in shape or pattern, too.

use qmp_events::EventSeverity;

/// The look of a run state. A gap has a look of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// The VM runs.
    Running,
    /// The VM is stopped: paused, suspended, migrating.
    Stopped,
    /// The VM needs an operator.
    Trouble,
    /// QEMU does not run.
    Off,
    /// The run state is unknown.
    Unknown,
}

impl Look {
    /// The look of a run state.
    pub(super) fn of(state: &str) -> Self {
        match state {
            "running" => Self::Running,
            "io-error" | "internal-error" | "guest-panicked" | "watchdog" => Self::Trouble,
            "ended" | "gone" => Self::Off,
            "unknown" | "" => Self::Unknown,
            _ => Self::Stopped,
        }
    }
}

/// A run state in words; QEMU's own names are kept.
pub(super) fn state_text(state: &str) -> &str {
    match state {
        "" => "unknown",
        "ended" => "off",
        "gone" => "off, not announced",
        state => state,
    }
}

/// The severities in JSON, the most urgent first.
pub(super) const SEVERITIES: [&str; 5] = ["error", "warning", "lifecycle", "good", "news"];

/// The position of an event's severity in [`SEVERITIES`].
pub(super) fn severity_of(event: &str) -> usize {
    match EventSeverity::of(event, None) {
        EventSeverity::Error => 0,
        EventSeverity::Warning => 1,
        EventSeverity::Lifecycle => 2,
        EventSeverity::Success => 3,
        EventSeverity::Info => 4,
    }
}
