//! Entries of journald: fields, each `NAME=VALUE` and a line end; a value that contains a line end is written as the
//! name, a line end, its length in eight bytes (least significant first), and the value.
//!
//! Source: systemd, "Native Journal Protocol".

use qmp_events::EventSeverity;
use qmp_wire::{Body, Record};

use crate::status::cut;
use crate::{fields, message_id, severity};

/// The longest `MESSAGE`, in bytes: one line of a screen; the complete record is in `QMP_RECORD`.
const MESSAGE_MAX_BYTES: usize = 2 << 10;

/// Priorities of syslog.
const ERROR: &str = "3";
const WARNING: &str = "4";
const NOTICE: &str = "5";
const INFO: &str = "6";

/// Writes `record` as an entry.
pub(super) fn of(record: &Record<'_>, held_back: u64, rule: &str) -> Vec<u8> {
    let mut entry = Vec::new();
    let mut message = fields::message(record);
    if held_back > 0 {
        message = format!("{message} (and {held_back} more that were held back)");
    }
    add(&mut entry, "MESSAGE", cut(&message, MESSAGE_MAX_BYTES).as_bytes());
    add(&mut entry, "MESSAGE_ID", message_id::of(&record.body).as_bytes());
    add(&mut entry, "PRIORITY", priority(&record.body).as_bytes());
    add(&mut entry, "SYSLOG_IDENTIFIER", b"qmp");
    add(&mut entry, "QMP_RULE", rule.as_bytes());
    for (name, value) in fields::of(record, held_back) {
        add(&mut entry, &name, value.as_bytes());
    }
    add(&mut entry, "QMP_RECORD", &fields::line(record));
    entry
}

fn priority(body: &Body<'_>) -> &'static str {
    match severity::of(body) {
        EventSeverity::Error => ERROR,
        EventSeverity::Warning => WARNING,
        EventSeverity::Lifecycle => NOTICE,
        EventSeverity::Success | EventSeverity::Info => INFO,
    }
}

fn add(entry: &mut Vec<u8>, name: &str, value: &[u8]) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value);
    entry.push(b'\n');
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use qmp_wire::{Epoch, Offset, Seq, UnixMicros};

    use super::*;

    /// Parses an entry as journald does; asserts that every name is unique.
    pub(in crate::journald) fn parse(mut entry: &[u8]) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        while !entry.is_empty() {
            let end = entry.iter().position(|byte| *byte == b'\n').expect("a line");
            let line = &entry[..end];
            let (name, value) = if let Some(at) = line.iter().position(|byte| *byte == b'=') {
                entry = &entry[end + 1..];
                (&line[..at], &line[at + 1..])
            } else {
                let bytes = u64::from_le_bytes(entry[end + 1..end + 9].try_into().expect("eight"));
                let value_end = end + 9 + usize::try_from(bytes).expect("small");
                let value = &entry[end + 9..value_end];
                assert_eq!(entry[value_end], b'\n');
                entry = &entry[value_end + 1..];
                (line, value)
            };
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
            assert_eq!(fields.insert(text(name), text(value)), None, "{}", text(name));
        }
        fields
    }

    fn record(body: Body<'static>) -> Record<'static> {
        let (offset, epoch, seq) = (Some(Offset(41)), Epoch(2), Seq(7));
        Record { offset, vm: "web1".into(), epoch, seq, received: UnixMicros(0), body }
    }

    fn event(name: &str, data: &str) -> Body<'static> {
        Body::Event {
            name: name.to_owned().into(),
            sent_name: None,
            timestamp: None,
            data: Some(data.to_owned().into()),
        }
    }

    #[test]
    fn entry_has_message_priority_and_fields() {
        let record = record(event("GUEST_PANICKED", r#"{"action": "pause", "text": "a\nb"}"#));
        let fields = parse(&of(&record, 2, "log"));
        let shown: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        MESSAGE="web1: GUEST_PANICKED {\"action\": \"pause\", \"text\": \"a\\nb\"} (and 2 more that were held back)"
        MESSAGE_ID="021cffe8286e580a8b5c27f200f79d0d"
        PRIORITY="3"
        QMP_DATA_ACTION="pause"
        QMP_DATA_TEXT="a\nb"
        QMP_EPOCH="2"
        QMP_EVENT="GUEST_PANICKED"
        QMP_HELD_BACK="2"
        QMP_KIND="event"
        QMP_OFFSET="41"
        QMP_RECEIVED="1970-01-01T00:00:00.000000Z"
        QMP_RECORD="{\"offset\":41,\"vm\":\"web1\",\"epoch\":2,\"seq\":7,\"received\":\"1970-01-01T00:00:00.000000Z\",\"kind\":\"event\",\"event\":\"GUEST_PANICKED\",\"data\":{\"action\": \"pause\", \"text\": \"a\\nb\"}}"
        QMP_RULE="log"
        QMP_SEQ="7"
        QMP_SUMMARY="GUEST_PANICKED {\"action\": \"pause\", \"text\": \"a\\nb\"}"
        QMP_VM="web1"
        SYSLOG_IDENTIFIER="qmp"
        "#);
    }

    #[test]
    fn priority_depends_on_kind_and_severity() {
        let finding = |finding: &'static str| Body::Finding {
            finding: finding.into(),
            summary: "".into(),
            causes: Vec::new(),
            data: None,
        };
        let cases = [
            (event("GUEST_PANICKED", "{}"), ERROR),
            (event("WATCHDOG", "{}"), WARNING),
            (event("STOP", "{}"), NOTICE),
            (event("RTC_CHANGE", "{}"), INFO),
            (finding("storm"), WARNING),
            (finding("why-ended"), NOTICE),
            (Body::Attached { snapshot: "{}".into() }, INFO),
        ];
        for (body, expected) in cases {
            assert_eq!(priority(&body), expected, "{body:?}");
        }
    }

    proptest! {
        /// Any text of a VM stays in its field.
        #[test]
        fn entry_is_parsed_back_for_any_text(name in "[A-Z\n=]{1,8}", text in "(?s).{0,20}") {
            let data = serde_json::json!({"text": text}).to_string();
            let record = record(event(&name, &data));
            let fields = parse(&of(&record, 0, "log"));
            prop_assert_eq!(&fields["QMP_EVENT"], &name);
            prop_assert_eq!(&fields["QMP_DATA_TEXT"], &text);
            prop_assert!(!fields.contains_key("PRIORITY\n"));
        }
    }
}
