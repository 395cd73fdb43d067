//! Messages of servers that clients in the field handle wrongly: each row is an existing server.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use qmp_wire::{
    Client, ClientConfig, ClientOutput, FRAME_MAX_BYTES, FrameError, FrameReader, Message, NESTING_MAX,
};

use crate::conversation::{Conversation, NONCE, event_line, id};

const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}"#;

/// Returns a client in command mode.
fn negotiated() -> Conversation {
    let mut conversation = Conversation::new(false);
    let outputs =
        conversation.receive(format!("{GREETING}\r\n{{\"return\": {{}}, \"id\": {}}}\r\n", id(0)).as_bytes());
    assert_eq!(outputs, ["greeting 7.2.22 []", "negotiated"]);
    conversation.sent();
    conversation
}

#[test]
fn event_is_delivered_unchanged() {
    let cases = [
        (
            "an unknown event",
            r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "__com.redhat_SPARKS", "data": {"n": 1}}"#,
            r#"event __com.redhat_SPARKS 1.000002 {"n": 1}"#,
        ),
        (
            "an unknown enum value and an extra member",
            r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "WATCHDOG", "data": {"action": "sing", "x": []}}"#,
            r#"event WATCHDOG 1.000002 {"action": "sing", "x": []}"#,
        ),
        (
            "an extra member beside data",
            r#"{"event": "STOP", "cause": {"event": "RESUME"}, "timestamp": {"seconds": 1, "microseconds": 2}}"#,
            "event STOP 1.000002 -",
        ),
        (
            "no data where the schema wants it",
            r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN"}"#,
            "event SHUTDOWN 1.000002 -",
        ),
        (
            "data null",
            r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", "data": null}"#,
            "event SHUTDOWN 1.000002 null",
        ),
        (
            "data that is no object",
            r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "X", "data": [1, "a"]}"#,
            r#"event X 1.000002 [1, "a"]"#,
        ),
        (
            "a clock that failed (2.1 to 7.0)",
            r#"{"timestamp": {"seconds": -1, "microseconds": -1}, "event": "STOP"}"#,
            "event STOP - -",
        ),
        ("no timestamp (0.12 to 2.0)", r#"{"event": "STOP", "data": {}}"#, "event STOP - {}"),
        ("a timestamp of no known form", r#"{"timestamp": "now", "event": "STOP"}"#, "event STOP - -"),
        (
            "a timestamp with a fraction",
            r#"{"timestamp": {"seconds": 1.0, "microseconds": 0}, "event": "STOP"}"#,
            "event STOP - -",
        ),
        (
            "a timestamp beyond 64 bits",
            r#"{"timestamp": {"seconds": 99999999999999999999, "microseconds": 0}, "event": "STOP"}"#,
            "event STOP - -",
        ),
        (
            "integers of 64 bits",
            r#"{"event": "X", "data": {"a": 18446744073709551615, "b": -9223372036854775808, "c": 9007199254740993}}"#,
            r#"event X - {"a": 18446744073709551615, "b": -9223372036854775808, "c": 9007199254740993}"#,
        ),
        (
            "numbers that no machine type holds",
            r#"{"event": "X", "data": [1e999, 0.10000000000000000000000001, -0, 123456789012345678901234567890]}"#,
            "event X - [1e999, 0.10000000000000000000000001, -0, 123456789012345678901234567890]",
        ),
        (
            "other order, other spacing, escapes",
            "{\"data\":{ \"reason\":\"caf\\u00e9 \\\"\\/\" },\t\"event\" :\"RE\\u0053ET\",\"timestamp\":{\"microseconds\":2,\"seconds\":1}}",
            r#"event RESET 1.000002 { "reason":"caf\u00e9 \"\/" }"#,
        ),
        (
            "members named with escapes",
            r#"{"\u0065vent": "STOP", "d\u0061ta": 1, "timestamp": {"seconds": 1, "microseconds": 2}}"#,
            "event STOP 1.000002 1",
        ),
        (
            "half a surrogate pair in a name",
            r#"{"event": "A\ud800B", "data": "\udc00"}"#,
            "event A\u{fffd}B~d7f53e3e496a5101 - \"\\udc00\"",
        ),
        ("text that is not ASCII", r#"{"event": "X", "data": "é€😀"}"#, r#"event X - "é€😀""#),
        ("no CR", "{\"event\": \"X\"}\n", "event X - -"),
        ("blank lines before it", "\r\n\n\t {\"event\": \"X\"}", "event X - -"),
        ("a member twice", r#"{"event": "X", "data": 1, "data": 2}"#, "event X - 2"),
        ("a name that is no string", r#"{"event": 5}"#, r#"stray {"event": 5}"#),
        ("an empty object", "{}", "stray {}"),
    ];
    for (name, message, expected) in cases {
        assert_eq!(negotiated().receive(format!("{message}\r\n").as_bytes()), [expected], "{name}");
    }
}

#[test]
fn reply_is_delivered_unchanged() {
    let cases = [
        ("a value of any kind", r#"{"return": "text", "id": ID}"#, r#"reply 1 "text""#),
        ("null", r#"{"return": null, "id": ID}"#, "reply 1 null"),
        ("id first", r#"{"id": ID, "return": []}"#, "reply 1 []"),
        (
            "an error of before 1.2, with data",
            r#"{"error": {"class": "DeviceNotFound", "desc": "Device 'x' not found", "data": {"device": "x"}}, "id": ID}"#,
            "reply 1 error DeviceNotFound: Device 'x' not found",
        ),
        ("an error without class and desc", r#"{"error": {}, "id": ID}"#, "reply 1 error : "),
        (
            "an error with escapes",
            r#"{"error": {"class": "GenericError", "desc": "\u201cno\u201d\ud800"}, "id": ID}"#,
            "reply 1 error GenericError: “no”\u{fffd}",
        ),
        ("an error that is no object", r#"{"error": 5, "id": ID}"#, "reply 1 error : 5"),
    ];
    for (name, message, expected) in cases {
        let mut conversation = negotiated();
        conversation.client.execute("x", None);
        assert_eq!(conversation.receive(message.replace("ID", &id(1)).as_bytes()), [expected], "{name}");
    }
}

#[test]
fn long_message_is_read() {
    // 64 KiB is the amount that a socket returns at a time.
    for (name, bytes) in [("query-qmp-schema, 300 kB", 300_000), ("10 MB", 10_000_000)] {
        let mut conversation = negotiated();
        conversation.client.execute("query-qmp-schema", None);
        let element = r#"{"name": "query-status", "ret-type": "1", "meta-type": "command", "arg-type": "0"}"#;
        let value = format!("[{}{element}]", format!("{element}, ").repeat(bytes / (element.len() + 2)));
        let message = format!("{{\"return\": {value}, \"id\": {}}}\r\n", id(1));
        let mut outputs = Vec::new();
        for piece in message.as_bytes().chunks(64 << 10) {
            outputs.extend(conversation.receive(piece));
        }
        assert_eq!(outputs, [format!("reply 1 {value}")], "{name}");
        conversation.sent();
        assert_eq!(conversation.client.held_bytes(), 0, "{name}: memory");
    }
}

#[test]
fn long_message_in_small_pieces_is_read_once() {
    // 4 MB in pieces of 100 bytes: rereading with each piece would process 80 GB, and this test would not end.
    let cases = [
        ("a string", "{\"return\": \"", "x", "\"}"),
        ("a string of escapes", "{\"return\": \"", "\\u20ac\\n", "\"}"),
        ("a name", "{\"", "é", "\": 1}"),
        ("a number", "{\"return\": ", "7", "}"),
        ("an array", "{\"return\": [", "null , ", "1]}"),
        ("white space", "{", " ", "}"),
    ];
    for (name, start, filling, end) in cases {
        let mut reader = FrameReader::new(FRAME_MAX_BYTES);
        reader.push(start.as_bytes());
        for piece in filling.repeat(4_000_000 / filling.len()).as_bytes().chunks(100) {
            reader.push(piece);
            assert_eq!(reader.next_message(), Ok(None), "{name}");
        }
        reader.push(end.as_bytes());
        assert!(matches!(reader.next_message(), Ok(Some(_))), "{name}");
        assert_eq!(reader.next_message(), Ok(None), "{name}");
        assert_eq!(reader.held_bytes(), 0, "{name}");
    }
}

#[test]
fn exceeded_limit_is_named_in_the_error() {
    let deep = |levels: usize| format!("{{\"a\":{}1{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    let long = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
    let cases = [
        ("as long as allowed", long(1000), None),
        ("longer", long(1001), Some(FrameError::TooLong { limit_bytes: 1000 })),
        (
            "longer, after another",
            format!("{} {}", long(10), long(1001)),
            Some(FrameError::TooLong { limit_bytes: 1000 }),
        ),
        ("endless", "{\"a\": [".repeat(200), Some(FrameError::TooLong { limit_bytes: 1000 })),
    ];
    for (name, stream, expected) in cases {
        assert_eq!(first_error(&stream, 1000), expected, "{name}");
    }
    assert_eq!(first_error(&deep(NESTING_MAX), FRAME_MAX_BYTES), None);
    assert_eq!(
        first_error(&deep(NESTING_MAX + 1), FRAME_MAX_BYTES),
        Some(FrameError::TooDeep { limit: 1024 })
    );
    assert_eq!(
        FrameError::TooDeep { limit: NESTING_MAX }.to_string(),
        "message nests deeper than the limit of 1024 levels"
    );
    assert_eq!(ClientConfig::new(NONCE).frame_max_bytes, FRAME_MAX_BYTES);
}

#[test]
fn invalid_json_is_refused_with_its_position() {
    let cases = [
        ("no object", "[1]", "expected a message to begin with '{', found '['"),
        ("a byte of no text", "\u{0}", "expected a message to begin with '{', found byte 0x00"),
        ("a byte order mark", "\u{feff}{}", "expected a message to begin with '{', found byte 0xef"),
        ("no name", "{1:2}", "invalid JSON at byte 1 of a message: expected a name or '}'"),
        ("comma at the end", r#"{"a":1,}"#, "invalid JSON at byte 7 of a message: expected a name"),
        ("no colon", r#"{"a" 1}"#, "invalid JSON at byte 5 of a message: expected ':'"),
        ("no value", r#"{"a":}"#, "invalid JSON at byte 5 of a message: expected a value"),
        ("no comma", r#"{"a":1 "b":2}"#, "invalid JSON at byte 7 of a message: expected ',' or '}'"),
        ("wrong bracket", r#"{"a":[1}"#, "invalid JSON at byte 7 of a message: expected ',' or ']'"),
        ("wrong word", r#"{"a":nul}"#, "invalid JSON at byte 5 of a message: expected a value"),
        ("leading zero", r#"{"a":01}"#, "invalid JSON at byte 6 of a message: expected ',' or '}'"),
        ("point without digit", r#"{"a":1.}"#, "invalid JSON at byte 7 of a message: expected a digit"),
        (
            "line break in a string",
            "{\"a\n\":1}",
            "invalid JSON at byte 3 of a message: control byte in a string",
        ),
        ("unknown escape", r#"{"a\x":1}"#, "invalid JSON at byte 3 of a message: unknown escape in a string"),
        ("single quotes", "{'a':1}", "invalid JSON at byte 1 of a message: expected a name or '}'"),
    ];
    for (name, stream, expected) in cases {
        let error = first_error(stream, FRAME_MAX_BYTES).map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some(expected), "{name}");
        // The error is permanent.
        let mut reader = FrameReader::new(FRAME_MAX_BYTES);
        reader.push(stream.as_bytes());
        let first = reader.next_message().err();
        reader.push(b"{}");
        assert_eq!((reader.next_message().err(), reader.finish().err()), (first.clone(), first), "{name}");
    }
    let latin = [b"{\"a\":\"caf".as_slice(), b"\xe9\"}"].concat();
    let mut reader = FrameReader::new(FRAME_MAX_BYTES);
    reader.push(&latin);
    assert_eq!(
        reader.next_message(),
        Err(FrameError::InvalidJson { at: 9, what: "invalid UTF-8 in a string" })
    );
}

#[test]
fn several_messages_in_one_read_are_delivered() {
    let mut stream = String::new();
    let mut expected = Vec::new();
    for number in 0..1000 {
        write!(
            stream,
            "{{\"event\": \"E{number}\", \"data\": {{\"n\":{number}}}}}{}",
            ["", " ", "\r\n", "\n\n\t"][number % 4]
        )
        .unwrap();
        expected.push(format!("event E{number} - {{\"n\":{number}}}"));
    }
    assert_eq!(negotiated().receive(stream.as_bytes()), expected);
}

#[test]
fn single_message_is_parsed_like_one_of_a_stream() {
    let event = r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP", "data": {"a": 1}}"#;
    for text in [event.to_owned(), format!(" {event}\r\n"), event.replace(": ", ":")] {
        let Ok(Message::Event(event)) = Message::parse(text.as_bytes()) else { panic!("{text}") };
        assert_eq!(event_line(&event).replace(' ', ""), r#"eventSTOP1.000002{"a":1}"#);
    }
    let cases = [
        ("nothing", "", FrameError::Truncated { bytes: 0 }),
        ("half", "{\"a\":", FrameError::Truncated { bytes: 5 }),
        ("two", "{} {}", FrameError::InvalidJson { at: 2, what: "expected the end of the message" }),
        ("form feed", "{}\u{c}", FrameError::InvalidJson { at: 2, what: "expected the end of the message" }),
        ("no object", "null", FrameError::NotAnObject { byte: b'n' }),
    ];
    for (name, text, expected) in cases {
        assert_eq!(Message::parse(text.as_bytes()), Err(expected), "{name}");
    }
}

#[test]
fn idle_client_holds_no_memory() {
    const IDLE_MAX_BYTES: usize = 1024;
    let mut conversation = negotiated();
    let storm = "{\"event\": \"STOP\"}\r\n".repeat(4000);
    conversation.receive(storm.as_bytes());
    for _ in 0..100 {
        conversation.client.execute("query-status", None);
    }
    conversation.sent();
    for number in 1..=100 {
        conversation.receive(format!("{{\"return\": {{}}, \"id\": {}}}", id(number)).as_bytes());
    }
    assert_eq!(conversation.client.held_bytes(), 0);
    assert!(size_of_val(&conversation.client) <= IDLE_MAX_BYTES, "{}", size_of_val(&conversation.client));
}

/// Returns the error that ends the stream, in one piece or byte by byte.
fn first_error(stream: &str, limit_bytes: usize) -> Option<FrameError> {
    let error_of = |piece_bytes: usize| {
        let mut reader = FrameReader::new(limit_bytes);
        for piece in stream.as_bytes().chunks(piece_bytes) {
            reader.push(piece);
            loop {
                match reader.next_message() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(error) => return Some(error),
                }
            }
        }
        None
    };
    let error = error_of(stream.len().max(1));
    assert_eq!(error_of(1), error, "byte by byte");
    error
}

#[test]
fn negotiation_timeout_beyond_the_range_of_the_clock_is_never_reached() {
    let mut config = ClientConfig::new(0);
    config.negotiation_timeout = Duration::MAX;
    let now = Instant::now();
    let mut client = Client::new(config, now);
    assert_eq!(client.poll_timeout(), None);
    client.handle_timeout(now + Duration::from_secs(1 << 40)).unwrap();
}

/// Each command takes the same time, however many others wait or are in flight.
#[test]
fn commands_in_large_numbers_are_sent_and_get_their_replies() {
    const COMMANDS: u64 = 100_000;

    for out_of_band in [false, true] {
        let mut conversation = Conversation::new(out_of_band);
        let greeting = GREETING.replace("[]", r#"["oob"]"#);
        conversation.receive(format!("{greeting}\r\n{{\"return\": {{}}, \"id\": {}}}\r\n", id(0)).as_bytes());
        let client = &mut conversation.client;
        for _ in 0..COMMANDS {
            client.execute("stop", None);
        }
        for number in 1..=COMMANDS {
            client.consume_transmit(usize::MAX);
            client.handle_input(format!("{{\"return\": {{}}, \"id\": {}}}\r\n", id(number)).as_bytes());
            assert!(matches!(client.poll_output(), Ok(Some(ClientOutput::Reply { .. }))), "{number}");
        }
        assert_eq!(client.poll_output().map(|output| output.is_none()), Ok(true));
    }
}
