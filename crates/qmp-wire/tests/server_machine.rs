//! The server's side of a connection: order of checks, negotiation, queues, and independence from the cuts of the
//! input.

use std::sync::Arc;

use proptest::prelude::*;
use qmp_wire::{
    dialect::Value,
    server::{Profile, QUEUE_MAX_REQUESTS, RUNNING_MAX_REQUESTS, Refusal, RequestId, Server},
};

fn server(version: (u32, u32, u32)) -> Server {
    let profile = Profile { version, package: "".into(), out_of_band: true, pretty: false };
    let mut server = Server::new(Arc::new(profile));
    take_output(&mut server);
    server
}

fn take_output(server: &mut Server) -> Vec<String> {
    let text = String::from_utf8(server.output().to_vec()).expect("ASCII");
    server.consume_output(text.len());
    text.split_terminator("\r\n").map(str::to_owned).collect()
}

/// Feeds bytes and replies to every request with its own name at once; returns the output.
fn serve(server: &mut Server, bytes: &[u8]) -> Vec<String> {
    server.handle_input(bytes);
    while let Some((id, request)) = server.poll_request() {
        server.reply(id, Ok(Value::String(request.command)));
    }
    take_output(server)
}

#[test]
fn requests_are_checked_in_the_order_of_qemu() {
    let cases = [
        // request                                              error
        ("[]", "QMP input must be a JSON object"),
        ("{}", "QMP input lacks member 'execute'"),
        (r#"{"execute":true}"#, "QMP input member 'execute' must be a string"),
        (r#"{"execute":"x","arguments":[]}"#, "QMP input member 'arguments' must be an object"),
        (r#"{"execute":"x","arguments":null,"foo":1}"#, "QMP input member 'arguments' must be an object"),
        (r#"{"execute":"x","bar":1,"foo":1}"#, "QMP input member 'bar' is unexpected"),
        (r#"{"exec-oob":"x"}"#, "QMP input member 'exec-oob' is unexpected"),
    ];
    for (request, desc) in cases {
        let mut server = server((7, 2, 22));
        let expected = format!(r#"{{"error": {{"class": "GenericError", "desc": "{desc}"}}}}"#);
        assert_eq!(serve(&mut server, request.as_bytes()), std::slice::from_ref(&expected), "{request}");
        serve(&mut server, br#"{"execute":"qmp_capabilities"}"#);
        assert_eq!(serve(&mut server, request.as_bytes()), [expected], "{request} in command mode");
    }
}

#[test]
fn without_oob_one_request_runs_at_a_time() {
    let mut server = server((7, 2, 22));
    serve(&mut server, br#"{"execute":"qmp_capabilities"}"#);
    server.handle_input(br#"{"execute":"a"}{"execute":"b"}{"execute":"c"}"#);
    let (first, request) = server.poll_request().unwrap();
    assert_eq!(request.command, "a");
    assert!(server.poll_request().is_none());
    assert!(!server.wants_input(), "the rest stays in the socket");
    server.reply_text(first, b"{}");
    let (second, request) = server.poll_request().unwrap();
    assert_eq!(request.command, "b");
    server.forget(second);
    let (third, _) = server.poll_request().unwrap();
    server.reply(third, Err(Refusal::generic("no")));
    assert!(!server.is_busy() && server.wants_input());
    let expected = [r#"{"return": {}}"#, r#"{"error": {"class": "GenericError", "desc": "no"}}"#];
    assert_eq!(take_output(&mut server), expected);
}

#[test]
fn with_oob_eighth_waiting_request_stops_reading() {
    let mut server = server((7, 2, 22));
    serve(&mut server, br#"{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}"#);
    server.handle_input(br#"{"execute":"a"}"#.repeat(1 + QUEUE_MAX_REQUESTS - 1).as_slice());
    assert!(server.poll_request().is_some());
    assert!(server.poll_request().is_none() && server.wants_input());
    server.handle_input(br#"{"execute":"a"}{"exec-oob":"b"}"#);
    assert!(server.poll_request().is_none() && !server.wants_input(), "the eighth stops the reading");
}

#[test]
fn pretty_reply_is_spread_over_lines() {
    let profile = Profile { version: (7, 2, 0), package: "".into(), out_of_band: false, pretty: true };
    let mut server = Server::new(Arc::new(profile));
    assert!(take_output(&mut server).contains(&r#"    "QMP": {"#.to_owned()));
    serve(&mut server, br#"{"execute":"qmp_capabilities"}"#);
    server.handle_input(br#"{"execute":"a","id":[]}"#);
    let (id, _): (RequestId, _) = server.poll_request().unwrap();
    server.reply_text(id, br#"{"x": 1}"#);
    let expected = ["{", r#"    "return": {"#, r#"        "x": 1"#, "    },", r#"    "id": ["#, "    ]", "}"];
    assert_eq!(take_output(&mut server), expected);
}

proptest! {
    /// No bytes cause a panic; the cuts do not affect in-band requests; only incomplete input is kept.
    #[test]
    fn any_bytes_do_not_panic(
        chunks in prop::collection::vec(
            prop_oneof![
                prop::sample::select(vec![
                    r#"{"execute":"qmp_capabilities"}"#, r#"{"execute":"a","id":1}"#, "{\"execute\"", ":", "}", "[", "'", "\n",
                ]).prop_map(|text| text.as_bytes().to_vec()),
                prop::collection::vec(any::<u8>(), 0..6),
            ],
            0..30,
        )
    ) {
        for version in [(3, 0, 0), (7, 2, 22), (11, 1, 3)] {
            let (mut whole, mut pieces) = (server(version), server(version));
            let expected = serve(&mut whole, &chunks.concat());
            let got: Vec<_> = chunks.iter().flat_map(|chunk| serve(&mut pieces, chunk)).collect();
            prop_assert_eq!(got, expected);
            prop_assert!(whole.wants_input() && !whole.is_busy());
        }
    }
}

#[test]
fn out_of_band_requests_without_reply_are_bounded() {
    let mut server = server((11, 1, 3));
    serve(&mut server, br#"{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}"#);
    server.handle_input(br#"{"exec-oob":"a"}"#.repeat(RUNNING_MAX_REQUESTS + 2).as_slice());
    let running: Vec<_> = std::iter::from_fn(|| server.poll_request()).map(|(id, _)| id).collect();
    assert_eq!(running.len(), RUNNING_MAX_REQUESTS);
    assert!(!server.wants_input());
    assert_eq!(server.unanswered(), Some(running[0]));
    // In another order than the requests; each reply makes room for one.
    for id in [running[500], running[0]] {
        server.reply(id, Ok(Value::Null));
        assert!(server.poll_request().is_some());
    }
    assert!(server.poll_request().is_none());
    assert_eq!(server.unanswered(), Some(running[1]));
}
