//! Records to lines, as the VM wrote them.

use qmp_host::clock;
use qmp_wire::dialect::{Object, Value};
use qmp_wire::{RawEvent, Timestamp};

/// How the line of the name begins in an event that is spread over lines.
const PRETTY_NAME: &[u8] = b"    \"event\": ";

/// An event of the relay's own, with the current time.
pub(super) fn own<'a>(name: &'static str, data: &'a str) -> RawEvent<'a> {
    let micros = clock::now().0;
    let timestamp =
        Timestamp::from_wire(micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000)).ok().flatten();
    RawEvent { name: name.into(), sent_name: None, timestamp, data: Some(data) }
}

/// Appends an event as a QEMU writes it: the bytes of `data` as received, then CR LF.
///
/// Without a timestamp the members are −1, as QEMU writes them from 2.1 on when its clock cannot be read.
pub(super) fn event(event: &RawEvent<'_>, out: &mut Vec<u8>) {
    let (seconds, microseconds) = numbers(event.timestamp);
    out.extend_from_slice(b"{\"timestamp\": {\"seconds\": ");
    out.extend_from_slice(seconds.to_string().as_bytes());
    out.extend_from_slice(b", \"microseconds\": ");
    out.extend_from_slice(microseconds.to_string().as_bytes());
    out.extend_from_slice(b"}, \"event\": ");
    match event.sent_name {
        Some(sent) => out.extend_from_slice(sent.as_bytes()),
        None => Value::String(event.name.clone().into_owned()).print(false, out),
    }
    if let Some(data) = event.data {
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
pub(super) fn pretty_event(event: &RawEvent<'_>, out: &mut Vec<u8>) {
    let (seconds, microseconds) = numbers(event.timestamp);
    let time = [("seconds", Value::Int(seconds)), ("microseconds", Value::Int(microseconds))];
    let mut object = Object::default();
    object.insert("timestamp", Value::Object(time.into_iter().collect()));
    object.insert("event", Value::String(event.name.clone().into_owned()));
    if let Some(data) = event.data {
        object.insert("data", Value::read_printed(data.as_bytes()));
    }
    let mut text = Vec::new();
    Value::Object(object).print(true, &mut text);
    for line in text.split(|byte| *byte == b'\n') {
        match event.sent_name {
            // With this indentation it is a member of the event itself.
            Some(sent) if line.starts_with(PRETTY_NAME) => {
                out.extend_from_slice(PRETTY_NAME);
                out.extend_from_slice(sent.as_bytes());
                out.extend_from_slice(if line.ends_with(b",") { b"," } else { b"" });
            }
            _ => out.extend_from_slice(line),
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Whether a JSON text has one line, as in the compact form.
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
        pretty_event(&raw("A", None, Some(r#"{"a": []}"#)), &mut out);
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
        event(&raw(name, timestamp, data), &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    fn raw<'a>(name: &'a str, timestamp: Option<Timestamp>, data: Option<&'a str>) -> RawEvent<'a> {
        RawEvent { name: name.into(), sent_name: None, timestamp, data }
    }

    #[test]
    fn a_shortened_name_is_sent_as_it_came() {
        let sent = format!("\"{}\\ud83d\"", "N".repeat(300));
        let name = qmp_wire::EventName::from_json(&sent).expect("a string").name;
        for data in [None, Some("{\"event\": \"X\"}")] {
            let short = RawEvent { sent_name: Some(&sent), ..raw(&name, None, data) };
            let (mut compact, mut pretty) = (Vec::new(), Vec::new());
            event(&short, &mut compact);
            pretty_event(&short, &mut pretty);
            for bytes in [compact, pretty] {
                let text = String::from_utf8(bytes).expect("UTF-8");
                let Ok(qmp_wire::Message::Event(read)) = qmp_wire::Message::parse(text.as_bytes()) else {
                    panic!("an event: {text}")
                };
                assert_eq!((read.sent_name, &read.name), (Some(&*sent), &name));
                assert_eq!((read.data.is_some(), text.contains("\"X\"")), (data.is_some(), data.is_some()));
            }
        }
    }
}
