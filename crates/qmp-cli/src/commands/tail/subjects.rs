//! What a server of NATS can select of the records that `qmp tail` shows: exact names; patterns are matched here.

use qmp_fleet::{SelectedName, SubjectSelection};
use qmp_journal::{Globs, RecordKind};
use qmp_wire::QualifiedName;

use crate::filter::EventFilter;

/// The kinds that are shown with `--event` or `--where`, unless `--kind` selects others.
const KINDS_WITH_GAPS: [RecordKind; 3] = [RecordKind::Event, RecordKind::Attached, RecordKind::Detached];

/// The selection of all records that `filter` shows, and of further ones where it has patterns.
pub(super) fn selection(filter: &EventFilter) -> SubjectSelection {
    let query = filter.query();
    let (hosts, events) = (names(&query.host), names(&query.event));
    let mut vms = Vec::new();
    for vm in names(&query.vm) {
        match vm.as_deref().and_then(QualifiedName::parse) {
            Some(QualifiedName { host, vm }) => vms.push((Some(host.into()), Some(vm.into()))),
            None => vms.extend(hosts.iter().map(|host| (host.clone(), vm.clone()))),
        }
    }
    let kinds = match &*query.kind {
        [] if filter.is_empty() => return SubjectSelection { vms, records: Vec::new() },
        [] => &KINDS_WITH_GAPS[..],
        kinds => kinds,
    };
    let mut records: Vec<(Box<str>, SelectedName)> = Vec::new();
    for kind in kinds {
        let named = if *kind == RecordKind::Event { &events[..] } else { &[None] };
        records.extend(named.iter().map(|event| (kind.name().into(), event.clone())));
    }
    SubjectSelection { vms, records }
}

/// The names that are selected; any if a pattern is not a name.
fn names(patterns: &Globs) -> Vec<SelectedName> {
    let is_name = |pattern: &str| !pattern.contains(['*', '?', '[', '{', '!', '\\']);
    let names: Vec<SelectedName> =
        patterns.patterns().map(|pattern| is_name(pattern).then(|| pattern.into())).collect();
    if names.is_empty() || names.contains(&None) { vec![None] } else { names }
}

#[cfg(test)]
mod tests {
    use qmp_journal::Query;

    use super::*;
    use crate::filter::EventArgs;

    fn subjects(vm: &[&str], host: &[&str], event: &[&str], kind: &[RecordKind]) -> Vec<String> {
        let globs = |patterns: &[&str]| Globs::parse(patterns).expect("patterns");
        let event = event.iter().map(|&name| name.to_owned()).collect();
        let events = EventArgs { event, wheres: Vec::new() }.filter().expect("a filter");
        let vms = Query { vm: globs(vm), host: globs(host), ..Query::default() };
        selection(&events.within(vms, kind.to_vec(), None)).subjects()
    }

    #[test]
    fn names_are_selected_by_the_server_and_patterns_are_not() {
        let event = [RecordKind::Event];
        type Case<'a> = (&'a str, Vec<String>, &'a [&'a str]);
        let cases: [Case<'_>; 11] = [
            ("all", subjects(&[], &[], &[], &[]), &[]),
            ("VM", subjects(&["web1"], &[], &[], &[]), &["qmp.v1.*.web1.*.*"]),
            ("pattern", subjects(&["web*"], &[], &[], &[]), &[]),
            ("name and pattern", subjects(&["web1", "db*"], &[], &[], &[]), &[]),
            ("excluded", subjects(&["!web1"], &["node1"], &[], &[]), &["qmp.v1.node1.*.*.*"]),
            ("qualified", subjects(&["node1/web.1"], &[], &[], &[]), &["qmp.v1.node1.web%2E1.*.*"]),
            ("qualified pattern", subjects(&["node1/w*"], &[], &[], &[]), &[]),
            ("two VMs", subjects(&["a", "b"], &["n"], &[], &[]), &["qmp.v1.n.a.*.*", "qmp.v1.n.b.*.*"]),
            ("an event alone", subjects(&[], &[], &["STOP"], &event), &["qmp.v1.*.*.event.STOP"]),
            (
                "an event with gaps",
                subjects(&["a"], &[], &["STOP"], &[]),
                &["qmp.v1.*.a.event.STOP", "qmp.v1.*.a.attached.*", "qmp.v1.*.a.detached.*"],
            ),
            (
                "pattern of events",
                subjects(&[], &[], &["BLOCK_*"], &[RecordKind::Event, RecordKind::Finding]),
                &["qmp.v1.*.*.event.*", "qmp.v1.*.*.finding.*"],
            ),
        ];
        for (case, found, expected) in cases {
            assert_eq!(found, expected, "{case}");
        }
    }
}
