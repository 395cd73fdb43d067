//! A record as names and values, for receivers without JSON: the environment of a command, fields of journald.

use qmp_wire::{Body, QualifiedName, Record};
use serde_json::Value;

/// Members of the data that become separate fields; the record itself is always complete.
const FIELDS_DATA_MAX: usize = 64;

/// The longest value of a field, in bytes: Linux refuses an argument or variable of more than 128 KiB, and all of them
/// together must stay well below 2 MiB.
const FIELD_MAX_BYTES: usize = 16 << 10;

/// The longest name of a field, in bytes, that journald accepts.
const FIELD_NAME_MAX_BYTES: usize = 64;

/// The fields of a record, in a fixed order, each name once.
pub(super) fn of(record: &Record<'_>, held_back: u64) -> Vec<(String, String)> {
    let mut fields = Fields::default();
    let (host, vm) = QualifiedName::divide(&record.vm);
    fields.add("QMP_VM", vm);
    if let Some(host) = host {
        fields.add("QMP_HOST", host);
    }
    fields.add("QMP_KIND", record.body.kind());
    if let Some(offset) = record.offset {
        fields.add("QMP_OFFSET", &offset.0.to_string());
    }
    fields.add("QMP_EPOCH", &record.epoch.0.to_string());
    fields.add("QMP_SEQ", &record.seq.0.to_string());
    fields.add("QMP_RECEIVED", &record.received.to_string());
    if held_back > 0 {
        fields.add("QMP_HELD_BACK", &held_back.to_string());
    }
    fields.add("QMP_SUMMARY", &summary(record));
    match &record.body {
        Body::Event { name, timestamp, data, .. } => {
            fields.add("QMP_EVENT", name);
            if let Some(timestamp) = timestamp {
                let time = format!("{}.{:06}", timestamp.seconds(), timestamp.microseconds());
                fields.add("QMP_TIMESTAMP", &time);
            }
            fields.data(data.as_deref());
        }
        Body::Finding { finding, data, .. } => {
            fields.add("QMP_FINDING", finding);
            fields.data(data.as_deref());
        }
        Body::Detached { reason, detail, certain_until } => {
            fields.add("QMP_REASON", reason.as_str());
            if let Some(detail) = detail {
                fields.add("QMP_DETAIL", detail);
            }
            if let Some(certain_until) = certain_until {
                fields.add("QMP_CERTAIN_UNTIL", &certain_until.to_string());
            }
        }
        // The snapshot is in the record, which is complete.
        Body::Attached { .. } => {}
    }
    fields.0
}

/// One sentence about a record, with its VM.
pub(super) fn message(record: &Record<'_>) -> String {
    let (vm, summary) = (&record.vm, summary(record));
    match &record.body {
        Body::Finding { finding, .. } => format!("{vm}: {finding}: {summary}"),
        _ => format!("{vm}: {summary}"),
    }
}

/// A record in one line, without its VM.
fn summary(record: &Record<'_>) -> String {
    match &record.body {
        Body::Event { name, data: None, .. } => name.to_string(),
        Body::Event { name, data: Some(data), .. } => format!("{name} {data}"),
        Body::Finding { summary, .. } => summary.to_string(),
        Body::Attached { .. } => "attached".to_owned(),
        Body::Detached { reason, detail: None, .. } => format!("detached: {reason}"),
        Body::Detached { reason, detail: Some(detail), .. } => format!("detached: {reason} ({detail})"),
    }
}

/// The record as the versioned line of JSON, without a line end.
pub(super) fn line(record: &Record<'_>) -> Vec<u8> {
    let mut line = Vec::new();
    record.write_json(&mut line);
    line
}

#[derive(Default)]
struct Fields(Vec<(String, String)>);

impl Fields {
    fn add(&mut self, name: &str, value: &str) {
        self.0.push((name.to_owned(), super::status::cut(value, FIELD_MAX_BYTES)));
    }

    /// Adds the members of an object, one level deep: a text as it is, any other value as JSON.
    fn data(&mut self, data: Option<&str>) {
        let parsed = data.map(serde_json::from_str::<Value>);
        let Some(Ok(Value::Object(members))) = parsed else { return };
        for (member, value) in members.into_iter().take(FIELDS_DATA_MAX) {
            let upper =
                |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' };
            let name: String = "QMP_DATA_".chars().chain(member.chars().map(upper)).collect();
            // `a-b` and `a_b` give the same name; the first member gets it.
            if name.len() > FIELD_NAME_MAX_BYTES || self.0.iter().any(|(other, _)| *other == name) {
                continue;
            }
            match value {
                Value::String(text) => self.add(&name, &text),
                other => self.add(&name, &other.to_string()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;
    use qmp_wire::{DetachReason, Epoch, Offset, Seq, Timestamp, UnixMicros};

    use super::*;

    fn record(body: Body<'static>) -> Record<'static> {
        let received = "2026-01-02T03:04:05.678901Z".parse().unwrap_or(UnixMicros(0));
        Record { offset: Some(Offset(41)), vm: "web1".into(), epoch: Epoch(2), seq: Seq(7), received, body }
    }

    fn event(data: Option<&'static str>) -> Record<'static> {
        let timestamp = Timestamp::from_wire(1_767_323_045, 678_001).expect("in range");
        record(Body::Event {
            name: "WATCHDOG".into(),
            sent_name: None,
            timestamp,
            data: data.map(Cow::Borrowed),
        })
    }

    fn shown(record: &Record<'_>, held_back: u64) -> String {
        let lines: Vec<String> =
            of(record, held_back).iter().map(|(name, value)| format!("{name}={value}")).collect();
        lines.join("\n")
    }

    #[test]
    fn fields_contain_members_of_each_kind() {
        let data = r#"{"action": "reset", "x-n": 5, "x_n": 6, "info": {"a": [1, "b"]}, "flag": true}"#;
        insta::assert_snapshot!(shown(&event(Some(data)), 3), @r#"
        QMP_VM=web1
        QMP_KIND=event
        QMP_OFFSET=41
        QMP_EPOCH=2
        QMP_SEQ=7
        QMP_RECEIVED=2026-01-02T03:04:05.678901Z
        QMP_HELD_BACK=3
        QMP_SUMMARY=WATCHDOG {"action": "reset", "x-n": 5, "x_n": 6, "info": {"a": [1, "b"]}, "flag": true}
        QMP_EVENT=WATCHDOG
        QMP_TIMESTAMP=1767323045.678001
        QMP_DATA_ACTION=reset
        QMP_DATA_FLAG=true
        QMP_DATA_INFO={"a":[1,"b"]}
        QMP_DATA_X_N=5
        "#);
        let detached = record(Body::Detached {
            reason: DetachReason::PeerClosed,
            detail: Some("EOF".into()),
            certain_until: Some(UnixMicros(1)),
        });
        let expected =
            "QMP_REASON=peer closed\nQMP_DETAIL=EOF\nQMP_CERTAIN_UNTIL=1970-01-01T00:00:00.000001Z";
        assert!(shown(&detached, 0).ends_with(expected));
        assert_eq!(message(&detached), "web1: detached: peer closed (EOF)");
        assert_eq!(message(&event(None)), "web1: WATCHDOG");
    }

    proptest! {
        /// For any data of a VM, the number of fields is bounded, and each has a unique name that every receiver
        /// accepts.
        #[test]
        fn number_and_names_of_fields_are_bounded(members in prop::collection::hash_map(".{0,80}", ".{0,40}", 0..100)) {
            let data = serde_json::to_string(&members).expect("JSON");
            let record = record(Body::Event { name: "X".into(), sent_name: None, timestamp: None, data: Some(data.into()) });
            let fields = of(&record, 0);
            prop_assert!(fields.len() <= FIELDS_DATA_MAX + 16);
            let mut names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
            for name in &names {
                prop_assert!(name.len() <= 64 && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'));
            }
            names.sort_unstable();
            names.dedup();
            prop_assert_eq!(names.len(), fields.len());
        }
    }
}
