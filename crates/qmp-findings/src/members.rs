//! The members that the data of each kind of finding, and of evidence, may have. `docs/findings.md` lists the same.

use serde_json::{Map, Value};

use crate::kinds::{FindingKind, KINDS};
use crate::observation::{COMMAND, PROCESS_ENDED, QUERY};

/// The members of the data of evidence, by kind.
const EVIDENCE: &[(&str, &[&str])] = &[
    (
        COMMAND,
        &[
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
    ),
    (PROCESS_ENDED, &["core_dumped", "evidence", "exit_code", "pid", "signal"]),
    (QUERY, &["error", "execute", "return"]),
];

/// The members of the data of findings of this kind, or of evidence; none for a kind that this release does not have.
#[must_use]
pub fn members(kind: &str) -> &'static [&'static str] {
    listed(kind).unwrap_or_default()
}

/// Every kind of record with data like a finding's: conclusions, and evidence.
pub fn kinds() -> impl Iterator<Item = &'static str> + Clone {
    KINDS.iter().map(|kind| kind.name).chain(EVIDENCE.iter().map(|(kind, _)| *kind))
}

/// Asserts, in a build with debug assertions, that the kind and the members are listed.
pub fn assert_listed(kind: &str, data: &Map<String, Value>) {
    debug_assert!(listed(kind).is_some(), "{kind} is not listed in kinds.rs");
    let unlisted = || data.keys().find(|member| !members(kind).contains(&member.as_str()));
    debug_assert_eq!(unlisted(), None, "a member of {kind} that is not listed in kinds.rs");
}

/// The members of findings of this kind, or of evidence; `None` for a kind that this release does not have.
fn listed(kind: &str) -> Option<&'static [&'static str]> {
    let evidence = || EVIDENCE.iter().find(|(name, _)| *name == kind).map(|(_, members)| *members);
    FindingKind::from_name(kind).map(|kind| kind.members).or_else(evidence)
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
