//! The input of `qmp check` and `qmp replay`: a capture of a monitor's output, or records of a journal as JSON Lines.
//!
//! A capture is read in pieces, so memory does not grow with its size.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use qmp_wire::{Body, CaptureValue, Message, Record};
use serde::Deserialize;

use crate::exit::Failure;
use crate::render::escape;

/// How much of a capture is read at a time, in bytes: the capacity of a pipe.
const PIECE_BYTES: usize = 64 << 10;

/// Passes the content of a file to `take`, piece by piece; `-` is the standard input.
///
/// # Errors
///
/// [`Failure`] if the path cannot be read, or from `take`.
pub fn pieces(path: &Path, take: impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
    let unreadable = |error: io::Error| {
        Failure::usage(format_args!("cannot read {}: {error}", escape::text(&path.display().to_string())))
    };
    if path == Path::new("-") {
        return pieces_of(io::stdin().lock(), unreadable, take);
    }
    pieces_of(File::open(path).map_err(unreadable)?, unreadable, take)
}

fn pieces_of(
    mut from: impl Read,
    unreadable: impl Fn(io::Error) -> Failure,
    mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => take(&piece[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
}

/// One value of a capture.
#[derive(Debug, PartialEq)]
pub enum Item<'a> {
    /// A greeting: the following values are from a QEMU of this version.
    Version {
        /// Major, minor, micro.
        version: (u32, u32, u32),
        /// The VM, if the capture has several.
        vm: Option<Cow<'a, str>>,
    },
    /// An event.
    Event {
        /// Its name.
        name: Cow<'a, str>,
        /// Its data, byte for byte.
        data: Option<Cow<'a, str>>,
        /// The VM, if the capture has several.
        vm: Option<Cow<'a, str>>,
    },
    /// The reply to `query-qmp-schema`.
    Schema(&'a str),
    /// Any other value.
    Other,
}

impl<'a> From<CaptureValue<'a>> for Item<'a> {
    fn from(value: CaptureValue<'a>) -> Self {
        match value {
            CaptureValue::Record(record) => of_record(record),
            CaptureValue::Message(Message::Greeting(greeting)) => match greeting.version {
                Some(version) => {
                    Self::Version { version: (version.major, version.minor, version.micro), vm: None }
                }
                None => Self::Other,
            },
            CaptureValue::Message(Message::Event(event)) => {
                Self::Event { name: event.name, data: event.data.map(Cow::Borrowed), vm: None }
            }
            CaptureValue::Message(Message::Return { value, .. }) if is_schema(value) => Self::Schema(value),
            CaptureValue::Message(_) => Self::Other,
        }
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

fn of_record(record: Record<'static>) -> Item<'static> {
    let vm = Some(record.vm);
    match record.body {
        Body::Event { name, data, .. } => Item::Event { name, data, vm },
        Body::Attached { snapshot } => match crate::render::qemu_version(&snapshot) {
            Some(version) => Item::Version { version, vm },
            None => Item::Other,
        },
        Body::Finding { .. } | Body::Detached { .. } => Item::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qmp_wire::CaptureReader;

    fn event(name: &'static str, data: Option<&'static str>, vm: Option<&'static str>) -> Item<'static> {
        Item::Event { name: name.into(), data: data.map(Into::into), vm: vm.map(Into::into) }
    }

    const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}"#;

    #[test]
    fn capture_of_a_monitor_has_version_events_and_schema() {
        let capture = format!(
            "\u{feff}{GREETING}\r\n\r\n{{\"execute\": \"qmp_capabilities\"}}\n{{\"return\": {{}}}}\r\n\
             {{\"event\": \"STOP\",\r\n  \"timestamp\": {{\"seconds\": 1, \"microseconds\": 2}}}}{{\"event\": \"RESET\", \"data\": {{\"guest\": true}}}}\n\
             {{\"return\": [{{\"name\": \"x\", \"meta-type\": \"event\"}}]}}\n{{\"return\": [{{\"name\": \"x\"}}]}}"
        );
        let expected = [
            Item::Version { version: (7, 2, 22), vm: None },
            Item::Other,
            Item::Other,
            event("STOP", None, None),
            event("RESET", Some("{\"guest\": true}"), None),
            Item::Schema("[{\"name\": \"x\", \"meta-type\": \"event\"}]"),
            Item::Other,
        ];
        expect_items(&capture, &expected);
    }

    #[test]
    fn records_have_versions_and_events_of_their_vm() {
        let records = crate::render::examples::records();
        let mut lines = Vec::new();
        for record in &records[..3] {
            record.write_json(&mut lines);
            lines.push(b'\n');
        }
        let lines = String::from_utf8(lines).unwrap();
        let expected = [
            Item::Version { version: (7, 2, 22), vm: Some("web1".into()) },
            event("STOP", None, Some("web1")),
            event("BLOCK_IO_ERROR", Some(r#"{"device": "", "reason": "No space, \"left\""}"#), Some("web1")),
        ];
        expect_items(&lines, &expected);
    }

    fn expect_items(text: &str, expected: &[Item<'_>]) {
        let mut capture = CaptureReader::new();
        capture.push(text.as_bytes());
        for expected in expected {
            let entry = capture.next_entry().unwrap().expect("one more value");
            assert_eq!(Item::from(entry.value), *expected);
        }
        assert_eq!(capture.next_entry(), Ok(None));
    }
}
