//! Findings over hosts, from the records of several hosts.
//!
//! A line is a host, or `HOST/VM`, and a line of a story; the hosts' lines are interleaved as a fleet hub reads them:
//!
//! ```text
//! node1 0 attached running        the VM `web1` of node1
//! node2 0 attached inmigrate
//! node1 9 heard                   everything up to then was heard of node1
//! ```

use std::collections::HashMap;

use proptest::prelude::*;
use qmp_wire::{Body, QualifiedName, Record, UnixMicros};
use serde_json::{Value, json};

use super::super::testing::{Step, story};
use super::super::{Correlators, Finding, HostCorrelators};

const UUID: &str = "12345678-9abc-def0-1234-56789abcdef0";

/// A step of several hosts.
#[derive(Clone, Debug)]
enum HostStep {
    Record(Box<Record<'static>>),
    Heard(Box<str>, UnixMicros),
}

/// Parses a story of several hosts.
fn fleet(text: &str) -> Vec<HostStep> {
    let lines: Vec<(String, &str)> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| line.split_once(' ').expect("a host and a record"))
        .map(|(place, what)| (if place.contains('/') { place.into() } else { format!("{place}/web1") }, what))
        .collect();
    let mut texts: HashMap<&str, String> = HashMap::new();
    for (place, what) in &lines {
        *texts.entry(place).or_default() += &format!("{}\n", what.replace("heard", "passes"));
    }
    let mut stories: HashMap<&str, _> =
        texts.iter().map(|(place, text)| (*place, story(text).into_iter())).collect();
    let step = |(place, _): &(String, &str)| match stories.get_mut(&**place).and_then(Iterator::next) {
        Some(Step::Record(record)) => HostStep::Record(Box::new(of_place(record, place))),
        Some(Step::Passes(at)) => {
            HostStep::Heard(QualifiedName::parse(place).expect("a place").host.into(), at)
        }
        None => unreachable!("a step for each line"),
    };
    lines.iter().map(step).collect()
}

/// The record of a VM at a place. VMs whose names begin with `no` have no UUID, the others one and the same.
fn of_place(mut record: Record<'static>, place: &str) -> Record<'static> {
    if let Body::Attached { snapshot } = &record.body {
        let mut snapshot: Value = serde_json::from_str(snapshot).expect("JSON");
        let zeros = "00000000-0000-0000-0000-000000000000";
        let uuid = if place.contains("/no") { zeros } else { UUID };
        snapshot["query-uuid"] = json!({"UUID": uuid});
        record.body = Body::Attached { snapshot: snapshot.to_string().into() };
    }
    record.vm = place.to_owned().into();
    record
}

/// Correlators of a fleet hub.
#[derive(Default)]
struct Hub {
    correlators: Correlators,
    hosts: HostCorrelators,
}

impl Hub {
    fn take(&mut self, step: &HostStep, found: &mut Vec<Finding>) {
        match step {
            HostStep::Record(record) => {
                self.correlators.record(record, &mut Vec::new());
                let host = QualifiedName::parse(&record.vm).expect("a place").host;
                self.hosts.heard(host, record.received, found);
                self.hosts.record(record, &self.correlators, found);
            }
            HostStep::Heard(host, at) => self.hosts.heard(host, *at, found),
        }
    }
}

fn found(steps: &[HostStep]) -> Vec<Finding> {
    let (mut hub, mut found) = (Hub::default(), Vec::new());
    steps.iter().for_each(|step| hub.take(step, &mut found));
    found
}

/// The findings in short: kind, evidence and summary.
fn short(text: &str) -> Vec<String> {
    let short = |finding: &Finding| {
        let evidence = finding.data["evidence"].as_array().expect("evidence").iter().map(|one| {
            format!("{}:{}.{}", one["host"].as_str().unwrap_or_default(), one["epoch"], one["seq"])
        });
        let evidence: Vec<String> = evidence.collect();
        assert!(finding.causes.is_empty() && !finding.vm.contains('/'), "{finding:?}");
        format!("{} {} {}", finding.kind, evidence.join(","), finding.summary)
    };
    found(&fleet(text)).iter().map(short).collect()
}

const MIGRATION: &str = "
    node1 0 attached running
    node2 1 attached inmigrate
    node1 2 MIGRATION {\"status\": \"setup\"}
    node1 2.1 MIGRATION {\"status\": \"active\"}
    node2 2.2 MIGRATION {\"status\": \"active\"}
    node1 14 STOP
    node2 14.25 RESUME
    node2 14.3 MIGRATION {\"status\": \"completed\"}
    node1 14.2 MIGRATION {\"status\": \"completed\"}
    node1 40 heard
    node2 40 heard
";

#[test]
fn migration_is_told_from_both_sides() {
    let told = |end: &str| {
        format!("migrated node1:1.3,node1:1.4,node2:1.2 web1 was migrated from node1 to node2{end}")
    };
    let setup = "node1 2 MIGRATION {\"status\": \"setup\"}\n";
    let without_events = "
        node1 0 attached running
        node2 1 attached inmigrate
        node1 14 STOP
        node2 14.25 RESUME
        node1 14.3 query 1 {\"execute\": \"query-status\", \"return\": {\"status\": \"postmigrate\"}}
    ";
    let paused = "
        node1 0 attached running
        node1 1 STOP
        node1 1.1 answers paused
        node2 300 attached inmigrate
        node1 301 MIGRATION {\"status\": \"setup\"}
        node1 301.1 MIGRATION {\"status\": \"active\"}
        node1 302 MIGRATION {\"status\": \"completed\"}
        node2 302 MIGRATION {\"status\": \"completed\"}
        node2 302.2 query 1 {\"execute\": \"query-status\", \"return\": {\"status\": \"paused\"}}
    ";
    let failed = format!(
        "node1 0 attached running
        node2 1 attached inmigrate
        {setup}
        node2 5 MIGRATION {{\"status\": \"failed\"}}
        node1 5.1 MIGRATION {{\"status\": \"failed\"}}
        node2 5.2 detached"
    );
    let lines: Vec<&str> = MIGRATION.lines().filter(|line| !line.trim().is_empty()).collect();
    let (source, destination): (Vec<&str>, Vec<&str>) = lines.iter().partition(|line| line.contains("node1"));
    let libvirt = "
        node1 0 attached libvirt found - running booted of kvm#7
        node2 1 attached libvirt started migrated paused migration of kvm#8
        node1 14 STOP
        node2 14.2 RESUME
        node1 14.4 detached libvirt: migrated
    ";
    let postcopy = MIGRATION
        .replace(
            "node1 14.2 MIGRATION",
            "node1 14.1 MIGRATION {\"status\": \"postcopy-active\"}\nnode1 60 MIGRATION",
        )
        .replace("node2 14.3", "node2 60.1")
        .replace(" 40 heard", " 90 heard");
    let cases: [(&str, String, &[&str]); 14] = [
        (
            "postcopy",
            postcopy,
            &[
                "migrated node1:1.3,node1:1.5,node2:1.2 web1 was migrated from node1 to node2 within 58 s, and stood still for 250 ms.",
            ],
        ),
        ("precopy", MIGRATION.into(), &[&told(" within 12 s, and stood still for 250 ms.")]),
        (
            "the destination is heard later",
            [source.clone(), destination.clone()].concat().join("\n"),
            &[&told(" within 12 s, and stood still for 250 ms.")],
        ),
        (
            "the source is heard later",
            [destination, source].concat().join("\n"),
            &[&told(" within 12 s, and stood still for 250 ms.")],
        ),
        (
            "the destination's clock is behind",
            MIGRATION.replace("node2 14.", "node2 13."),
            &[&told(" within 12 s.")],
        ),
        (
            "without the capability",
            without_events.into(),
            &[
                "migrated node1:1.1,node1:1.2,node2:1.1 web1 was migrated from node1 to node2, and stood still for 250 ms.",
            ],
        ),
        (
            "paused",
            paused.into(),
            &["migrated node1:1.5,node2:1.2 web1 was migrated from node1 to node2 within 1.0 s."],
        ),
        (
            "failed",
            failed.clone(),
            &["migrated node1:1.2,node2:1.1 The migration of web1 from node1 to node2 failed after 3.1 s."],
        ),
        (
            "cancelled",
            failed
                .replace("node2 5 MIGRATION {\"status\": \"failed\"}", "node2 5 RTC_CHANGE")
                .replace("failed", "cancelled"),
            &[
                "migrated node1:1.2,node2:1.2 The migration of web1 from node1 to node2 was cancelled after 3.1 s.",
            ],
        ),
        (
            "through libvirt",
            libvirt.into(),
            &[
                "migrated node1:1.1,node1:1.2,node2:1.1 web1 was migrated from node1 to node2, and stood still for 200 ms.",
            ],
        ),
        ("no UUID", MIGRATION.replace("node1", "node1/no1").replace("node2", "node2/no1"), &[]),
        ("one side", source_only(), &[]),
        ("hours later", MIGRATION.replace("node2 14.", "node2 7214."), &[]),
        ("another name of the journal of one host", MIGRATION.replace("node2", "node1~2"), &[]),
    ];
    for (name, text, expected) in cases {
        assert_eq!(short(&text), expected, "{name}");
    }
}

/// The lines of the source alone.
fn source_only() -> String {
    MIGRATION.lines().filter(|line| line.contains("node1")).collect::<Vec<_>>().join("\n")
}

#[test]
fn vm_that_is_migrated_back_is_told_twice() {
    let back = "
        node1 100 detached
        node1 101 attached inmigrate
        node2 102 MIGRATION {\"status\": \"setup\"}
        node2 102.1 MIGRATION {\"status\": \"active\"}
        node2 103 STOP
        node1 103.1 RESUME
        node2 103.2 MIGRATION {\"status\": \"completed\"}
    ";
    let found = short(&format!("{MIGRATION}{back}"));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[1].ends_with("web1 was migrated from node2 to node1 within 1.2 s, and stood still for 100 ms."),
        "{found:?}"
    );
}

#[test]
fn vm_on_two_hosts_is_reported_when_both_said_so() {
    let both = "node1 0 attached running\nnode2 5 attached running\n";
    let begins = "two-hosts node1:1.0,node2:1.0 web1 has been running on node1 and on node2 at once for more than 10 s: two QEMUs may write to its disks.";
    let over = |end: &str| format!("two-hosts-over node1:1.0,node2:1.0 web1 {end}");
    let cases: [(&str, &str, &[&str]); 13] = [
        ("neither was heard", "", &[]),
        ("one was heard", "node2 60 heard", &[]),
        ("not for long enough", "node1 15 heard\nnode2 15 heard", &[]),
        ("both were heard", "node1 15.1 heard\nnode2 15.1 heard", &[begins]),
        ("both had another record", "node1 16 RTC_CHANGE\nnode2 17 RTC_CHANGE", &[begins]),
        ("one ended in time", "node1 14 STOP\nnode2 60 heard", &[]),
        (
            "one was stopped",
            "node1 35 STOP\nnode2 60 heard\nnode1 60 heard",
            &[begins, &over("runs on node2 alone, after 30 s on node1 and on node2 at once.")],
        ),
        (
            "one ended",
            "node1 20 heard\nnode2 20 heard\nnode1 20.5 SHUTDOWN {\"guest\": false, \"reason\": \"host-qmp-quit\"}\nnode1 20.6 detached\nnode1 25 heard",
            &[begins, &over("runs on node2 alone, after at least 15 s on node1 and on node2 at once.")],
        ),
        (
            "both ended while one host was silent",
            "node2 30 STOP\nnode1 40 STOP",
            &[begins, &over("runs on node1 alone, after 25 s on node1 and on node2 at once.")],
        ),
        (
            "not observed any more",
            "node1 20 heard\nnode2 20 heard\nnode1 30 detached hub stopped\nnode2 90 heard",
            &[begins],
        ),
        (
            "not observed for a while",
            "node1 20 heard\nnode2 20 heard\nnode1 30 detached hub stopped\nnode1 40 attached running\nnode2 90 heard\nnode1 90 STOP",
            &[begins, &over("runs on node2 alone, after 85 s on node1 and on node2 at once.")],
        ),
        ("not observed in time", "node1 8 detached hub stopped\nnode2 90 heard\nnode1 90 heard", &[]),
        (
            "the guest was reset",
            "node1 20 heard\nnode2 20 heard\nnode1 30 RESET {\"guest\": true, \"reason\": \"guest-reset\"}\nnode1 40 heard\nnode2 40 heard",
            &[begins],
        ),
    ];
    for (name, text, expected) in cases {
        assert_eq!(short(&format!("{both}{text}")), expected, "{name}");
    }
    assert_eq!(short(&both.replace("node", "node/no").replace("/no", "1/no")), [""; 0], "no UUID");
    assert_eq!(
        short("node1/a 0 attached running\nnode1/b 0 attached running\nnode1 60 heard"),
        [""; 0],
        "one host"
    );
}

#[test]
fn overlap_of_an_earlier_hub_is_over_once() {
    let both = fleet(
        "node1 0 attached running\nnode2 5 attached running\nnode1 20 heard\nnode2 20 heard\nnode1 35 STOP",
    );
    let (mut first, mut all) = (Hub::default(), Vec::new());
    both.iter().for_each(|step| first.take(step, &mut all));
    assert_eq!(all.iter().map(|finding| finding.kind).collect::<Vec<_>>(), ["two-hosts", "two-hosts-over"]);
    // Another hub knows only the state of the VMs, and that the overlap was reported.
    let mut again = Vec::new();
    let mut hosts = HostCorrelators::new();
    hosts.restore(&recorded(&all[0]));
    ["node1/web1", "node2/web1"].iter().for_each(|vm| hosts.adopt(vm, &first.correlators));
    hosts.restored(&mut again);
    assert_eq!(again.iter().map(|finding| finding.kind).collect::<Vec<_>>(), ["two-hosts-over"]);
}

/// A finding as it is in the journal.
fn recorded(finding: &Finding) -> Record<'static> {
    let body = finding.body().into_owned();
    let (epoch, seq) = (qmp_wire::Epoch(0), qmp_wire::Seq(1));
    Record { offset: None, vm: finding.vm.to_string().into(), epoch, seq, received: finding.at, body }
}

/// Lines of a VM that is in an epoch, and of one that is not.
const LINES: &[&str] = &[
    "STOP",
    "RESUME",
    "MIGRATION {\"status\": \"active\"}",
    "MIGRATION {\"status\": \"completed\"}",
    "MIGRATION {\"status\": \"failed\"}",
    "SHUTDOWN {\"guest\": false, \"reason\": \"host-qmp-quit\"}",
    "RTC_CHANGE {\"offset\": 0}",
    "detached",
    "detached hub stopped",
    "attached running",
    "attached running",
    "attached inmigrate",
    "attached paused",
    "answers postmigrate",
];

const PLACES: [&str; 4] = ["node1/web1", "node2/web1", "node3/web1", "node2/web2"];

/// Random records of VMs on three hosts, in the order of their time.
fn steps() -> impl Strategy<Value = Vec<HostStep>> {
    let line = (prop::sample::select(&PLACES[..]), prop::sample::select(LINES), 1i64..9_000);
    prop::collection::vec(line, 1..60).prop_map(|lines| {
        let mut at = 10_000;
        let mut text: String = PLACES.iter().map(|place| format!("{place} 1 attached inmigrate\n")).collect();
        for (place, line, pause) in lines {
            at += pause;
            text += &format!("{place} {}.{:03} {line}\n", at / 1_000, at % 1_000);
        }
        fleet(&text)
    })
}

/// The steps, with every host heard before each of them, and once more at the end.
fn in_time(steps: &[HostStep]) -> Vec<HostStep> {
    let hosts = ["node1", "node2", "node3"];
    let heard = |at: UnixMicros| hosts.map(|host| HostStep::Heard(host.into(), at));
    let timed = steps.iter().flat_map(|step| {
        let HostStep::Record(record) = step else { unreachable!("records") };
        heard(record.received).into_iter().chain([step.clone()])
    });
    timed.chain(heard(UnixMicros(i64::MAX / 2))).collect()
}

fn sorted(mut found: Vec<Finding>) -> Vec<String> {
    found.sort_by_key(|finding| (finding.at, finding.kind, finding.summary.clone()));
    found.iter().map(|finding| format!("{} {} {:?}", finding.at.0, finding.summary, finding.data)).collect()
}

proptest! {
    /// It does not matter how often and how early it is known how far a host was heard.
    #[test]
    fn findings_over_hosts_do_not_depend_on_when_hosts_are_heard(steps in steps(), marks in prop::collection::vec((any::<prop::sample::Index>(), 0usize..3), 0..20)) {
        let mut timed = in_time(&steps);
        for (index, host) in marks {
            let host: Box<str> = ["node1", "node2", "node3"][host].into();
            let index = index.index(timed.len());
            // Up to the next record of the host.
            let next = timed[index..].iter().find_map(|step| match step {
                HostStep::Record(record) if record.vm.starts_with(&*host) => Some(record.received),
                _ => None,
            });
            let last = timed[..index].iter().rev().find_map(|step| match step {
                HostStep::Heard(one, at) if *one == host => Some(*at),
                _ => None,
            });
            timed.insert(index, HostStep::Heard(host, next.or(last).unwrap_or(UnixMicros(0))));
        }
        prop_assert_eq!(sorted(found(&timed)), sorted(found(&in_time(&steps))));
    }

    /// A hub that starts again with the findings that are recorded adds those that are missing, and no other.
    #[test]
    fn findings_over_hosts_are_recorded_once(steps in steps(), cut in any::<prop::sample::Index>(), lost in any::<prop::sample::Index>()) {
        let steps = in_time(&steps);
        let all = found(&steps);
        let cut = cut.index(steps.len());
        let before = found(&steps[..cut]);
        let kept = if before.is_empty() { 0 } else { lost.index(before.len() + 1) };
        let mut hub = Hub::default();
        before[..kept].iter().for_each(|finding| hub.hosts.restore(&recorded(finding)));
        let mut rest = Vec::new();
        // The records are read again, and then how far the hosts were heard is known.
        for step in &steps[..cut] {
            if let HostStep::Record(record) = step {
                hub.correlators.record(record, &mut Vec::new());
                hub.hosts.record(record, &hub.correlators, &mut rest);
            }
        }
        hub.hosts.restored(&mut rest);
        steps[..cut].iter().filter(|step| matches!(step, HostStep::Heard(..))).for_each(|step| hub.take(step, &mut rest));
        steps[cut..].iter().for_each(|step| hub.take(step, &mut rest));
        let both = [before[..kept].to_vec(), rest].concat();
        let names = |found: &[Finding]| -> Vec<String> {
            found.iter().map(|finding| format!("{} {}", finding.kind, finding.data["evidence"])).collect()
        };
        let (both, all) = (names(&both), names(&all));
        for name in &both {
            let count = both.iter().filter(|other| *other == name).count();
            prop_assert_eq!(count, all.iter().filter(|other| *other == name).count(), "{}", name);
        }
        // An overlap that was over before the restart is not among the last runs.
        for name in all.iter().filter(|name| name.starts_with("migrated")) {
            prop_assert!(both.contains(name), "{} is missing in {:?}", name, both);
        }
    }
}
