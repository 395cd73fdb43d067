//! What libvirt says of a domain, in the words of this project.
//!
//! A VM that is followed through libvirt has `libvirt` in its snapshot in place of `query-status`, libvirt's word for its end
//! in the detail of `detached`, and libvirt's state and reason in answers to questions.
//!
//! Source: observed on libvirt 9.0 beside QEMU's own `query-status`.

use serde_json::Value;

/// What the detail of `detached` begins with if libvirt ended the epoch.
pub const LIBVIRT_DETAIL: &str = "libvirt: ";

/// The name of libvirt's call in the record of an answer, if libvirt was asked for the state of the domain.
pub const LIBVIRT_STATE: &str = "virDomainGetState";

/// libvirt's words for the state of a domain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DomainWords<'a> {
    pub(crate) state: &'a str,
    pub(crate) reason: &'a str,
    /// How libvirt started the domain, if the epoch opened with its start.
    pub(crate) started: Option<&'a str>,
}

/// Cause, side and sentence without its full stop.
pub(crate) type ReasonClause = (&'static str, &'static str, &'static str);

/// Returns the run state in a snapshot: QEMU's own, or the one that libvirt's state stands for.
#[must_use]
pub fn snapshot_run_state(snapshot: &Value) -> Option<&str> {
    let own = snapshot.pointer("/query-status/status").and_then(Value::as_str);
    own.or_else(|| DomainWords::of_snapshot(snapshot.get("libvirt")?)?.run_state())
}

impl<'a> DomainWords<'a> {
    /// Reads the member `libvirt` of a snapshot; `None` if libvirt did not say the state.
    fn of_snapshot(libvirt: &'a Value) -> Option<Self> {
        let text = |member: &str| libvirt.get(member).and_then(Value::as_str);
        let started = text("started").filter(|_| text("began") == Some("started"));
        Some(Self { state: text("state")?, reason: text("reason").unwrap_or_default(), started })
    }

    /// Reads the answer to [`LIBVIRT_STATE`]; `None` for another answer.
    pub(crate) fn of_answer(returned: &'a Value) -> Option<Self> {
        let text = |member: &str| returned.get(member).and_then(Value::as_str);
        Some(Self { state: text("state")?, reason: text("reason").unwrap_or_default(), started: None })
    }

    /// Returns the run state for which the words stand; `None` if there are several: during a migration and a start.
    pub(crate) fn run_state(self) -> Option<&'static str> {
        Some(match (self.state, self.reason) {
            ("running" | "blocked", _) => "running",
            // libvirt reports the start when the saved state has been read, and a domain that was saved paused keeps the reason.
            ("paused", "migration" | "starting-up") if self.started == Some("restored") => "paused",
            ("paused", "migration" | "postcopy" | "postcopy-failed" | "starting-up") => return None,
            ("paused", "ioerror") => "io-error",
            ("paused", "watchdog") => "watchdog",
            ("paused", "crashed") => "guest-panicked",
            ("paused", "shutting-down") | ("shutdown", _) => "shutdown",
            ("paused", _) => "paused",
            ("crashed", _) => "guest-panicked",
            ("pmsuspended", _) => "suspended",
            _ => return None,
        })
    }

    /// Returns the explanation that libvirt's reason gives. libvirt uses `unpaused` for every RESUME, and `unknown` for a STOP
    /// that it did not cause, so both explain nothing.
    pub(crate) fn explained(self) -> Option<ReasonClause> {
        Some(match (self.state, self.reason) {
            ("running", "booted") => ("resume", "host", "It was started through libvirt"),
            ("running", "migrated") => {
                ("incoming-migration", "host", "It was migrated to here through libvirt")
            }
            ("running", "restored") => {
                ("restore-vm", "host", "It was restored from a saved state through libvirt")
            }
            ("running", "from-snapshot") => {
                ("restore-vm", "host", "It was reverted to a snapshot through libvirt")
            }
            ("running", "migration-cancelled") => {
                ("resume", "host", "It was resumed by libvirt, whose migration of it was cancelled or failed")
            }
            ("running", "save-cancelled") => {
                ("resume", "host", "It was resumed by libvirt, whose save of it was cancelled or failed")
            }
            ("paused", "user") => ("host-stop", "host", "It was paused through libvirt"),
            ("paused", "save") => ("save-vm", "host", "It was paused so that libvirt could save its state"),
            ("paused", "dump") => ("save-vm", "host", "It was paused so that libvirt could dump its memory"),
            ("paused", "snapshot") => {
                ("save-vm", "host", "It was paused so that libvirt could take a snapshot of it")
            }
            ("paused", "from-snapshot") => {
                ("restore-vm", "host", "It was reverted through libvirt to a snapshot in which it is paused")
            }
            ("paused", "migration" | "starting-up") if self.started == Some("restored") => (
                "restore-vm",
                "host",
                "It was restored through libvirt from a saved state in which it was paused",
            ),
            ("paused", "api-error") => {
                ("host", "host", "It was left paused by an operation of libvirt that failed")
            }
            _ => return None,
        })
    }

    /// Whether libvirt paused the domain to write its memory into a file, for which QEMU reports a migration.
    pub(crate) fn is_written_to_file(self) -> bool {
        self.state == "paused" && matches!(self.reason, "save" | "dump" | "snapshot")
    }
}

/// Returns libvirt's word in the detail of `detached`.
pub(crate) fn ended_word(detail: &str) -> Option<&str> {
    detail.strip_prefix(LIBVIRT_DETAIL)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::snapshot_run_state;

    #[test]
    fn state_of_libvirt_stands_for_a_run_state() {
        let cases = [
            ("running", "booted", Some("running")),
            ("running", "crashed", Some("running")),
            ("paused", "user", Some("paused")),
            ("paused", "migration", None),
            ("paused", "ioerror", Some("io-error")),
            ("paused", "watchdog", Some("watchdog")),
            ("paused", "99", Some("paused")),
            ("crashed", "panicked", Some("guest-panicked")),
            ("pmsuspended", "unknown", Some("suspended")),
            ("shutoff", "crashed", None),
            ("12", "1", None),
        ];
        for (state, reason, expected) in cases {
            let snapshot = json!({"libvirt": {"state": state, "reason": reason}});
            assert_eq!(snapshot_run_state(&snapshot), expected, "{state} {reason}");
        }
        let restored = |began: &str| json!({"began": began, "started": "restored", "state": "paused", "reason": "migration"});
        let cases = [("started", Some("paused")), ("reopened", None)];
        for (began, expected) in cases {
            assert_eq!(
                snapshot_run_state(&json!({"libvirt": restored(began)})),
                expected,
                "restored, {began}"
            );
        }
        let own = json!({"query-status": {"status": "debug"}, "libvirt": {"state": "paused"}});
        assert_eq!(snapshot_run_state(&own), Some("debug"));
        assert_eq!(snapshot_run_state(&json!({})), None);
    }
}
