//! Rules on states, on a virtual clock, with restarts of the hub.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use qmp_wire::{Epoch, Seq, UnixMicros};

use super::super::testing::{Step, story, take};
use super::super::{
    ALERT, Condition, Correlators, Finding, OpenAlert, RESOLVED, StateAlerts, StateRule, StateRuleScope,
};

const FOR: i64 = 300;

/// All VMs but `other`, silenced in this time.
#[derive(Debug)]
struct Scope(Option<(i64, i64)>);

impl StateRuleScope for Scope {
    fn selects(&self, vm: &str) -> bool {
        vm != "other"
    }

    fn silenced_until(&self, _vm: &str, at: UnixMicros) -> Option<UnixMicros> {
        let (from, until) = self.0?;
        (from..until).contains(&at.0).then_some(UnixMicros(until))
    }
}

fn rule(states: &[&str], silenced: Option<(i64, i64)>) -> StateRule {
    StateRule {
        name: "held".into(),
        states: states.iter().map(|state| (*state).into()).collect(),
        lasts: Duration::from_micros(FOR.unsigned_abs()),
        scope: Arc::new(Scope(silenced)),
    }
}

/// A state since `since`, for no known reason.
fn condition(state: &str, since: i64) -> Condition {
    Condition {
        state: state.into(),
        since: UnixMicros(since),
        cause: (Epoch(1), Seq(1)),
        reason: Box::default(),
    }
}

fn started(rule: &StateRule, open: Option<OpenAlert>) -> StateAlerts {
    let mut alerts = StateAlerts::default();
    alerts.set_rules(vec![rule.clone()], open.into_iter().collect());
    alerts
}

/// The alert that these findings leave open, as a hub restores it.
fn open(found: &[Finding]) -> Option<OpenAlert> {
    let last = found.last().filter(|last| last.kind == ALERT)?;
    let text = |member: &str| last.data[member].as_str().expect("a text").to_owned();
    let since = text("since").parse().expect("a time");
    Some(OpenAlert { rule: text("rule").into(), vm: last.vm.clone(), state: text("state").into(), since })
}

/// The findings of a VM that is in each state from its time on (`?`: not known), with the hub restarted at some moments.
fn alerts(rule: &StateRule, states: &[(i64, &str)], restarts: &[i64], end: i64) -> Vec<Finding> {
    let mut changes: BTreeMap<i64, &str> = states.iter().copied().collect();
    changes.entry(0).or_insert("running");
    let known = |since: i64, state: &str| {
        let cause = (Epoch(1), Seq(since.unsigned_abs()));
        (state != "?").then(|| Condition { cause, ..condition(state, since) })
    };
    let (mut alerts, mut found) = (started(rule, None), Vec::new());
    let (mut current, mut last_known) = ((0, "running"), (0, "running"));
    for now in 0..=end {
        if let Some(state) = changes.get(&now) {
            // A state that is the same after a gap continues.
            current = if *state == last_known.1 { last_known } else { (now, *state) };
            if *state != "?" {
                last_known = current;
            }
            alerts.observe("vm1", known(current.0, current.1).as_ref(), UnixMicros(now));
        }
        if restarts.contains(&now) {
            found.extend(std::iter::from_fn(|| alerts.poll_output()));
            alerts = started(rule, open(&found));
            alerts.observe("vm1", known(current.0, current.1).as_ref(), UnixMicros(now));
        }
        if alerts.deadline().is_some_and(|at| at.0 <= now) {
            alerts.time_passed(UnixMicros(now));
        }
        found.extend(std::iter::from_fn(|| alerts.poll_output()));
    }
    found
}

fn short(found: &[Finding]) -> String {
    let one = |finding: &Finding| {
        format!("{} {}@{}", finding.kind, finding.data["state"].as_str().expect("a state"), finding.at.0)
    };
    found.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[test]
fn alert_is_raised_once_and_resolved_once() {
    type Case<'a> = (&'a str, &'a [(i64, &'a str)], Option<(i64, i64)>, &'a str);
    let cases: [Case<'_>; 11] = [
        ("long enough", &[(10, "paused"), (400, "running")], None, "alert paused@310, resolved paused@400"),
        ("too short", &[(10, "paused"), (309, "running")], None, ""),
        ("at its end", &[(10, "paused"), (310, "running")], None, "alert paused@310, resolved paused@310"),
        ("twice", &[(10, "paused"), (200, "running"), (210, "paused")], None, "alert paused@510"),
        (
            "another state of the rule",
            &[(10, "paused"), (400, "io-error"), (900, "running")],
            None,
            "alert paused@310, resolved paused@900",
        ),
        ("each state counts by itself", &[(10, "paused"), (200, "io-error")], None, "alert io-error@500"),
        ("unknown, and as before", &[(10, "paused"), (200, "?"), (250, "paused")], None, "alert paused@310"),
        ("unknown for longer", &[(10, "paused"), (200, "?"), (700, "paused")], None, "alert paused@700"),
        ("unknown for ever", &[(10, "paused"), (400, "?")], None, "alert paused@310"),
        ("silenced", &[(10, "paused")], Some((300, 600)), "alert paused@600"),
        ("silenced until it is over", &[(10, "paused"), (500, "running")], Some((300, 600)), ""),
    ];
    for (name, states, silenced, expected) in cases {
        let rule = rule(&["paused", "io-error"], silenced);
        assert_eq!(short(&alerts(&rule, states, &[], 1_000)), expected, "{name}");
    }
}

#[test]
fn silent_vm_is_in_no_known_state_of_other_rules() {
    let states = [(10, "paused"), (200, "silent"), (600, "running")];
    assert_eq!(short(&alerts(&rule(&["paused"], None), &states, &[], 1_000)), "");
    let both = alerts(&rule(&["paused", "silent"], None), &states, &[], 1_000);
    assert_eq!(short(&both), "alert silent@500, resolved silent@600");
    insta::assert_snapshot!(both[0].summary, @"It has been silent for under 1 ms (rule held).");
    insta::assert_snapshot!(both[1].summary, @"It is running, after under 1 ms silent (rule held).");
}

#[test]
fn alert_has_the_reason_that_is_known_when_it_is_raised() {
    let paused = |reason: &str| Condition { reason: reason.into(), ..condition("paused", 0) };
    let mut alerts = started(&rule(&["paused"], None), None);
    alerts.observe("vm1", Some(&paused("")), UnixMicros(0));
    alerts.observe("vm1", Some(&paused("A command of alice paused it.")), UnixMicros(FOR - 1));
    alerts.time_passed(UnixMicros(FOR));
    let summary = alerts.poll_output().expect("an alert").summary;
    insta::assert_snapshot!(summary, @"It has been paused for under 1 ms (rule held). A command of alice paused it.");
    let at_once = StateRule { lasts: Duration::ZERO, ..rule(&["paused"], None) };
    let mut alerts = started(&at_once, None);
    alerts.observe("vm1", Some(&paused("")), UnixMicros(1));
    insta::assert_snapshot!(alerts.poll_output().expect("an alert").summary, @"It is paused (rule held).");
}

#[test]
fn condition_has_the_explanation_of_the_state() {
    let mut correlators = Correlators::new();
    let steps = story("0 attached running 7.2.22 kvm#7\n1 STOP\n1.1 answers paused");
    steps.iter().for_each(|step| take(&mut correlators, step, &mut Vec::new()));
    let why = correlators.state("vm1").and_then(|state| state.why).expect("an explanation");
    assert_eq!(*correlators.condition("vm1").expect("a state").reason, *why.summary);
}

#[test]
fn vm_of_another_host_has_the_time_of_its_host() {
    let paused = condition("paused", 0);
    let mut alerts = started(&rule(&["paused"], None), None);
    for vm in ["node1/vm1", "node10/vm1"] {
        alerts.observe(vm, Some(&paused), UnixMicros(1));
    }
    assert_eq!(alerts.deadline(), None, "it is not of this host");
    alerts.time_passed(UnixMicros(9 * FOR));
    alerts.host_time_passed("node2", UnixMicros(9 * FOR));
    alerts.host_time_passed("node1", UnixMicros(FOR - 1));
    assert_eq!(alerts.poll_output(), None, "its host was not heard for that long");
    alerts.host_time_passed("node1", UnixMicros(FOR + 1));
    let found: Vec<Finding> = std::iter::from_fn(|| alerts.poll_output()).collect();
    assert_eq!((short(&found), &*found[0].vm), (format!("alert paused@{FOR}"), "node1/vm1"));
}

#[test]
fn rule_is_not_about_vms_that_it_does_not_select() {
    let mut alerts = started(&rule(&["paused"], None), None);
    let paused = condition("paused", 0);
    alerts.observe("other", Some(&paused), UnixMicros(1_000));
    assert_eq!((alerts.poll_output(), alerts.deadline()), (None, None));
}

/// What follows for a VM that is paused since 0, by a rule without delay.
fn short_after(act: impl FnOnce(&mut StateAlerts)) -> String {
    let rule = StateRule { lasts: Duration::ZERO, ..rule(&["paused"], None) };
    let mut alerts = started(&rule, None);
    let paused = condition("paused", 0);
    alerts.observe("vm1", Some(&paused), UnixMicros(0));
    act(&mut alerts);
    short(&std::iter::from_fn(|| alerts.poll_output()).collect::<Vec<_>>())
}

#[test]
fn alert_of_a_vm_that_has_left_is_resolved_once() {
    let seconds = |seconds: i64| UnixMicros(seconds * 1_000_000);
    let left = short_after(|alerts| {
        for at in [1, 2, 6, 20] {
            alerts.take_followed(|_| false, seconds(at));
        }
        assert_eq!(alerts.deadline(), None);
    });
    assert_eq!(left, "alert paused@0, resolved paused@6000000");
    let followed_again = short_after(|alerts| {
        for (at, is_followed) in [(1, false), (2, true), (20, false)] {
            alerts.take_followed(|_| is_followed, seconds(at));
        }
        assert_eq!(alerts.deadline(), Some(seconds(25)));
    });
    assert_eq!(followed_again, "alert paused@0");
    let open =
        OpenAlert { rule: "held".into(), vm: "vm1".into(), state: "paused".into(), since: UnixMicros(0) };
    let mut restored = started(&rule(&["paused"], None), Some(open));
    restored.take_followed(|_| false, seconds(1));
    assert_eq!(restored.deadline(), Some(seconds(301)), "the hub has to find it first");
    restored.take_followed(|_| false, seconds(301));
    let resolved = restored.poll_output().expect("a finding");
    assert_eq!((resolved.kind, resolved.data["reason"].as_str()), (RESOLVED, Some("left")));
    insta::assert_snapshot!(resolved.summary, @"The hub does not follow it any more, after 5 min paused (rule held).");
}

#[test]
fn vm_that_has_left_raises_no_alert() {
    let mut alerts = started(&rule(&["ended"], None), None);
    let ended = condition("ended", 0);
    alerts.observe("vm1", Some(&ended), UnixMicros(0));
    alerts.take_followed(|_| false, UnixMicros(1));
    alerts.time_passed(UnixMicros(FOR));
    alerts.take_followed(|_| false, UnixMicros(6_000_000));
    assert_eq!((alerts.poll_output(), alerts.deadline()), (None, None));
}

#[test]
fn alert_of_a_vm_that_another_host_removed_is_resolved_at_once() {
    let paused = condition("paused", 0);
    let mut alerts = started(&rule(&["paused"], None), None);
    for vm in ["node1/vm1", "node1/vm2", "vm3"] {
        alerts.observe(vm, Some(&paused), UnixMicros(FOR));
    }
    alerts.take_followed(|vm| vm != "vm3", UnixMicros(FOR));
    alerts.removed("node1/vm1", UnixMicros(90_000_000_000));
    alerts.removed("node1/vm1", UnixMicros(90_000_000_001));
    let found: Vec<Finding> = std::iter::from_fn(|| alerts.poll_output()).collect();
    assert_eq!(short(&found[3..]), "resolved paused@90000000000");
    assert_eq!((&*found[3].vm, found[3].data["reason"].as_str()), ("node1/vm1", Some("left")));
    assert_eq!(alerts.deadline(), Some(UnixMicros(5_000_000 + FOR)), "of vm3");
}

#[test]
fn rule_that_is_added_has_its_alerts_from_before_the_start() {
    let open =
        OpenAlert { rule: "held".into(), vm: "vm1".into(), state: "paused".into(), since: UnixMicros(0) };
    let held = || vec![rule(&["paused"], None)];
    let mut alerts = StateAlerts::default();
    alerts.set_rules(Vec::new(), Vec::new());
    alerts.set_rules(held(), vec![open.clone()]);
    alerts.observe("vm1", Some(&condition("paused", 0)), UnixMicros(2 * FOR));
    assert_eq!(alerts.poll_output(), None, "it is raised already");
    alerts.observe("vm1", Some(&condition("running", 700)), UnixMicros(700));
    // The same list again, as after a change of the silences.
    alerts.set_rules(held(), vec![open]);
    alerts.observe("vm1", Some(&condition("running", 700)), UnixMicros(800));
    assert_eq!(
        short(&std::iter::from_fn(|| alerts.poll_output()).collect::<Vec<_>>()),
        "resolved paused@700"
    );
}

/// Selects no VM.
#[derive(Debug)]
struct Nothing;

impl StateRuleScope for Nothing {
    fn selects(&self, _vm: &str) -> bool {
        false
    }

    fn silenced_until(&self, _vm: &str, _at: UnixMicros) -> Option<UnixMicros> {
        None
    }
}

#[test]
fn alert_of_a_vm_that_the_rule_does_not_select_any_more_is_resolved() {
    let found = short_after(|alerts| {
        alerts.set_rules(vec![StateRule { scope: Arc::new(Nothing), ..rule(&["paused"], None) }], Vec::new());
        alerts.observe("vm1", None, UnixMicros(7));
        alerts.observe("vm1", None, UnixMicros(8));
    });
    assert_eq!(found, "alert paused@0, resolved paused@7");
}

#[test]
fn silence_that_ends_early_raises_the_alert_at_once() {
    let paused = condition("paused", 0);
    let mut alerts = started(&rule(&["paused"], Some((0, 9_000))), None);
    alerts.observe("vm1", Some(&paused), UnixMicros(0));
    alerts.time_passed(UnixMicros(400));
    assert_eq!(alerts.deadline(), Some(UnixMicros(9_000)));
    alerts.set_rules(vec![rule(&["paused"], Some((0, 500)))], Vec::new());
    alerts.observe("vm1", Some(&paused), UnixMicros(500));
    assert_eq!(short(&std::iter::from_fn(|| alerts.poll_output()).collect::<Vec<_>>()), "alert paused@500");
}

#[test]
fn state_continues_over_a_restart_of_the_hub() {
    //  after the pause at 1 s, and whether the state is the one that began then
    let cases = [
        ("", "paused 1"),
        ("5 detached hub stopped", "-"),
        ("5 detached hub stopped\n9 attached paused 7.2.22 kvm#7", "paused 1"),
        ("5 detached hub stopped\n9 attached paused 7.2.22 kvm#8", "paused 9"),
        ("5 detached hub stopped\n9 attached running 7.2.22 kvm#7", "running 9"),
        ("5 detached", "gone 5"),
        ("5 RESUME\n6 STOP\n6.1 answers paused", "paused 6"),
    ];
    for (then, expected) in cases {
        let mut correlators = Correlators::new();
        let steps = story(&format!("0 attached running 7.2.22 kvm#7\n1 STOP\n1.1 answers paused\n{then}"));
        steps.iter().for_each(|step| take(&mut correlators, step, &mut Vec::new()));
        let Some(Step::Record(first)) = steps.first() else { panic!("a record") };
        let seconds = |since: UnixMicros| (since.0 - first.received.0) / 1_000_000;
        let condition = correlators.condition("vm1");
        let shown = condition.map(|condition| format!("{} {}", condition.state, seconds(condition.since)));
        assert_eq!(shown.as_deref().unwrap_or("-"), expected, "{then}");
    }
}

/// The findings by the definition: for each time in states of the rule, one alert for the first state that lasts.
fn expected(states: &[(i64, &str)], listed: &[&str], end: i64) -> Vec<(&'static str, i64)> {
    let mut expected = Vec::new();
    let mut is_raised = false;
    for (index, (from, state)) in states.iter().enumerate().take_while(|(_, (from, _))| *from <= end) {
        let until = states.get(index + 1).map_or(end + 1, |(from, _)| *from);
        if !listed.contains(state) {
            if std::mem::take(&mut is_raised) {
                expected.push((RESOLVED, *from));
            }
        } else if !is_raised && from + FOR <= until.min(end) {
            is_raised = true;
            expected.push((ALERT, from + FOR));
        }
    }
    expected
}

proptest! {
    /// A rule fires once for each time in its states that lasts, and once more when it is over, whenever the hub is
    /// restarted.
    #[test]
    fn alerts_are_those_of_the_definition_with_any_restarts(
        steps in prop::collection::vec((1i64..700, 0usize..4), 0..8),
        restarts in prop::collection::vec(0i64..4_000, 0..6),
    ) {
        let names = ["running", "paused", "io-error", "shutdown"];
        let mut states = vec![(0, "running")];
        for (length, state) in steps {
            let (at, before) = states[states.len() - 1];
            if names[state] != before {
                states.push((at + length, names[state]));
            }
        }
        let rule = rule(&["paused", "io-error"], None);
        let found = alerts(&rule, &states, &restarts, 4_000);
        let found: Vec<(&str, i64)> = found.iter().map(|finding| (finding.kind, finding.at.0)).collect();
        prop_assert_eq!(found, expected(&states, &["paused", "io-error"], 4_000));
    }

    /// Alerts and their ends alternate; neither a span without a known state nor a silence adds or loses an end.
    #[test]
    fn alerts_alternate_over_gaps_and_silences(
        steps in prop::collection::vec((1i64..700, 0usize..4), 0..10),
        restarts in prop::collection::vec(0i64..5_000, 0..4),
        silenced in prop::option::of((0i64..3_000, 1i64..2_000)),
    ) {
        let (mut at, mut states) = (0, Vec::new());
        for (length, state) in steps {
            at += length;
            states.push((at, ["running", "paused", "?", "silent"][state]));
        }
        states.push((at + 1, "running"));
        let rule = rule(&["paused"], silenced.map(|(from, length)| (from, from + length)));
        let found = alerts(&rule, &states, &restarts, at + 2);
        for (index, finding) in found.iter().enumerate() {
            prop_assert_eq!(finding.kind, [ALERT, RESOLVED][index % 2]);
        }
        prop_assert_eq!(found.len() % 2, 0);
    }
}
