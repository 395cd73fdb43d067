//! What libvirt says of a domain, in the words of this project.
//!
//! A VM that is followed through libvirt has `libvirt` in its snapshot in place of `query-status`, and libvirt's word for its end
//! in the detail of `detached`.
//!
//! Source: observed on libvirt 9.0 beside QEMU's own `query-status`.

use serde_json::Value;

/// What the detail of `detached` begins with if libvirt ended the epoch.
pub const LIBVIRT_DETAIL: &str = "libvirt: ";

/// Returns the run state in a snapshot: QEMU's own, or the one that libvirt's state stands for.
#[must_use]
pub fn snapshot_run_state(snapshot: &Value) -> Option<&str> {
    let text = |pointer: &str| snapshot.pointer(pointer).and_then(Value::as_str);
    let by_libvirt = || run_state(text("/libvirt/state")?, text("/libvirt/reason").unwrap_or_default());
    text("/query-status/status").or_else(by_libvirt)
}

/// Returns libvirt's word in the detail of `detached`.
pub(crate) fn ended_word(detail: &str) -> Option<&str> {
    detail.strip_prefix(LIBVIRT_DETAIL)
}

/// Returns the run state for which libvirt's state and its reason stand; `None` if there are several: during a migration and a
/// start.
fn run_state(state: &str, reason: &str) -> Option<&'static str> {
    Some(match (state, reason) {
        ("running" | "blocked", _) => "running",
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
        let own = json!({"query-status": {"status": "debug"}, "libvirt": {"state": "paused"}});
        assert_eq!(snapshot_run_state(&own), Some("debug"));
        assert_eq!(snapshot_run_state(&json!({})), None);
    }
}
