//! Queries: conditions that select records.

use std::str::FromStr;

use qmp_wire::{Body, Record, UnixMicros};
use serde_json::Value;

use super::body::{self, RecordKind};
use super::globs::{Globs, QueryError};

/// Selects records. The default selects all; every part that is set narrows the selection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// Names of VMs, compared by [`Globs::matches_vm`].
    pub vm: Globs,
    /// Hosts of VMs, compared by [`Globs::matches_host`].
    pub host: Globs,
    /// Names of events. A record that is not an event does not match if names are set.
    pub event: Globs,
    /// Kinds of records; an empty list means all.
    pub kind: Vec<RecordKind>,
    /// Received at this time or later.
    pub since: Option<UnixMicros>,
    /// Received before this time.
    pub until: Option<UnixMicros>,
    /// Conditions on the data, all of which must match.
    pub where_: Vec<WherePath>,
}

/// A condition on a record's data: a dotted path, and the value at that path.
///
/// A number in the path is an index of an array, from 0. A path without a value does not match. Values are compared by
/// meaning: `5` matches the number 5 (also 5.0) and the string `"5"`, `true` the boolean and the string, `null` the
/// null; `"5"` in quotes matches the string alone. An array matches if one of its elements does.
///
/// The path starts in the data of an event, in the snapshot (attached), in `{reason, detail, certain_until}`
/// (detached). For a finding, a path that begins with a member of the record, which is one of [`FINDING_MEMBERS`],
/// starts in the record, and any other in its data: `data.cause=killed` and `cause=killed` are the same. For an event,
/// a leading `data` is optional, unless its data has a member of that name.
#[derive(Clone, Debug, PartialEq)]
pub struct WherePath {
    keys: Vec<Box<str>>,
    text: Box<str>,
    value: Option<Value>,
}

/// The members of a finding's record that a condition may name. No finding has one of these names in its data.
pub const FINDING_MEMBERS: [&str; 4] = ["finding", "summary", "causes", "data"];

impl FromStr for WherePath {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        let refused = || QueryError::Where { text: text.into() };
        let (path, value) = text.split_once('=').ok_or_else(refused)?;
        let keys: Vec<Box<str>> = path.split('.').map(Box::from).collect();
        if keys.iter().any(|key| key.is_empty()) {
            return Err(refused());
        }
        let parsed = serde_json::from_str(value).ok();
        Ok(Self { keys, text: value.into(), value: parsed })
    }
}

impl WherePath {
    /// Whether the condition matches a JSON text; `false` for an invalid text.
    #[must_use]
    pub fn matches(&self, data: &str) -> bool {
        serde_json::from_str::<Value>(data).is_ok_and(|data| self.matches_value(&data))
    }

    /// The path, from its first member on.
    #[must_use]
    pub fn path(&self) -> &[Box<str>] {
        &self.keys
    }

    /// The value, without the quotes of a string.
    #[must_use]
    pub fn value(&self) -> &str {
        match &self.value {
            Some(Value::String(text)) => text,
            _ => &self.text,
        }
    }

    fn matches_value(&self, data: &Value) -> bool {
        self.holds_at(&self.keys, data)
    }

    /// Whether the condition matches the data of an event.
    fn matches_event(&self, data: &Value) -> bool {
        match &*self.keys {
            [first, rest @ ..] if **first == *"data" && data.get("data").is_none() => {
                self.holds_at(rest, data)
            }
            keys => self.holds_at(keys, data),
        }
    }

    /// Whether the condition matches the record of a finding.
    fn matches_finding(&self, record: &Value) -> bool {
        let is_of_record = self.keys.first().is_some_and(|first| FINDING_MEMBERS.contains(&&**first));
        let root = if is_of_record { Some(record) } else { record.get("data") };
        root.is_some_and(|root| self.holds_at(&self.keys, root))
    }

    fn holds_at(&self, keys: &[Box<str>], root: &Value) -> bool {
        let mut node = root;
        for key in keys {
            let next = match node {
                Value::Object(members) => members.get(&**key),
                Value::Array(elements) => key.parse::<usize>().ok().and_then(|index| elements.get(index)),
                _ => None,
            };
            let Some(next) = next else { return false };
            node = next;
        }
        match node {
            Value::Array(elements) => elements.iter().any(|element| self.equals(element)),
            node => self.equals(node),
        }
    }

    fn equals(&self, found: &Value) -> bool {
        match (found, &self.value) {
            (Value::String(found), Some(Value::String(expected))) => found == expected,
            (Value::String(found), _) => **found == *self.text,
            (Value::Number(found), Some(Value::Number(expected))) => same_number(found, expected),
            (found, Some(expected)) => found == expected,
            (_, None) => false,
        }
    }
}

fn same_number(one: &serde_json::Number, other: &serde_json::Number) -> bool {
    match (one.as_i128(), other.as_i128()) {
        (Some(one), Some(other)) => one == other,
        _ => one.as_f64() == other.as_f64(),
    }
}

impl Query {
    /// Whether `record` matches; readers of the file select the same records.
    #[must_use]
    pub fn matches(&self, record: &Record<'_>) -> bool {
        let event = match &record.body {
            Body::Event { name, .. } => self.event.matches(name),
            _ => self.event.is_any(),
        };
        event
            && self.has_vm(&record.vm)
            && (self.kind.is_empty() || self.kind.contains(&RecordKind::of(&record.body)))
            && self.since.is_none_or(|since| record.received >= since)
            && self.until.is_none_or(|until| record.received < until)
            && self.matches_data(&record.body)
    }

    /// Whether the VM matches that a journal keys by `name`.
    #[must_use]
    pub fn has_vm(&self, name: &str) -> bool {
        self.vm.matches_vm(name) && self.host.matches_host(name)
    }

    /// Whether every VM matches because no pattern was given.
    #[must_use]
    pub fn has_every_vm(&self) -> bool {
        self.vm.is_any() && self.host.is_any()
    }

    /// Whether the conditions on the data match.
    pub(crate) fn matches_data(&self, body: &Body<'_>) -> bool {
        if self.where_.is_empty() {
            return true;
        }
        let parsed = match body {
            Body::Event { data: None, .. } => return false,
            Body::Event { data: Some(text), .. } | Body::Attached { snapshot: text } => {
                serde_json::from_str(text)
            }
            other => {
                let mut text = String::new();
                body::write_data(other, &mut text);
                serde_json::from_str(&text)
            }
        };
        let holds = match body {
            Body::Event { .. } => WherePath::matches_event,
            Body::Finding { .. } => WherePath::matches_finding,
            Body::Attached { .. } | Body::Detached { .. } => WherePath::matches_value,
        };
        parsed.is_ok_and(|data: Value| self.where_.iter().all(|condition| holds(condition, &data)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn condition_compares_values_by_meaning_and_bad_syntax_is_refused() {
        let data = r#"{"a": {"b": "5", "n": 5, "f": 0.5, "t": true, "z": null, "big": 18446744073709551615},
                       "list": [{"x": 1}, "two", 3], "s": "a=b"}"#;
        let cases: [(&str, bool); 24] = [
            ("a.b=5", true),
            ("a.b=\"5\"", true),
            ("a.b=5.0", false),
            ("a.n=5", true),
            ("a.n=5.0", true),
            ("a.n=\"5\"", false),
            ("a.n=6", false),
            ("a.f=0.5", true),
            ("a.f=5e-1", true),
            ("a.t=true", true),
            ("a.t=1", false),
            ("a.t=True", false),
            ("a.z=null", true),
            ("a.z=", false),
            ("a.big=18446744073709551615", true),
            ("a.big=18446744073709551614", false),
            ("a.nowhere=5", false),
            ("a.b.c=5", false),
            ("list.0.x=1", true),
            ("list.1=two", true),
            ("list=two", true),
            ("list.9=two", false),
            ("s=a=b", true),
            ("a={\"b\": 1}", false),
        ];
        for (condition, expected) in cases {
            let parsed: WherePath = condition.parse().expect(condition);
            assert_eq!(parsed.matches(data), expected, "{condition}");
            assert!(!parsed.matches("{"), "{condition}: data that is not JSON");
        }
        for bad in ["", "a", "=5", "a..b=5", ".=1"] {
            assert_eq!(bad.parse::<WherePath>(), Err(QueryError::Where { text: bad.into() }), "{bad}");
        }
    }

    #[test]
    fn condition_on_finding_starts_in_record_or_data() {
        let data = r#"{"cause": "killed", "signal": 9, "process": {"pid": 7}}"#;
        let finding = Body::Finding {
            finding: "why-ended".into(),
            summary: "It ended.".into(),
            causes: vec![],
            data: Some(data.into()),
        };
        let event = |data: &'static str| Body::Event {
            name: "X".into(),
            sent_name: None,
            timestamp: None,
            data: Some(data.into()),
        };
        let (plain, nested) = (event(r#"{"action": "pause"}"#), event(r#"{"data": {"action": "pause"}}"#));
        let cases: [(&Body<'_>, &str, bool); 13] = [
            (&finding, "cause=killed", true),
            (&finding, "data.cause=killed", true),
            (&finding, "process.pid=7", true),
            (&finding, "data.process.pid=7", true),
            (&finding, "finding=why-ended", true),
            (&finding, "data.finding=why-ended", false),
            (&finding, "cause=gone", false),
            (&finding, "data.data.cause=killed", false),
            (&plain, "action=pause", true),
            (&plain, "data.action=pause", true),
            (&nested, "data.action=pause", true),
            (&nested, "action=pause", false),
            (&Body::Attached { snapshot: r#"{"name": "a"}"#.into() }, "data.name=a", false),
        ];
        for (body, condition, expected) in cases {
            let query = Query { where_: vec![condition.parse().expect(condition)], ..Query::default() };
            assert_eq!(query.matches_data(body), expected, "{condition} of {body:?}");
        }
    }
}
