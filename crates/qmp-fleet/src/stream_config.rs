//! The configuration of a stream: requested, and compared with the one that the server returns.
//!
//! A server ignores options that it does not know, without an error. So each option that was requested is looked up in the
//! configuration that the server returns.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::subject::RECORD_SUBJECTS;

/// The duplicate window of a stream that is created, as is the server's default. It may not exceed `max_age`.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// A stream as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamRequest {
    /// The name.
    pub name: Box<str>,
    /// Copies of each message in a cluster; `None` for those of the stream that exists, or one.
    pub replicas: Option<u32>,
    /// The age at which messages are removed; `None` for that of the stream that exists, or no limit.
    pub max_age: Option<Duration>,
    /// Bytes of all messages at which further ones are refused; `None` for those of the stream that exists, or no limit.
    pub max_bytes: Option<u64>,
}

/// An option that has another value than was requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigDifference {
    /// The name in the configuration of the server.
    pub option: Box<str>,
    /// The requested value.
    pub requested: Value,
    /// The returned value; `None` if the server has dropped the option.
    pub returned: Option<Value>,
}

impl fmt::Display for ConfigDifference {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { option, requested, returned } = self;
        match returned {
            Some(returned) => write!(to, "{option} is {returned}, not {requested}"),
            None => write!(to, "the server ignores {option}"),
        }
    }
}

impl StreamRequest {
    /// The body of `$JS.API.STREAM.CREATE.NAME`.
    ///
    /// A full stream refuses further messages instead of removing the oldest: the hosts keep them in their journals.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let max_age = self.max_age.unwrap_or_default();
        let duplicate_window =
            if max_age.is_zero() { DUPLICATE_WINDOW } else { DUPLICATE_WINDOW.min(max_age) };
        json!({
            "name": self.name,
            "subjects": [RECORD_SUBJECTS],
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "max_age": nanoseconds(max_age),
            "max_bytes": self.max_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
            "max_msgs": -1,
            "max_msgs_per_subject": -1,
            "max_msg_size": -1,
            "max_consumers": -1,
            "num_replicas": self.replicas.unwrap_or(1),
            "duplicate_window": nanoseconds(duplicate_window),
        })
    }

    /// The options that differ in the configuration of a stream that exists.
    #[must_use]
    pub fn differences(&self, returned: &Map<String, Value>) -> Vec<ConfigDifference> {
        let mut wanted = Map::new();
        wanted.insert("retention".into(), json!("limits"));
        wanted.insert("storage".into(), json!("file"));
        let is_limited =
            |name: &str| returned.get(name).and_then(Value::as_i64).is_some_and(|limit| limit > 0);
        if is_limited("max_bytes") || is_limited("max_msgs") {
            wanted.insert("discard".into(), json!("new"));
        }
        if let Some(replicas) = self.replicas {
            wanted.insert("num_replicas".into(), json!(replicas));
        }
        if let Some(max_age) = self.max_age {
            wanted.insert("max_age".into(), json!(nanoseconds(max_age)));
        }
        if let Some(max_bytes) = self.max_bytes {
            wanted.insert("max_bytes".into(), json!(max_bytes));
        }
        differences(&wanted, returned)
    }
}

/// The members of `requested` that `returned` has with another value, or not at all.
#[must_use]
pub(crate) fn differences(
    requested: &Map<String, Value>,
    returned: &Map<String, Value>,
) -> Vec<ConfigDifference> {
    let differ = requested.iter().filter(|(option, value)| returned.get(*option) != Some(value));
    differ
        .map(|(option, requested)| ConfigDifference {
            option: option.as_str().into(),
            requested: requested.clone(),
            returned: returned.get(option).cloned(),
        })
        .collect()
}

/// Whether `pattern` matches each subject that `subject`, which may be a pattern, matches.
#[must_use]
pub fn covers(pattern: &str, subject: &str) -> bool {
    let (mut wanted, mut tokens) = (pattern.split('.'), subject.split('.'));
    loop {
        match (wanted.next(), tokens.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(token)) if token != ">" => {}
            (Some(literal), Some(token)) if literal == token && literal != "*" => {}
            _ => return false,
        }
    }
}

/// A span as the server writes it.
fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(members) => members,
            other => panic!("not an object: {other}"),
        }
    }

    #[test]
    fn differing_options_are_listed_by_name() {
        let request = StreamRequest {
            name: "qmp".into(),
            replicas: Some(3),
            max_age: Some(Duration::from_secs(60)),
            max_bytes: Some(1 << 20),
        };
        let asked = object(request.to_json());
        let changed = |option: &str, value: Value| {
            let mut changed = asked.clone();
            changed.insert(option.into(), value);
            changed
        };
        let without = |option: &str| {
            let mut changed = asked.clone();
            changed.remove(option);
            changed
        };
        let cases = [
            ("as requested", asked.clone(), ""),
            ("other replicas", changed("num_replicas", json!(1)), "num_replicas is 1, not 3"),
            ("other age", changed("max_age", json!(0)), "max_age is 0, not 60000000000"),
            ("queue", changed("retention", json!("workqueue")), r#"retention is "workqueue", not "limits""#),
            ("old ones are removed", changed("discard", json!("old")), r#"discard is "old", not "new""#),
            ("dropped", without("max_bytes"), "the server ignores max_bytes"),
            ("an option more", changed("compression", json!("s2")), ""),
        ];
        for (case, returned, expected) in cases {
            let found: Vec<String> = request.differences(&returned).iter().map(ToString::to_string).collect();
            assert_eq!(found.join("; "), expected, "{case}");
        }
    }

    #[test]
    fn options_that_were_not_configured_may_have_any_value() {
        let request = StreamRequest { name: "qmp".into(), ..StreamRequest::default() };
        let returned = json!({
            "retention": "limits", "storage": "file", "num_replicas": 3, "max_age": 5, "discard": "old", "max_bytes": -1
        });
        assert_eq!(request.differences(&object(returned)), []);
    }

    #[test]
    fn duplicate_window_is_not_longer_than_messages_are_kept() {
        let max_age = Some(Duration::from_secs(10));
        let request = StreamRequest { name: "qmp".into(), max_age, ..StreamRequest::default() };
        assert_eq!(request.to_json()["duplicate_window"], json!(10_000_000_000_u64));
    }

    #[test]
    fn pattern_covers_subject() {
        let cases = [
            ("qmp.v1.*.*.*.*", "qmp.v1.node1.*.*.*", true),
            ("qmp.>", "qmp.v1.node1.*.*.*", true),
            (">", "qmp.v1.node1.*.*.*", true),
            ("qmp.v1.node1.*.*.*", "qmp.v1.node1.*.*.*", true),
            ("qmp.v1.node2.*.*.*", "qmp.v1.node1.*.*.*", false),
            ("qmp.v1.node1.web1.*.*", "qmp.v1.node1.*.*.*", false),
            ("qmp.v1.*.*.*", "qmp.v1.node1.*.*.*", false),
            ("qmp.v1.*.*.*.*.*", "qmp.v1.node1.*.*.*", false),
            ("qmp.v1.*", "qmp.v1.>", false),
            ("a.>", "a", false),
        ];
        for (pattern, subject, expected) in cases {
            assert_eq!(covers(pattern, subject), expected, "{pattern} {subject}");
        }
    }

    proptest! {
        /// A pattern covers itself, and whatever replaces its `*`.
        #[test]
        fn pattern_covers_its_instances(tokens in prop::collection::vec("[ab*]", 1..6)) {
            let pattern = tokens.join(".");
            prop_assert!(covers(&pattern, &pattern));
            prop_assert!(covers(&pattern, &pattern.replace('*', "b")));
            prop_assert!(covers(">", &pattern));
            prop_assert_eq!(covers(&pattern.replace('*', "b"), &pattern), !pattern.contains('*'));
        }
    }
}
