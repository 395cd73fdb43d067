//! How urgent an event looks to somebody who runs VMs: which colour its name has, which priority in a log.
//!
//! A judgement of this project, not of the protocol. An event that is in no list is news.

/// How urgent it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The guest or its storage is in trouble.
    Error,
    /// Somebody should look at it.
    Warning,
    /// The machine stops, goes down or starts over.
    Lifecycle,
    /// The machine goes on.
    Good,
    /// Everything else.
    News,
}

const ERRORS: &[&str] = &[
    "BLOCK_IMAGE_CORRUPTED",
    "BLOCK_IO_ERROR",
    "BLOCK_JOB_ERROR",
    "GUEST_PANICKED",
    "MEMORY_FAILURE",
    "QUORUM_FAILURE",
];

const WARNINGS: &[&str] = &[
    "BLOCK_WRITE_THRESHOLD",
    "COLO_EXIT",
    "DEVICE_UNPLUG_GUEST_ERROR",
    "GUEST_CRASHLOADED",
    "MEM_UNPLUG_ERROR",
    "NETDEV_STREAM_DISCONNECTED",
    "NETDEV_VHOST_USER_DISCONNECTED",
    "QUORUM_REPORT_BAD",
    "VFU_CLIENT_HANGUP",
    "WATCHDOG",
];

const LIFECYCLE: &[&str] =
    &["GUEST_PVSHUTDOWN", "POWERDOWN", "RESET", "SHUTDOWN", "STOP", "SUSPEND", "SUSPEND_DISK"];

const GOOD: &[&str] = &["BLOCK_JOB_COMPLETED", "DUMP_COMPLETED", "RESUME", "WAKEUP"];

impl Severity {
    /// Judges an event by its name, and by the member with which a job or a migration tells that it failed.
    #[must_use]
    pub fn of(name: &str, data: Option<&str>) -> Self {
        let value = |member: &str| -> Option<String> {
            let value: serde_json::Value = serde_json::from_str(data?).ok()?;
            value.get(member)?.as_str().map(str::to_owned)
        };
        let failed = match name {
            "BLOCK_JOB_COMPLETED" | "DUMP_COMPLETED" => value("error").is_some(),
            "MIGRATION" | "VFIO_MIGRATION" => value("status").is_some_and(|status| status == "failed"),
            _ => false,
        };
        match name {
            _ if failed || ERRORS.contains(&name) => Self::Error,
            _ if WARNINGS.contains(&name) => Self::Warning,
            _ if LIFECYCLE.contains(&name) => Self::Lifecycle,
            _ if GOOD.contains(&name) => Self::Good,
            _ => Self::News,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judges_events() {
        let cases = [
            ("GUEST_PANICKED", Some(r#"{"action": "pause"}"#), Severity::Error),
            ("BLOCK_JOB_COMPLETED", Some(r#"{"device": "d", "len": 1}"#), Severity::Good),
            ("BLOCK_JOB_COMPLETED", Some(r#"{"error": "Input/output error"}"#), Severity::Error),
            ("MIGRATION", Some(r#"{"status": "failed"}"#), Severity::Error),
            ("MIGRATION", Some(r#"{"status": "active"}"#), Severity::News),
            ("MIGRATION", Some("no json"), Severity::News),
            ("WATCHDOG", None, Severity::Warning),
            ("STOP", None, Severity::Lifecycle),
            ("__com.example_NEW", None, Severity::News),
        ];
        for (name, data, expected) in cases {
            assert_eq!(Severity::of(name, data), expected, "{name} {data:?}");
        }
    }

    #[test]
    fn every_listed_name_is_in_the_catalogue() {
        for name in ERRORS.iter().chain(WARNINGS).chain(LIFECYCLE).chain(GOOD) {
            assert!(crate::EventKind::from_name(name).is_some(), "{name}");
        }
    }
}
