//! What `qmp check` reads: a capture of what a monitor said, or records of a journal as JSON Lines.
//!
//! One JSON value stands after another, whatever blanks and line ends are between them. What the client said
//! (`{"execute": …}`) may stand there, too, and is passed over.

use std::fmt;

use qmp_wire::{Body, Message, Record};
use serde::Deserialize;
use serde_json::value::RawValue;

/// One value of a capture.
#[derive(Debug, PartialEq)]
pub enum Item<'a> {
    /// A greeting: from here on speaks a QEMU of this version.
    Version {
        /// Major, minor, micro.
        version: (u32, u32, u32),
        /// Which VM, if the capture is of several.
        vm: Option<String>,
    },
    /// An event.
    Event {
        /// Its name.
        name: String,
        /// Its data, as it came.
        data: Option<String>,
        /// Which VM, if the capture is of several.
        vm: Option<String>,
    },
    /// The reply to `query-qmp-schema`.
    Schema(&'a str),
    /// Anything else.
    Other,
}

/// A place at which a capture stops being one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Where, in bytes from the beginning of the capture, counted from 0.
    pub at_byte: usize,
    /// In which line, counted from 1.
    pub line: usize,
    what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the capture is broken at byte {} (line {}): {}", self.at_byte, self.line, self.what)
    }
}

/// Reads the values of a capture, up to its end or its first broken one; with each, the byte at which it begins.
pub fn read(capture: &[u8]) -> impl Iterator<Item = Result<(usize, Item<'_>), Broken>> {
    // A byte order mark is what some editors put in front.
    let mark = if capture.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let mut values = serde_json::Deserializer::from_slice(&capture[mark..]).into_iter::<&RawValue>();
    let mut is_broken = false;
    std::iter::from_fn(move || {
        if is_broken {
            return None;
        }
        let start = mark + values.byte_offset();
        let item = match values.next()? {
            Ok(value) => {
                let begin = start + blanks(&capture[start..]);
                classify(value.get()).map(|item| (begin, item)).map_err(|what| at(capture, begin, what))
            }
            Err(error) => Err(locate(capture, mark, start, &error)),
        };
        is_broken = item.is_err();
        Some(item)
    })
}

fn blanks(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

fn locate(capture: &[u8], mark: usize, start: usize, error: &serde_json::Error) -> Broken {
    if error.is_eof() {
        let begun = start + blanks(&capture[start..]);
        return at(capture, capture.len(), format!("it ends within the value that begins at byte {begun}"));
    }
    let lines = capture[mark..].split_inclusive(|byte| *byte == b'\n');
    let before: usize = lines.take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default().to_owned();
    at(capture, (mark + before + error.column().saturating_sub(1)).min(capture.len()), what)
}

fn at(capture: &[u8], at_byte: usize, what: String) -> Broken {
    Broken { at_byte, line: line_of(capture, at_byte), what }
}

/// The line in which a byte stands, counted from 1.
pub fn line_of(capture: &[u8], at_byte: usize) -> usize {
    1 + capture[..at_byte].iter().filter(|byte| **byte == b'\n').count()
}

/// The members that tell records from messages.
#[derive(Deserialize)]
struct Probe<'a> {
    #[serde(borrow)]
    vm: Option<&'a RawValue>,
    kind: Option<&'a RawValue>,
}

fn classify(text: &str) -> Result<Item<'_>, String> {
    if !text.starts_with('{') {
        return Err("expected an object".into());
    }
    if let Ok(Probe { vm: Some(_), kind: Some(_) }) = serde_json::from_str(text) {
        return Record::from_json(text).map(|record| of_record(&record)).map_err(|error| error.to_string());
    }
    match Message::parse(text.as_bytes()).map_err(|error| error.to_string())? {
        Message::Greeting(greeting) => Ok(match greeting.version {
            Some(version) => {
                Item::Version { version: (version.major, version.minor, version.micro), vm: None }
            }
            None => Item::Other,
        }),
        Message::Event(event) => {
            Ok(Item::Event { name: event.name.into_owned(), data: event.data.map(str::to_owned), vm: None })
        }
        Message::Return { value, .. } if is_schema(value) => Ok(Item::Schema(value)),
        Message::Return { .. } | Message::Error { .. } | Message::Unknown(_) => Ok(Item::Other),
    }
}

/// The reply to `query-qmp-schema` is a list of objects that all have a `meta-type`.
fn is_schema(value: &str) -> bool {
    #[derive(Deserialize)]
    struct Entity {
        #[serde(rename = "meta-type")]
        _meta_type: String,
    }
    value.starts_with('[')
        && value.contains("\"meta-type\"")
        && serde_json::from_str::<Vec<Entity>>(value).is_ok()
}

fn of_record(record: &Record<'_>) -> Item<'static> {
    let vm = Some(record.vm.to_string());
    match &record.body {
        Body::Event { name, data, .. } => {
            Item::Event { name: name.to_string(), data: data.as_deref().map(str::to_owned), vm }
        }
        Body::Attached { snapshot } => match crate::render::qemu_version(snapshot) {
            Some(version) => Item::Version { version, vm },
            None => Item::Other,
        },
        Body::Finding { .. } | Body::Detached { .. } => Item::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn items(capture: &str) -> Vec<Result<Item<'_>, Broken>> {
        read(capture.as_bytes()).map(|item| item.map(|(_, item)| item)).collect()
    }

    fn event(name: &str, data: Option<&str>, vm: Option<&str>) -> Result<Item<'static>, Broken> {
        Ok(Item::Event { name: name.into(), data: data.map(str::to_owned), vm: vm.map(str::to_owned) })
    }

    const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}"#;

    #[test]
    fn reads_a_conversation() {
        let capture = format!(
            "\u{feff}{GREETING}\r\n\r\n{{\"execute\": \"qmp_capabilities\"}}\n{{\"return\": {{}}}}\r\n\
             {{\"event\": \"STOP\",\r\n  \"timestamp\": {{\"seconds\": 1, \"microseconds\": 2}}}}{{\"event\": \"RESET\", \"data\": {{\"guest\": true}}}}\n\
             {{\"return\": [{{\"name\": \"x\", \"meta-type\": \"event\"}}]}}\n{{\"return\": [{{\"name\": \"x\"}}]}}"
        );
        let expected = vec![
            Ok(Item::Version { version: (7, 2, 22), vm: None }),
            Ok(Item::Other),
            Ok(Item::Other),
            event("STOP", None, None),
            event("RESET", Some("{\"guest\": true}"), None),
            Ok(Item::Schema("[{\"name\": \"x\", \"meta-type\": \"event\"}]")),
            Ok(Item::Other),
        ];
        assert_eq!(items(&capture), expected);
    }

    #[test]
    fn reads_records() {
        let records = crate::render::examples::story();
        let mut lines = Vec::new();
        for record in &records[..3] {
            record.write_json(&mut lines);
            lines.push(b'\n');
        }
        let lines = String::from_utf8(lines).unwrap();
        let expected = vec![
            Ok(Item::Version { version: (7, 2, 22), vm: Some("web1".into()) }),
            event("STOP", None, Some("web1")),
            event("BLOCK_IO_ERROR", Some(r#"{"device": "", "reason": "No space, \"left\""}"#), Some("web1")),
        ];
        assert_eq!(items(&lines), expected);
    }

    #[test]
    fn says_where_it_is_broken() {
        let cases = [
            // capture                                    good, byte, line
            ("", 0, None),
            ("{\"return\": {}}\n", 1, None),
            ("{\"return\": {}}\n{\"event\": }", 1, Some((25, 2))),
            ("{\"return\": {}}\n\n{\"event\": \"STOP\"", 1, Some((32, 3))),
            ("hello", 0, Some((0, 1))),
            ("{\"return\": {}}\n[1]", 1, Some((15, 2))),
            ("\u{feff}{\"a\" 1}", 0, Some((8, 1))),
            ("{\"return\": {}}\n{\"vm\": \"a\", \"kind\": \"no such\"}", 1, Some((15, 2))),
        ];
        for (capture, good, broken) in cases {
            let items = items(capture);
            assert_eq!(items.iter().filter(|item| item.is_ok()).count(), good, "{capture:?}");
            let found = items.iter().find_map(|item| item.as_ref().err());
            assert_eq!(found.map(|broken| (broken.at_byte, broken.line)), broken, "{capture:?} {found:?}");
        }
    }

    #[test]
    fn text_that_is_no_utf_8_is_broken() {
        let found = read(b"{\"a\": \"\xff\"}").next().unwrap();
        assert!(found.is_err(), "{found:?}");
    }

    proptest! {
        /// Any file can be given; the end is always reached.
        #[test]
        fn never_panics(capture in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(read(&capture).count() <= capture.len() + 1);
        }
    }
}
