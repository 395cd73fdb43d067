//! The subjects that a server selects for a reader: exact names where they are known, and `*` for patterns of names, which
//! have no wildcard inside a token.

use super::stream_config::covers;
use super::subject::{RECORD_SUBJECTS, filter_subject};

/// Subjects of one consumer. More are replaced by wider ones: a server compares each message with each of them.
const SUBJECTS_MAX: usize = 64;

/// A name that is selected; `None` for any.
pub type SelectedName = Option<Box<str>>;

/// The names of the records that a reader needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectSelection {
    /// Hosts and VMs; those of all hosts if it is empty.
    pub vms: Vec<(SelectedName, SelectedName)>,
    /// Kinds, and names of events; those of every kind if it is empty.
    pub records: Vec<(Box<str>, SelectedName)>,
}

impl SubjectSelection {
    /// The subjects of these records, and of further ones if patterns or the number require it. No two of them have a subject
    /// in common, which a server would refuse. Empty for all records.
    #[must_use]
    pub fn subjects(&self) -> Vec<String> {
        let any_vm = [(None, None)];
        let vms = if self.vms.is_empty() { &any_vm[..] } else { &self.vms };
        let mut subjects = Vec::new();
        for (host, vm) in vms {
            let subject = |kind, event| filter_subject(host.as_deref(), vm.as_deref(), kind, event);
            match &*self.records {
                [] => subjects.push(subject(None, None)),
                records => subjects
                    .extend(records.iter().map(|(kind, event)| subject(Some(&**kind), event.as_deref()))),
            }
        }
        let mut subjects = apart(subjects);
        if subjects.len() > SUBJECTS_MAX {
            subjects = widest(&subjects).into_iter().collect();
        }
        if subjects == [RECORD_SUBJECTS] { Vec::new() } else { subjects }
    }
}

/// One subject for all that these select; `None` if it would select every record.
#[must_use]
pub fn widest(subjects: &[String]) -> Option<String> {
    let (first, others) = subjects.split_first()?;
    let one = others.iter().fold(first.clone(), |one, other| joined(&one, other));
    (one != RECORD_SUBJECTS).then_some(one)
}

/// Joins subjects until no two of them have a subject in common.
fn apart(subjects: Vec<String>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for mut subject in subjects {
        if found.iter().any(|one| covers(one, &subject)) {
            continue;
        }
        // A joined subject is wider, and may overlap with one that was compared before.
        while let Some(at) = found.iter().position(|one| overlaps(one, &subject)) {
            subject = joined(&found.swap_remove(at), &subject);
        }
        found.push(subject);
    }
    found
}

/// Whether some subject matches both.
fn overlaps(one: &str, other: &str) -> bool {
    let mut tokens = one.split('.').zip(other.split('.'));
    tokens.all(|(one, other)| one == other || one == "*" || other == "*")
}

/// The narrowest subject that covers both, which have the same number of tokens.
fn joined(one: &str, other: &str) -> String {
    let tokens = one.split('.').zip(other.split('.'));
    let tokens: Vec<&str> = tokens.map(|(one, other)| if one == other { one } else { "*" }).collect();
    tokens.join(".")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn selection(vms: &[&str], records: &[&str]) -> SubjectSelection {
        let name = |name: &str| (name != "*").then(|| Box::from(name));
        let pair = |text: &&str| {
            let (first, second) = text.split_once('/').expect("two names");
            (first.into(), name(second))
        };
        let vms = vms.iter().map(pair).map(|(host, vm): (Box<str>, _)| (name(&host), vm)).collect();
        SubjectSelection { vms, records: records.iter().map(pair).collect() }
    }

    #[test]
    fn subjects_name_what_is_known() {
        type Case<'a> = (&'a str, &'a [&'a str], &'a [&'a str], &'a [&'a str]);
        let cases: [Case<'_>; 9] = [
            ("all", &[], &[], &[]),
            ("any VM", &["*/*"], &[], &[]),
            ("a host", &["a.b/*"], &[], &["qmp.v1.a%2Eb.*.*.*"]),
            ("a VM", &["*/web1"], &["event/STOP"], &["qmp.v1.*.web1.event.STOP"]),
            (
                "two VMs, two kinds",
                &["a/x", "a/y"],
                &["event/*", "finding/*"],
                &["qmp.v1.a.x.event.*", "qmp.v1.a.x.finding.*", "qmp.v1.a.y.event.*", "qmp.v1.a.y.finding.*"],
            ),
            ("repeated", &["a/x", "a/x"], &[], &["qmp.v1.a.x.*.*"]),
            ("covered", &["*/x", "a/x", "b/x"], &[], &["qmp.v1.*.x.*.*"]),
            ("covered by a later one", &["a/x", "*/x"], &[], &["qmp.v1.*.x.*.*"]),
            ("overlapping", &["*/x", "a/*"], &[], &[]),
        ];
        for (case, vms, records, expected) in cases {
            assert_eq!(selection(vms, records).subjects(), expected, "{case}");
        }
    }

    #[test]
    fn many_subjects_become_one() {
        let names: Vec<String> = (0..=SUBJECTS_MAX).map(|number| format!("a/x{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(selection(&names[1..], &[]).subjects().len(), SUBJECTS_MAX);
        assert_eq!(selection(&names, &[]).subjects(), ["qmp.v1.a.*.*.*"]);
    }

    #[test]
    fn widest_subject_keeps_common_names() {
        let cases: [(&[&str], Option<&str>); 4] = [
            (&["qmp.v1.a.x.event.STOP", "qmp.v1.a.y.event.*"], Some("qmp.v1.a.*.event.*")),
            (&["qmp.v1.a.x.*.*"], Some("qmp.v1.a.x.*.*")),
            (&["qmp.v1.a.x.event.*", "qmp.v1.b.y.finding.*"], None),
            (&[], None),
        ];
        for (subjects, expected) in cases {
            let subjects: Vec<String> = subjects.iter().map(|&subject| subject.to_owned()).collect();
            assert_eq!(widest(&subjects).as_deref(), expected, "{subjects:?}");
        }
    }

    proptest! {
        /// Each selected record has one of the subjects, and no two of them have a subject in common.
        #[test]
        fn subjects_cover_the_selection(
            vms in prop::collection::vec("[ab*]/[xy*]", 0..6),
            records in prop::collection::vec("(event|finding)/[ST*]", 0..4),
        ) {
            let vms: Vec<&str> = vms.iter().map(String::as_str).collect();
            let records: Vec<&str> = records.iter().map(String::as_str).collect();
            let selection = selection(&vms, &records);
            let subjects = selection.subjects();
            let every = [RECORD_SUBJECTS.to_owned()];
            let found = if subjects.is_empty() { &every[..] } else { &subjects };
            for (host, vm) in &selection.vms {
                for (kind, event) in &selection.records {
                    let of_one = filter_subject(host.as_deref(), vm.as_deref(), Some(kind), event.as_deref());
                    prop_assert!(found.iter().any(|subject| covers(subject, &of_one)), "{of_one} {subjects:?}");
                }
            }
            for (at, one) in subjects.iter().enumerate() {
                prop_assert!(!subjects[at + 1..].iter().any(|other| overlaps(one, other)), "{subjects:?}");
            }
        }
    }
}
