//! The urgency of records, by their kinds and causes.

use serde_json::Value;

use crate::kinds::{FindingKind, FindingSeverity};
use crate::libvirt;
use crate::observation::PROCESS_ENDED;
use crate::why;
use FindingSeverity::{Lifecycle, Warning};

/// Causes of a stop, a reset or an end that no guest and no operator intended.
const FAULTS: [&str; 10] = [
    "crashed",
    "exited",
    "gone",
    "guest-panic",
    "host-error",
    "internal-error",
    "io-error",
    "killed",
    "memory-failure",
    "watchdog",
];

impl FindingSeverity {
    /// The severity of findings of the kind with this name.
    #[must_use]
    pub fn of(kind: &str) -> Self {
        FindingKind::from_name(kind).map_or(Lifecycle, |kind| kind.severity)
    }

    /// The severity of a record with the form of a finding: of a stop, a reset or an end, by its cause; of the end of a process,
    /// by whether a signal ended it.
    #[must_use]
    pub fn of_record(kind: &str, data: Option<&str>) -> Self {
        let is_by_cause = [why::WHY_ENDED, why::WHY_PAUSED, why::WHY_RESET].contains(&kind);
        if !is_by_cause && kind != PROCESS_ENDED {
            return Self::of(kind);
        }
        let data: Value = data.and_then(|data| serde_json::from_str(data).ok()).unwrap_or_default();
        let text = |member: &str| data.get(member).and_then(Value::as_str).unwrap_or_default();
        let is_fault =
            |cause: &str| FAULTS.contains(&cause) || (cause == "unknown" && kind == why::WHY_ENDED);
        let is_warning = match is_by_cause {
            true => is_fault(text("cause")) || is_fault(text("ended_by")),
            false => data.get("signal").is_some(),
        };
        if is_warning { Warning } else { Lifecycle }
    }

    /// The severity of the end of an epoch with this detail: a warning if libvirt says that the VM failed.
    #[must_use]
    pub fn of_detached(detail: Option<&str>) -> Self {
        match detail.and_then(libvirt::ended_word) {
            Some("failed" | "crashed") => Warning,
            _ => Lifecycle,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severity_of_a_record_depends_on_its_cause() {
        let cases = [
            ("why-ended", r#"{"cause": "killed", "ended_by": "killed"}"#, Warning),
            ("why-ended", r#"{"cause": "io-error", "ended_by": "host-signal"}"#, Warning),
            ("why-ended", r#"{"cause": "host-signal", "ended_by": "killed"}"#, Warning),
            ("why-ended", r#"{"cause": "unknown"}"#, Warning),
            ("why-ended", r#"{"cause": "guest-shutdown", "ended_by": "guest-shutdown"}"#, Lifecycle),
            ("why-paused", r#"{"cause": "guest-panic"}"#, Warning),
            ("why-paused", r#"{"cause": "unknown"}"#, Lifecycle),
            ("why-paused", r#"{"cause": "host-stop"}"#, Lifecycle),
            ("why-reset", r#"{"cause": "watchdog"}"#, Warning),
            ("why-suspended", r#"{"cause": "killed"}"#, Lifecycle),
            ("process-ended", r#"{"pid": 7, "signal": 9}"#, Warning),
            ("process-ended", r#"{"pid": 7, "exit_code": 0}"#, Lifecycle),
            ("storm", "{}", Warning),
            ("command", "{}", Lifecycle),
        ];
        for (kind, data, severity) in cases {
            assert_eq!(FindingSeverity::of_record(kind, Some(data)), severity, "{kind} {data}");
        }
        assert_eq!(FindingSeverity::of_record("why-ended", None), Lifecycle);
        let details =
            [(Some("libvirt: failed"), Warning), (Some("libvirt: saved"), Lifecycle), (None, Lifecycle)];
        for (detail, severity) in details {
            assert_eq!(FindingSeverity::of_detached(detail), severity, "{detail:?}");
        }
    }
}
