//! No input makes a monitor panic, block or grow, and the cuts of its bytes do not matter.
#![allow(clippy::unwrap_used, reason = "a test or a bench")]

mod support;

use proptest::prelude::*;
use support::machine::{self, unnegotiated_client};

/// Bytes that resemble requests of a client.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        r#"{"execute":"qmp_capabilities"}"#,
        r#"{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}"#,
        r#"{"execute":"query-version","id":1}"#,
        r#"{"exec-oob":"query-yank","id":"x"}"#,
        r#"{"execute":"stop"}"#,
        r#"{"execute":"cont","id":[1.5e3]}"#,
        r#"{"execute":"device_del","arguments":{"id":"\ud83d\ude00"}}"#,
        r#"{"execute":"migrate-set-capabilities","arguments":{"capabilities":[{}]}}"#,
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "'",
        "\"",
        "\\",
        "\n",
        "\u{1}",
        "nul",
        "-",
        "1.",
        "é",
    ];
    let piece = prop_oneof![
        4 => prop::sample::select(pieces.to_vec()).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..8),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// Returns all output of a fresh monitor for these chunks, without the times of events.
fn output_of(version: (u32, u32, u32), chunks: &[&[u8]]) -> Vec<String> {
    let mut monitor = machine::monitor(version, "");
    let mut client = unnegotiated_client(&mut monitor);
    for chunk in chunks {
        client.send(chunk);
        monitor.process().unwrap();
    }
    client.finish();
    monitor.process().unwrap();
    monitor.process().unwrap();
    let lines = client.rest();
    assert_eq!(monitor.stats().connections, 0, "it is done with the client");
    lines.iter().map(|line| support::exchange::without_time(line)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Where the stream is cut does not matter; every line is JSON.
    #[test]
    fn stream_cut_anywhere_gives_the_same_output(input in input(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        for version in [(3, 0, 0), (7, 2, 22), (11, 1, 3)] {
            let mut whole = output_of(version, &[&input]);
            let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
            places.sort_unstable();
            let mut chunks = Vec::new();
            let mut start = 0;
            for place in places.into_iter().chain([input.len()]) {
                chunks.push(&input[start..place]);
                start = place;
            }
            let mut cut = output_of(version, &chunks);
            if whole.iter().chain(&cut).any(|line| line.contains("chardev")) {
                // An out-of-band command overtakes the commands that have arrived before it, which depends on
                // timing.
                whole.sort_unstable();
                cut.sort_unstable();
            }
            prop_assert_eq!(&cut, &whole);
            for line in whole.iter().filter(|line| !line.contains("{*}")) {
                prop_assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{}", line);
            }
        }
    }

    /// After any garbage, a control byte and a fresh request lead to a reply to that request.
    #[test]
    fn fresh_request_after_garbage_gets_its_reply(input in input()) {
        for version in [(7, 2, 22), (11, 1, 3)] {
            let mut bytes = input.clone();
            bytes.extend_from_slice(b"\x01{\"execute\":\"qmp_capabilities\"}{\"execute\":\"query-name\",\"id\":\"fresh\"}");
            let lines = output_of(version, &[&bytes]);
            prop_assert_eq!(lines.last().map(String::as_str), Some(r#"{"return": {}, "id": "fresh"}"#));
        }
    }
}
