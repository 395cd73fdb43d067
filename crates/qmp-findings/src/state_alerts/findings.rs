//! The findings `alert` and `resolved`.

use std::time::Duration;

use qmp_wire::UnixMicros;
use serde_json::{Map, Value, json};

use super::spell::{Spell, StateRule};
use crate::condition::Condition;
use crate::finding::Finding;
use crate::kinds::{ALERT, RESOLVED};
use crate::members::assert_listed;
use crate::text;

/// Why an alert is resolved.
pub(super) enum Resolution<'a> {
    /// The VM is in another state.
    State(&'a Condition),
    /// The hub does not follow the VM any more.
    Left,
    /// The rule does not select the VM any more.
    NotSelected,
}

pub(super) fn raised(vm: &str, rule: &StateRule, spell: &Spell, at: UnixMicros) -> Finding {
    let mut data = members(&rule.name, spell);
    data.insert("for_seconds".into(), text::seconds(rule.lasts).into());
    let Spell { state, reason, .. } = spell;
    let rule_name = &rule.name;
    let mut summary = if rule.lasts.is_zero() {
        format!("It is {state} (rule {rule_name}).")
    } else {
        format!("It has been {state} for {} (rule {rule_name}).", text::span(length(spell.since, at)))
    };
    if !reason.is_empty() {
        summary += &format!(" {reason}");
    }
    finding(vm, ALERT, summary, spell, data, at)
}

pub(super) fn resolved(
    vm: &str,
    rule: &str,
    spell: &Spell,
    resolution: &Resolution<'_>,
    at: UnixMicros,
) -> Finding {
    let lasted = length(spell.since, at);
    let mut data = members(rule, spell);
    data.insert("seconds".into(), text::seconds(lasted).into());
    let ended = match resolution {
        Resolution::State(condition) => {
            data.insert("run_state".into(), json!(condition.state));
            format!("It is {}", condition.state)
        }
        Resolution::Left => {
            data.insert("reason".into(), "left".into());
            "The hub does not follow it any more".to_owned()
        }
        Resolution::NotSelected => {
            data.insert("reason".into(), "not-selected".into());
            "The rule does not select it any more".to_owned()
        }
    };
    let (lasted, was) = (text::span(lasted), &spell.state);
    let summary = format!("{ended}, after {lasted} {was} (rule {rule}).");
    let mut finding = finding(vm, RESOLVED, summary, spell, data, at);
    if let Resolution::State(condition) = resolution {
        finding.causes.push(condition.cause);
    }
    finding
}

fn members(rule: &str, spell: &Spell) -> Map<String, Value> {
    let mut data = Map::new();
    data.insert("rule".into(), json!(rule));
    data.insert("since".into(), spell.since.to_string().into());
    data.insert("state".into(), json!(spell.state));
    data
}

fn finding(
    vm: &str,
    kind: &'static str,
    summary: String,
    spell: &Spell,
    data: Map<String, Value>,
    at: UnixMicros,
) -> Finding {
    assert_listed(kind, &data);
    Finding { vm: vm.into(), kind, summary, causes: spell.cause.into_iter().collect(), data, at }
}

fn length(since: UnixMicros, until: UnixMicros) -> Duration {
    Duration::from_micros(until.0.saturating_sub(since.0).max(0).unsigned_abs())
}
