//! The table of the kinds of findings. `docs/findings.md` describes each kind.

use crate::budget;
use crate::clock_steps;
use crate::drift;
use crate::interrupted;
use crate::jobs;
use crate::migration;
use crate::powerdown;
use crate::sequels;
use crate::storms;
use crate::unplug;
use crate::unplug_ignored;
use crate::unseen;
use crate::why;
use FindingExtent::{Moment, OwnRule, Span};
use FindingSeverity::{Lifecycle, Warning};

/// The kind of the finding that a monitor does not answer. The hub adds it, since the hub knows when it asked.
pub const SILENT: &str = "silent";

/// The kind of the finding that a monitor answers again.
pub const ANSWERS_AGAIN: &str = "answers-again";

/// The kind of the finding that a VM has been in a state of a rule for the time of the rule. The hub adds it, since the
/// hub knows the rules.
pub const ALERT: &str = "alert";

/// The kind of the finding that a VM has left the states of such a rule.
pub const RESOLVED: &str = "resolved";

/// The kind of an operator's remark about a VM.
pub const NOTE: &str = "note";

/// The kind of the record that rules are silenced for a VM.
pub const SILENCE: &str = "silence";

/// The kind of the finding about a migration from one host to another, by the records of both.
pub const MIGRATED: &str = "migrated";

/// The kind of the finding that one VM runs on two hosts at once.
pub const TWO_HOSTS: &str = "two-hosts";

/// The kind of the finding that such a VM does not run on both hosts any more.
pub const TWO_HOSTS_OVER: &str = "two-hosts-over";

/// The kind of the finding that a host is not heard any more. The hub adds it, since the hub knows when it listened.
pub const HOST_SILENT: &str = "host-silent";

/// The kind of the finding that such a host is heard again.
pub const HOST_ANSWERS_AGAIN: &str = "host-answers-again";

/// The kinds that a fleet hub concludes about several hosts, or about a host.
pub const OVER_HOSTS: [&str; 5] = [HOST_ANSWERS_AGAIN, HOST_SILENT, MIGRATED, TWO_HOSTS, TWO_HOSTS_OVER];

/// A kind of finding.
///
/// Summaries of journals depend on severity and extent: a change of them is one of the words of `qmp-history`, whose
/// version must go up. A new kind needs none.
#[derive(Clone, Copy, Debug)]
pub struct FindingKind {
    /// The name in records, such as `why-paused`.
    pub name: &'static str,
    /// The members that the data may have, sorted.
    pub members: &'static [&'static str],
    /// The urgency of its findings.
    pub severity: FindingSeverity,
    /// The time that its findings are about.
    pub extent: FindingExtent,
}

/// The urgency of a finding for an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingSeverity {
    /// The finding needs the attention of an operator.
    Warning,
    /// The finding explains what the machine did.
    Lifecycle,
}

/// The time that a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingExtent {
    /// The time of its record.
    Moment,
    /// The seconds before its record that this member of the data has.
    Span(&'static str),
    /// By a rule for this kind alone, which is in `words.rs` of the crate `qmp-history`.
    OwnRule,
}

/// Every kind of finding.
pub static KINDS: &[FindingKind] = &[
    FindingKind {
        name: ALERT,
        members: &["for_seconds", "rule", "since", "state"],
        severity: Warning,
        extent: Moment,
    },
    FindingKind {
        name: clock_steps::CLOCK_STEP,
        members: &["this_host_microseconds", "vm_host_microseconds"],
        severity: Warning,
        extent: Moment,
    },
    FindingKind { name: storms::FLAPPING, members: FLAPPING, severity: Warning, extent: OwnRule },
    FindingKind { name: storms::FLAPPING_OVER, members: FLAPPING, severity: Lifecycle, extent: OwnRule },
    FindingKind {
        name: budget::FINDINGS_WITHHELD,
        members: &["count", "first", "kind", "last"],
        severity: Warning,
        extent: Moment,
    },
    FindingKind {
        name: HOST_ANSWERS_AGAIN,
        members: &["hosts", "last_heard", "seconds"],
        severity: Lifecycle,
        extent: OwnRule,
    },
    FindingKind {
        name: HOST_SILENT,
        members: &["hosts", "last_heard", "running", "running_count"],
        severity: Warning,
        extent: OwnRule,
    },
    FindingKind {
        name: unplug::HOT_UNPLUG,
        members: &["device", "duration_seconds", "guest_statuses", "message", "parts", "path", "result"],
        severity: Lifecycle,
        extent: Span("duration_seconds"),
    },
    FindingKind {
        name: jobs::JOB,
        members: &[
            "began_unseen",
            "current",
            "duration_seconds",
            "error",
            "io_errors",
            "job",
            "phase_count",
            "phases",
            "result",
            "total",
            "type",
        ],
        severity: Lifecycle,
        extent: Span("duration_seconds"),
    },
    FindingKind {
        name: MIGRATED,
        members: &["downtime_seconds", "duration_seconds", "evidence", "hosts", "result", "uuid"],
        severity: Lifecycle,
        extent: Span("duration_seconds"),
    },
    FindingKind {
        name: migration::MIGRATION,
        members: &[
            "began_unseen",
            "direction",
            "duration_seconds",
            "passes",
            "paused_seconds",
            "phase_count",
            "phases",
            "result",
        ],
        severity: Lifecycle,
        extent: Span("duration_seconds"),
    },
    FindingKind {
        name: interrupted::MIGRATION_INTERRUPTED,
        members: &["direction", "recover", "status"],
        severity: Lifecycle,
        extent: Moment,
    },
    FindingKind {
        name: NOTE,
        members: &["about", "client", "comm", "gid", "peer", "pid", "socket", "text", "token", "uid"],
        severity: Lifecycle,
        extent: Moment,
    },
    FindingKind {
        name: powerdown::POWERDOWN_IGNORED,
        members: &["presses", "running", "waited_seconds"],
        severity: Lifecycle,
        extent: Span("waited_seconds"),
    },
    FindingKind {
        name: RESOLVED,
        members: &["reason", "rule", "run_state", "seconds", "since", "state"],
        severity: Lifecycle,
        extent: Span("seconds"),
    },
    FindingKind {
        name: drift::SCHEMA_DRIFT,
        members: &["differences", "event", "release"],
        severity: Lifecycle,
        extent: Moment,
    },
    FindingKind {
        name: sequels::SEQUEL_MISSING,
        members: &["expected", "subject", "trigger", "waited_seconds"],
        severity: Warning,
        extent: Span("waited_seconds"),
    },
    FindingKind {
        name: unseen::STATE_CHANGED_UNSEEN,
        members: &["name", "process", "qemu", "run_state", "uuid"],
        severity: Warning,
        extent: Moment,
    },
    FindingKind { name: storms::STORM, members: STORM, severity: Warning, extent: OwnRule },
    FindingKind { name: storms::STORM_OVER, members: STORM, severity: Lifecycle, extent: OwnRule },
    FindingKind {
        name: ANSWERS_AGAIN,
        members: &["seconds", "silent_since"],
        severity: Lifecycle,
        extent: OwnRule,
    },
    FindingKind {
        name: SILENCE,
        members: &[
            "client", "comm", "gid", "peer", "pid", "reason", "rule", "socket", "token", "uid", "until",
            "vms",
        ],
        severity: Lifecycle,
        extent: Moment,
    },
    FindingKind {
        name: SILENT,
        members: &["asked", "pending", "process", "silent_since"],
        severity: Warning,
        extent: OwnRule,
    },
    FindingKind {
        name: TWO_HOSTS,
        members: &["evidence", "hosts", "since", "uuid"],
        severity: Warning,
        extent: OwnRule,
    },
    FindingKind {
        name: TWO_HOSTS_OVER,
        members: &["evidence", "hosts", "running", "seconds", "seconds_max", "since", "uuid"],
        severity: Lifecycle,
        extent: OwnRule,
    },
    FindingKind {
        name: unplug_ignored::UNPLUG_IGNORED,
        members: &["client", "device", "running", "waited_seconds"],
        severity: Lifecycle,
        extent: Span("waited_seconds"),
    },
    FindingKind { name: why::WHY_ENDED, members: WHY_ENDED, severity: Lifecycle, extent: OwnRule },
    FindingKind { name: why::WHY_PAUSED, members: WHY, severity: Lifecycle, extent: OwnRule },
    FindingKind { name: why::WHY_RESET, members: WHY_RESET, severity: Lifecycle, extent: Moment },
    FindingKind { name: why::WHY_SUSPENDED, members: WHY, severity: Lifecycle, extent: OwnRule },
];

const STORM: &[&str] = &["count", "event", "first", "last", "span_seconds"];

const FLAPPING: &[&str] = &["count", "first", "last", "span_seconds", "subject", "what"];

const WHY: &[&str] = &[
    "by",
    "cause",
    "client",
    "command",
    "crash_kernel",
    "device",
    "gap",
    "info",
    "node-name",
    "nospace",
    "operation",
    "process",
    "qom-path",
    "reason",
    "run_state",
];

const WHY_RESET: &[&str] = &[
    "by",
    "cause",
    "client",
    "command",
    "crash_kernel",
    "device",
    "ended_by",
    "gap",
    "info",
    "node-name",
    "nospace",
    "operation",
    "process",
    "qom-path",
    "reason",
    "run_state",
    "run_state_before",
];

const WHY_ENDED: &[&str] = &[
    "by",
    "cause",
    "cause_before",
    "client",
    "command",
    "core_dumped",
    "crash_kernel",
    "device",
    "ended_after",
    "ended_before",
    "ended_by",
    "exit_code",
    "gap",
    "info",
    "node-name",
    "nospace",
    "operation",
    "process",
    "qom-path",
    "reason",
    "run_state",
    "run_state_before",
    "signal",
];

impl FindingKind {
    /// The kind with this name; `None` for a kind that this release does not have, and for evidence.
    #[must_use]
    pub fn from_name(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.name == name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_distinct() {
        let names: BTreeSet<&str> = KINDS.iter().map(|kind| kind.name).collect();
        assert_eq!(names.len(), KINDS.len());
    }

    #[test]
    fn member_of_each_span_is_a_member_of_the_kind() {
        for FindingKind { name, members, extent, .. } in KINDS {
            let Span(member) = extent else { continue };
            assert!(members.contains(member), "{name}: {member}");
        }
    }
}
