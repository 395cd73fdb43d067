//! Events as lines, and extraction of their parts.

use std::time::Duration;

use qmp_events::EventKind;
use qmp_wire::dialect::Hidden;

use crate::{
    event::EmitEvent,
    names::{EventNameError, check_event_name},
};

/// Checks the name of an event; those of the catalogue are valid.
pub(crate) fn check_name(name: &str, kind: Option<EventKind>) -> Result<(), EventNameError> {
    match kind {
        Some(kind) if kind.name() == name => Ok(()),
        _ => check_event_name(name),
    }
}

/// Appends the part of a message that does not depend on the time: after the microseconds of its timestamp.
pub(crate) fn write_tail(event: &impl EmitEvent, hidden: &[Hidden], out: &mut Vec<u8>) {
    out.extend_from_slice(b"}, \"event\": \"");
    out.extend_from_slice(event.name().as_bytes());
    out.extend_from_slice(b"\", \"data\": ");
    if !event.write_data(hidden, out) {
        out.truncate(out.len() - b", \"data\": ".len());
    }
    out.extend_from_slice(b"}\r\n");
}

/// Returns name and data of the event in a tail, or in a whole message.
pub(crate) fn name_and_data(message: &[u8]) -> Option<(&str, Option<&str>)> {
    const NAME: &[u8] = b"}, \"event\": \"";
    const DATA: &[u8] = b", \"data\": ";
    let start = message.windows(NAME.len()).position(|window| window == NAME)?;
    let (name, rest) = string(&message[start + NAME.len()..]);
    let data = rest.strip_prefix(DATA).and_then(|data| data.strip_suffix(b"}\r\n"));
    let data = data.map(std::str::from_utf8).transpose().ok()?;
    Some((std::str::from_utf8(name).ok()?, data))
}

/// Writes events as QEMU does, for other ways of sending than a [`Monitor`](crate::Monitor).
#[derive(Debug, Default)]
pub struct EventWriter {
    stamp: Stamp,
}

impl EventWriter {
    /// Appends an event with the time `wall`, counted from the Unix epoch, followed by CR LF.
    ///
    /// # Errors
    ///
    /// [`EventNameError`] if QAPI does not allow the name; `out` is unchanged then.
    pub fn write(
        &mut self,
        event: &impl EmitEvent,
        wall: Duration,
        out: &mut Vec<u8>,
    ) -> Result<(), EventNameError> {
        check_name(event.name(), event.kind())?;
        self.stamp.write(wall, out);
        write_tail(event, &[], out);
        Ok(())
    }
}

/// Writes timestamps; caches the text of the current second.
#[derive(Debug, Default)]
pub(crate) struct Stamp {
    seconds: Option<u64>,
    head: Vec<u8>,
}

impl Stamp {
    /// Appends a message up to the microseconds of its timestamp.
    pub(crate) fn write(&mut self, wall: Duration, out: &mut Vec<u8>) {
        if self.seconds != Some(wall.as_secs()) {
            self.seconds = Some(wall.as_secs());
            self.head.clear();
            self.head.extend_from_slice(b"{\"timestamp\": {\"seconds\": ");
            self.head.extend_from_slice(itoa::Buffer::new().format(wall.as_secs()).as_bytes());
            self.head.extend_from_slice(b", \"microseconds\": ");
        }
        out.extend_from_slice(&self.head);
        out.extend_from_slice(itoa::Buffer::new().format(wall.subsec_micros()).as_bytes());
    }
}

/// Returns the text of a member of `data` in the tail of a message, without its quotes.
///
/// This crate writes the tail, so a string is escaped in one way only and equal texts are equal strings. Numbers,
/// `true` and `false` are returned as text; objects and lists are not searched.
pub(crate) fn member<'a>(tail: &'a [u8], name: &str) -> Option<&'a str> {
    let mut rest = tail;
    let mut depth = 0_usize;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let (text, after) = string(rest);
                rest = after;
                // The tail begins after the brace of the timestamp: its members are of depth 0, those of data of 1.
                if depth == 1 && text == name.as_bytes() && rest.starts_with(b": ") {
                    return std::str::from_utf8(value(&rest[2..])).ok();
                }
            }
            _ => {}
        }
    }
    None
}

/// Returns a string whose first quote is read, and the rest after its last.
fn string(rest: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    while at < rest.len() && rest[at] != b'"' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    let end = at.min(rest.len());
    (&rest[..end], rest.get(end + 1..).unwrap_or_default())
}

fn value(rest: &[u8]) -> &[u8] {
    match rest.split_first() {
        Some((b'"', rest)) => string(rest).0,
        _ => {
            let end = rest.iter().position(|byte| matches!(byte, b',' | b'}')).unwrap_or(rest.len());
            &rest[..end]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::TextEvent;

    #[test]
    fn member_of_data_is_found() {
        let cases: [(&str, &str, Option<&str>); 8] = [
            // data                                         member     text
            (r#"{"id": "a", "open": true}"#, "id", Some("a")),
            (r#"{"id": "a", "open": true}"#, "open", Some("true")),
            (r#"{"x": {"id": "inner"}, "id": "outer"}"#, "id", Some("outer")),
            (r#"{"x": [{"id": "inner"}]}"#, "id", None),
            (r#"{"x": "\"id\": \"no\"", "id": "yes"}"#, "id", Some("yes")),
            (r#"{"x": "id", "y": 1}"#, "id", None),
            (r#"{"id": "caf\u00e9\\"}"#, "id", Some("caf\\u00E9\\\\")),
            (r#"{"n": -3}"#, "n", Some("-3")),
        ];
        for (data, name, expected) in cases {
            let mut tail = Vec::new();
            write_tail(&TextEvent { name: "X", data: Some(data) }, &[], &mut tail);
            assert_eq!(member(&tail, name), expected, "{name} in {data}");
        }
    }

    #[test]
    fn message_equals_that_of_qemu() {
        let cases: [(Duration, TextEvent<'_>, &str); 3] = [
            (
                Duration::new(1_700_000_000, 42_000),
                TextEvent { name: "STOP", data: None },
                "{\"timestamp\": {\"seconds\": 1700000000, \"microseconds\": 42}, \"event\": \"STOP\"}\r\n",
            ),
            (
                Duration::new(1_700_000_000, 999_999_999),
                TextEvent { name: "STOP", data: Some("{}") },
                "{\"timestamp\": {\"seconds\": 1700000000, \"microseconds\": 999999}, \"event\": \"STOP\"}\r\n",
            ),
            (
                Duration::new(1_700_000_001, 0),
                TextEvent { name: "RESET", data: Some(r#"{"reason":"guest-reset","guest":true}"#) },
                "{\"timestamp\": {\"seconds\": 1700000001, \"microseconds\": 0}, \"event\": \"RESET\", \
                 \"data\": {\"guest\": true, \"reason\": \"guest-reset\"}}\r\n",
            ),
        ];
        let mut stamp = Stamp::default();
        for (wall, event, expected) in cases {
            let mut line = Vec::new();
            stamp.write(wall, &mut line);
            write_tail(&event, &[], &mut line);
            assert_eq!(String::from_utf8(line).unwrap(), expected);
        }
    }
}
