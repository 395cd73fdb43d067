use proptest::prelude::*;

use super::{super::session::RecordedEvent, *};

const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}"#;

fn event(seconds: u64, name: &str) -> String {
    format!(r#"{{"timestamp": {{"seconds": {seconds}, "microseconds": 0}}, "event": "{name}"}}"#)
}

/// Returns the events of each session, as `millisecond text`.
fn events_of(recording: &Recording) -> Vec<Vec<String>> {
    let print = |event: &RecordedEvent| {
        let text = String::from_utf8(event.bytes.clone()).expect("text");
        format!("{} {}", event.at.as_millis(), text.strip_suffix("\r\n").expect("a line end"))
    };
    recording.sessions.iter().map(|session| session.events.iter().map(print).collect()).collect()
}

#[test]
fn capture_is_read_byte_for_byte() {
    let odd = "{ \"event\":\"X\" ,\"data\":{\"a\" : 1.0}}";
    let capture = format!(
        "\u{feff}{}\r\n{GREETING}\r\n\r\n{{\"execute\": \"qmp_capabilities\"}}{{\"return\": {{}}}}\n\
         {{\"execute\": \"query-name\", \"id\": 1}}\n{{\"exec-oob\": \"query-yank\", \"id\": 2}}\n{}{odd}\n{}\n{}\n\
         {{\"id\": 2, \"error\": {{\"class\": \"DeviceNotActive\", \"desc\": \"no\"}}}}\n{{\"return\": {{\"name\": \"x\"}}, \"id\": 1}}\n\
         {GREETING}\n{}",
        event(1, "EARLY"),
        event(10, "STOP"),
        event(12, "RESUME"),
        event(11, "LATE"),
        event(99, "SECOND"),
    );
    let recording = Recording::read(capture.as_bytes(), None).unwrap();
    let expected = [
        vec![
            format!("0 {}", event(10, "STOP")),
            format!("0 {odd}"),
            format!("2000 {}", event(12, "RESUME")),
            format!("2000 {}", event(11, "LATE")),
        ],
        vec![format!("0 {}", event(99, "SECOND"))],
    ];
    assert_eq!(events_of(&recording), expected);
    let first = &recording.sessions[0];
    assert_eq!(first.early, format!("{}\r\n", event(1, "EARLY")).into_bytes());
    assert_eq!(first.greeting.as_deref(), Some(GREETING));
    assert_eq!(first.replies.find("query-name"), Ok(b"{\"name\": \"x\"}".to_vec()));
    assert_eq!(first.replies.find("query-yank").unwrap_err().class, "DeviceNotActive");
    assert_eq!(first.replies.find("stop").unwrap_err().class, "CommandNotFound");
    assert_eq!(
        (recording.events(), recording.connections(), recording.span()),
        (5, 2, Duration::from_secs(2))
    );
}

#[test]
fn records_are_split_into_sessions() {
    let line = |vm: &str, second: u32, rest: &str| {
        format!(
            "{{\"vm\":\"{vm}\",\"epoch\":1,\"seq\":0,\"received\":\"2026-01-02T03:04:{second:02}.500000Z\",{rest}}}\n"
        )
    };
    let attached = r#""kind":"attached","snapshot":{"address":"unix:/a","greeting":{"version": {"qemu": {"micro": 0, "minor": 1, "major": 11}, "package": ""}, "capabilities": []},"query-status":{"status": "running", "running": true},"errors":{"query-jobs":{"class":"GenericError","desc":"no"}}}"#;
    let stop =
        r#""kind":"event","event":"STOP","timestamp":{"seconds":5,"microseconds":6},"data":{"a" : [1.0]}"#;
    let lines = [
        line("a", 0, attached),
        line("b", 1, stop),
        line("a", 3, stop),
        line("a", 2, r#""kind":"event","event":"B\u0000""#),
        line("a", 4, r#""kind":"detached","reason":"peer closed""#),
        line("a", 9, stop),
    ]
    .concat();
    let recording = Recording::read(lines.as_bytes(), Some("a")).unwrap();
    let text = r#"{"timestamp": {"seconds": 5, "microseconds": 6}, "event": "STOP", "data": {"a" : [1.0]}}"#;
    let expected =
        [vec![format!("3000 {text}"), r#"3000 {"event": "B\u0000"}"#.to_owned()], vec![format!("0 {text}")]];
    assert_eq!(events_of(&recording), expected);
    let first = &recording.sessions[0];
    assert_eq!(first.end_at, Some(Duration::from_secs(4)));
    assert!(first.greeting.as_deref().is_some_and(|text| text.starts_with("{\"QMP\": {\"version\"")));
    assert_eq!(recording.sessions[1].greeting, first.greeting, "the machine is the same one");
    assert!(first.replies.find("query-status").is_ok() && first.replies.find("address").is_err());
    assert_eq!(first.replies.find("query-jobs").unwrap_err().desc, "no");

    let several = Recording::read(lines.as_bytes(), None).unwrap_err().to_string();
    assert_eq!(several, "it contains several VMs, a, b: name one");
    let other = Recording::read(lines.as_bytes(), Some("c")).unwrap_err().to_string();
    assert_eq!(other, "it contains no records of c, only of a, b");
}

#[test]
fn input_without_recording_is_refused() {
    let cases = [
        ("", "it contains no recording"),
        ("{\"execute\": \"stop\"}", "it contains no recording"),
        ("{\"return\": {}}\n\n{\"event\": }", "line 3: "),
        ("{\"return\": {}}\n{\"event\": \"ST", "line 2: "),
        ("hello", "line 1: "),
        ("\n[1]", "line 2: "),
        ("{\"vm\": \"a\", \"kind\": \"none\"}", "line 1: not a record"),
    ];
    for (text, expected) in cases {
        let error = Recording::read(text.as_bytes(), None).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{text}: {error}");
    }
    let bare = Recording::read(event(1, "STOP").as_bytes(), None).unwrap();
    assert_eq!(events_of(&bare), [vec![format!("0 {}", event(1, "STOP"))]], "events alone are a recording");
}

proptest! {
    /// Reading any bytes does not panic.
    #[test]
    fn any_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = Recording::read(&bytes, None);
    }

    /// White space between messages does not change a replayed message.
    #[test]
    fn white_space_between_messages_is_ignored(blanks in prop::collection::vec("[ \r\n\t]{0,3}", 4)) {
        let texts = [event(1, "A"), event(2, "B"), event(3, "C")];
        let capture: String = blanks.iter().zip(&texts).flat_map(|(blank, text)| [blank.as_str(), text]).collect();
        let recording = Recording::read(capture.as_bytes(), None).unwrap();
        let expected: Vec<_> = (0..).zip(&texts).map(|(index, text)| format!("{} {text}", index * 1000)).collect();
        prop_assert_eq!(events_of(&recording), [expected]);
    }
}
