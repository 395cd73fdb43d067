//! The members that the data of each kind of finding may have. `docs/findings.md` lists the same.

use serde_json::{Map, Value};

use crate::kinds::KINDS;
use crate::observation::{COMMAND, PROCESS_ENDED, QUERY};

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

const WHY_AFTER: &[&str] = &[
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

const STORM: &[&str] = &["count", "event", "first", "last", "span_seconds"];

const FLAPPING: &[&str] = &["count", "first", "last", "span_seconds", "subject", "what"];

/// The members of the data of findings of this kind, or of evidence; none for a kind that this release does not have.
#[must_use]
pub fn members(kind: &str) -> &'static [&'static str] {
    match kind {
        "answers-again" => &["seconds", "silent_since"],
        "clock-step" => &["this_host_microseconds", "vm_host_microseconds"],
        "findings-withheld" => &["count", "first", "kind", "last"],
        "flapping" | "flapping-over" => FLAPPING,
        "hot-unplug" => {
            &["device", "duration_seconds", "guest_statuses", "message", "parts", "path", "result"]
        }
        "job" => &[
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
        "migration" => &[
            "began_unseen",
            "direction",
            "duration_seconds",
            "passes",
            "paused_seconds",
            "phase_count",
            "phases",
            "result",
        ],
        "migration-interrupted" => &["direction", "recover", "status"],
        "powerdown-ignored" => &["presses", "running", "waited_seconds"],
        "schema-drift" => &["differences", "event", "release"],
        "sequel-missing" => &["expected", "subject", "trigger", "waited_seconds"],
        "silent" => &["asked", "pending", "process", "silent_since"],
        "state-changed-unseen" => &["name", "process", "qemu", "run_state", "uuid"],
        "storm" | "storm-over" => STORM,
        "unplug-ignored" => &["client", "device", "running", "waited_seconds"],
        "why-ended" => WHY_ENDED,
        "why-paused" | "why-suspended" => WHY,
        "why-reset" => WHY_AFTER,
        COMMAND => &[
            "arguments",
            "client",
            "comm",
            "error",
            "execute",
            "gid",
            "journaled",
            "output_bytes",
            "peer",
            "pid",
            "result",
            "socket",
            "token",
            "took_ms",
            "uid",
        ],
        PROCESS_ENDED => &["core_dumped", "evidence", "exit_code", "pid", "signal"],
        QUERY => &["error", "execute", "return"],
        _ => &[],
    }
}

/// Every kind of record with data like a finding's: conclusions, and evidence.
pub fn kinds() -> impl Iterator<Item = &'static str> + Clone {
    KINDS.into_iter().chain([COMMAND, PROCESS_ENDED, QUERY])
}

/// Asserts, in a build with debug assertions, that the members are listed.
pub fn assert_listed(kind: &str, data: &Map<String, Value>) {
    let unlisted = || data.keys().find(|member| !members(kind).contains(&member.as_str()));
    debug_assert_eq!(unlisted(), None, "a member of {kind} that is not listed in members.rs");
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn members_of_every_kind_are_sorted_and_none_is_reserved() {
        for kind in kinds() {
            let members = members(kind);
            assert!(!members.is_empty() && members.is_sorted(), "{kind}: {members:?}");
            // A path that begins with one of these refers to the record and not to its data.
            for reserved in ["finding", "summary", "causes", "data"] {
                assert!(!members.contains(&reserved), "{kind}: {reserved}");
            }
        }
    }

    #[test]
    fn docs_list_members_of_every_kind() {
        let page = include_str!("../../../docs/findings.md");
        let quoted = |text: &'static str| text.split('`').skip(1).step_by(2).collect::<Vec<_>>();
        let (mut listed, mut section) = (BTreeMap::new(), Vec::new());
        for paragraph in page.split("\n\n") {
            if let Some(head) = paragraph.strip_prefix("## ") {
                section = quoted(head);
            } else if let Some(members) = paragraph.strip_prefix("Members of `data`:") {
                listed.insert(std::mem::take(&mut section), quoted(members));
            }
            for row in paragraph.lines().filter_map(|line| line.strip_prefix("| ")) {
                let mut cells = row.split(" | ").map(quoted);
                if let (Some(kind), Some(members)) = (cells.next(), cells.next())
                    && [[COMMAND], [PROCESS_ENDED], [QUERY]].iter().any(|evidence| *evidence == *kind)
                {
                    listed.insert(kind, members);
                }
            }
        }
        // A section of two kinds has the members of both.
        let described: BTreeSet<&str> = listed.keys().flatten().copied().collect();
        assert_eq!(described, kinds().collect(), "docs/findings.md has members of these");
        for (kinds, listed) in listed {
            let members: BTreeSet<&str> = kinds.iter().flat_map(|kind| members(kind)).copied().collect();
            assert_eq!(listed, Vec::from_iter(members), "docs/findings.md, {kinds:?}");
        }
    }
}
