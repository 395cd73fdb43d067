//! Properties of every stream of bytes.

use proptest::prelude::*;
use qmp_wire::{FRAME_MAX_BYTES, FrameError, FrameReader, Message};
use serde::de::IgnoredAny;

use crate::conversation::{Conversation, id};

/// Returns the messages that a reader finds in a stream in pieces, and its end.
fn read<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    limit_bytes: usize,
) -> (Vec<String>, Result<(), FrameError>) {
    let mut reader = FrameReader::new(limit_bytes);
    let mut messages = Vec::new();
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.next_message() {
                Ok(Some(message)) => messages.push(format!("{message:?}")),
                Ok(None) => break,
                Err(error) => return (messages, Err(error)),
            }
        }
    }
    let end = reader.finish();
    (messages, end)
}

/// Cuts a stream at these positions, in thousandths of its length.
fn cut<'a>(stream: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|place| place * stream.len() / 1000).collect();
    cuts.sort_unstable();
    let mut start = 0;
    let mut pieces: Vec<_> = cuts
        .into_iter()
        .map(|end| {
            let piece = &stream[start..end];
            start = end;
            piece
        })
        .collect();
    pieces.push(&stream[start..]);
    pieces
}

/// JSON of any kind, written with any white space that JSON allows.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,4})?",
        string(),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..6), space())
                .prop_map(|(elements, space)| format!("[{space}{}]", elements.join(&format!("{space},")))),
            (prop::collection::vec((string(), inner), 0..6), space()).prop_map(|(members, space)| {
                let members: Vec<_> =
                    members.iter().map(|(name, value)| format!("{name}{space}:{value}{space}")).collect();
                format!("{{{space}{}}}", members.join(&format!(",{space}")))
            }),
        ]
    })
}

fn space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["", " ", "\r\n    ", "\t"][..])
}

fn string() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_-]{0,20}".prop_map(|text| format!("\"{text}\"")),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        r#"(\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}|[ -!#-\[\]-~]|é|€|😀){0,12}"#
            .prop_map(|inside| format!("\"{inside}\"")),
    ]
}

/// A message as a server might write it: QEMU's own layout, or any object.
fn message() -> impl Strategy<Value = String> {
    let qemu = ("1[0-9]{9}|-?[0-9]{1,20}", "[0-9]{1,7}|-1", "[A-Z_]{1,20}", prop::option::of(json())).prop_map(
        |(seconds, microseconds, name, data)| {
            let data = data.map(|data| format!(", \"data\": {data}")).unwrap_or_default();
            format!(
                "{{\"timestamp\": {{\"seconds\": {seconds}, \"microseconds\": {microseconds}}}, \"event\": \"{name}\"{data}}}\r\n"
            )
        },
    );
    let known =
        prop::sample::select(&["event", "data", "return", "error", "id", "QMP", "timestamp", "other"][..]);
    let any = (prop::collection::vec((known, json()), 0..5), space()).prop_map(|(members, space)| {
        let members: Vec<_> =
            members.iter().map(|(name, value)| format!("{space}\"{name}\":{value}")).collect();
        format!("{{{}{space}}}{space}", members.join(","))
    });
    prop_oneof![qemu, any]
}

/// Changes a text in one place, as a faulty server or line might.
fn mutate(bytes: &mut Vec<u8>, place: usize, kind: u8, byte: u8) {
    if bytes.is_empty() {
        return;
    }
    let place = place % bytes.len();
    match kind % 4 {
        0 => bytes[place] = byte,
        1 => bytes.insert(place, byte),
        2 => drop(bytes.remove(place)),
        _ => bytes.truncate(place),
    }
}

fn interesting_byte() -> impl Strategy<Value = u8> {
    prop_oneof![prop::sample::select(&b"\"\\{}[]:,0-.eE+ tfn\n\r\t\x0c\x00\x7f\xc3\xff"[..]), any::<u8>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Where the stream is cut does not matter: the same bytes give the same messages and the same end.
    #[test]
    fn stream_cut_anywhere_gives_the_same_messages(
        messages in prop::collection::vec(message(), 1..6),
        changes in prop::collection::vec((any::<usize>(), any::<u8>(), interesting_byte()), 0..2),
        cuts in prop::collection::vec(0usize..1000, 0..12),
        limit_bytes in prop_oneof![Just(FRAME_MAX_BYTES), 1usize..300],
    ) {
        let mut stream = messages.concat().into_bytes();
        for (place, kind, byte) in changes {
            mutate(&mut stream, place, kind, byte);
        }
        let whole = read([stream.as_slice()], limit_bytes);
        prop_assert_eq!(&read(cut(&stream, &cuts), limit_bytes), &whole);
        prop_assert_eq!(&read(stream.chunks(1), limit_bytes), &whole);
    }

    /// The accepted input is exactly the valid JSON, as `serde_json` sees it.
    #[test]
    fn validity_equals_that_of_serde_json(
        message in message(),
        changes in prop::collection::vec((any::<usize>(), any::<u8>(), interesting_byte()), 0..4),
    ) {
        let mut text = message.into_bytes();
        for (place, kind, byte) in changes {
            mutate(&mut text, place, kind, byte);
        }
        let ours = Message::parse(&text);
        let theirs = std::str::from_utf8(&text).is_ok_and(|text| {
            text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{')
                && serde_json::from_str::<IgnoredAny>(text).is_ok()
        });
        prop_assert_eq!(ours.is_ok(), theirs, "{:?} of {:?}", ours, String::from_utf8_lossy(&text));
    }

    /// The parts of an event are the bytes that the server sent.
    #[test]
    fn data_is_kept_byte_for_byte(data in json(), other in json(), first in any::<bool>()) {
        let members = [format!("\"data\": {data}"), format!("\"other\": {other}, \"event\": \"X\"")];
        let (one, two) = if first { (0, 1) } else { (1, 0) };
        let text = format!("{{{}, {}}}", members[one], members[two]);
        let Ok(Message::Event(event)) = Message::parse(text.as_bytes()) else { panic!("{text}") };
        prop_assert_eq!(event.data, Some(data.as_str()));
        let qemu = format!("{{\"timestamp\": {{\"seconds\": 1, \"microseconds\": 2}}, \"event\": \"X\", \"data\": {data}}}\r\n");
        let Ok(Message::Event(event)) = Message::parse(qemu.as_bytes()) else { panic!("{qemu}") };
        prop_assert_eq!(event.data, Some(data.as_str()));
    }

    /// No bytes make the client panic, in any phase.
    #[test]
    fn any_bytes_do_not_panic(
        negotiate in any::<bool>(),
        pieces in prop::collection::vec(
            prop_oneof![prop::collection::vec(any::<u8>(), 0..40), message().prop_map(String::into_bytes)], 0..6),
    ) {
        let mut conversation = Conversation::new(true);
        conversation.client.execute("stop", None);
        if negotiate {
            let reply = format!("{{\"return\": {{}}, \"id\": {}}}", id(1));
            conversation.receive(br#"{"QMP": {"version": {"qemu": {"major": 9, "minor": 0, "micro": 0}}, "capabilities": ["oob"]}}"#);
            conversation.receive(reply.as_bytes());
        }
        for piece in pieces {
            conversation.receive(&piece);
            conversation.sent();
        }
        conversation.end();
    }
}
