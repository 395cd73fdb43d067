//! Contradictions between members.

use serde_json::value::RawValue;

use super::walk::Walk;
use crate::desc::{EventDesc, RuleDesc, Scalar};
use crate::json::{self, JsonType, Members};
use crate::text::values_text;
use crate::violation::ViolationKind;

/// Reports each rule of the event that its data breaks. Missing members break no rule.
pub(super) fn check(walk: &mut Walk<'_>, desc: &EventDesc, data: &RawValue) {
    for rule in desc.rules {
        let applies = rule.when.iter().all(|(path, values)| compare(data, path, values) == Some(true));
        let broken = rule.then.iter().find(|(path, values)| compare(data, path, values) == Some(false));
        if let (true, Some((path, _))) = (applies, broken) {
            walk.report(path, ViolationKind::Inconsistent { rule: text(rule).into() });
        }
    }
}

/// Returns whether the member has one of the values; `None` if it is missing.
fn compare(data: &RawValue, path: &str, values: &[Scalar]) -> Option<bool> {
    let mut value = None;
    let mut object = data;
    for name in path.split('.') {
        if JsonType::of(object) != JsonType::Object {
            return None;
        }
        object = Members::read(object).ok()?.get(name)?;
        value = Some(object);
    }
    value.map(|value| values.iter().any(|expected| is_equal(value, *expected)))
}

fn is_equal(value: &RawValue, expected: Scalar) -> bool {
    match expected {
        Scalar::Str(expected) => json::text(value).is_ok_and(|text| text == expected),
        Scalar::Bool(expected) => value.get().parse() == Ok(expected),
        Scalar::Int(expected) => value.get().parse() == Ok(expected),
    }
}

fn text(rule: &RuleDesc) -> String {
    let note = rule.note.map_or(String::new(), |note| format!(" ({note})"));
    format!("must hold where {}: {}{note}", values_text(rule.when), values_text(rule.then))
}
