//! Records to lines, as the VM wrote them.

use qmp_wire::Timestamp;
use qmp_wire::dialect::{Object, Value};

/// Appends an event as a QEMU writes it: the bytes of `data` as they came, CR LF behind.
///
/// Without a time, it says −1, as QEMU did from 2.1 on when its clock could not be read.
pub(super) fn event(name: &str, timestamp: Option<Timestamp>, data: Option<&str>, out: &mut Vec<u8>) {
    let (seconds, microseconds) = numbers(timestamp);
    out.extend_from_slice(b"{\"timestamp\": {\"seconds\": ");
    out.extend_from_slice(seconds.to_string().as_bytes());
    out.extend_from_slice(b", \"microseconds\": ");
    out.extend_from_slice(microseconds.to_string().as_bytes());
    out.extend_from_slice(b"}, \"event\": ");
    Value::String(name.to_owned()).print(false, out);
    if let Some(data) = data {
        out.extend_from_slice(b", \"data\": ");
        // A monitor with pretty=on spreads it over many lines.
        if is_one_line(data) {
            out.extend_from_slice(data.as_bytes());
        } else {
            Value::read_printed(data.as_bytes()).print(false, out);
        }
    }
    out.extend_from_slice(b"}\r\n");
}

/// Appends an event as a QEMU with `pretty=on` writes it.
pub(super) fn pretty_event(name: &str, timestamp: Option<Timestamp>, data: Option<&str>, out: &mut Vec<u8>) {
    let (seconds, microseconds) = numbers(timestamp);
    let time = [("seconds", Value::Int(seconds)), ("microseconds", Value::Int(microseconds))];
    let mut event = Object::default();
    event.insert("timestamp", Value::Object(time.into_iter().collect()));
    event.insert("event", Value::String(name.to_owned()));
    if let Some(data) = data {
        event.insert("data", Value::read_printed(data.as_bytes()));
    }
    let mut text = Vec::new();
    Value::Object(event).print(true, &mut text);
    for line in text.split(|byte| *byte == b'\n') {
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
}

/// Whether a JSON text stands on one line, as in the compact form.
pub(super) fn is_one_line(text: &str) -> bool {
    !text.bytes().any(|byte| byte == b'\n' || byte == b'\r')
}

fn numbers(timestamp: Option<Timestamp>) -> (i64, i64) {
    timestamp.map_or((-1, -1), |timestamp| (timestamp.seconds(), timestamp.microseconds().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_look_as_qemu_writes_them() {
        let time = Timestamp::from_wire(1_767_323_045, 678).expect("in range");
        let stamp = r#"{"timestamp": {"seconds": 1767323045, "microseconds": 678}, "#;
        let cases: [(&str, Option<&str>, &str); 6] = [
            ("STOP", None, r#""event": "STOP"}"#),
            ("A", Some("{}"), r#""event": "A", "data": {}}"#),
            // Not as QEMU prints it: byte for byte all the same.
            ("A", Some(r#"{"b":1e0,"a" : "ü"}"#), r#""event": "A", "data": {"b":1e0,"a" : "ü"}}"#),
            ("A", Some("{\r\n    \"a\": 1\r\n}"), r#""event": "A", "data": {"a": 1}}"#),
            ("a\"b", None, r#""event": "a\"b"}"#),
            ("ü", None, r#""event": "\u00FC"}"#),
        ];
        for (name, data, expected) in cases {
            assert_eq!(compact(name, time, data), format!("{stamp}{expected}\r\n"));
        }
        assert!(compact("A", None, None).contains(r#"{"seconds": -1, "microseconds": -1}"#));
    }

    #[test]
    fn pretty_events_are_spread() {
        let mut out = Vec::new();
        pretty_event("A", None, Some(r#"{"a": []}"#), &mut out);
        let text = String::from_utf8(out).expect("UTF-8");
        assert_eq!(text.matches("\r\n").count(), text.matches('\n').count());
        insta::assert_snapshot!(text.replace('\r', ""), @r#"
        {
            "timestamp": {
                "seconds": -1,
                "microseconds": -1
            },
            "event": "A",
            "data": {
                "a": [
                ]
            }
        }
        "#);
    }

    fn compact(name: &str, timestamp: Option<Timestamp>, data: Option<&str>) -> String {
        let mut out = Vec::new();
        event(name, timestamp, data, &mut out);
        String::from_utf8(out).expect("UTF-8")
    }
}
