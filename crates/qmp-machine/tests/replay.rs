//! A recording as a live monitor: the same bytes, the same replies, the same connections.

#![allow(clippy::unwrap_used, reason = "a failure is the end of a test")]

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use qmp_client::{Address, FollowConfig, FollowEvent};
use qmp_machine::replay::{Recording, Replay, ReplayHandle};
use qmp_server::Listener;
use tempfile::TempDir;

const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "as recorded"}, "capabilities": ["oob"]}}"#;

/// Unusual messages that a peer may send.
const ODD: [&str; 3] = [
    r#"{"timestamp": {"seconds": 100, "microseconds": 0}, "event": "STOP"}"#,
    r#"{"event":"__org.x_ODD",  "data": { "a" :[1,  2.50], "é": "é" },"timestamp":{"seconds":100,"microseconds":0}}"#,
    r#"{"timestamp": {"seconds": -1, "microseconds": -1}, "event": "RESUME", "data": null}"#,
];

struct ReplayServer {
    directory: TempDir,
    replaying: ReplayHandle,
}

impl ReplayServer {
    fn start(capture: &str, configure: impl FnOnce(Replay) -> Replay) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let recording = Recording::read(capture.as_bytes(), None).unwrap();
        let listener = Listener::unix(directory.path().join("qmp")).unwrap();
        let replaying = configure(Replay::new(recording)).start(listener).unwrap();
        Self { directory, replaying }
    }

    fn address(&self) -> Address {
        Address::Unix { path: self.directory.path().join("qmp"), listen: false }
    }

    /// Connects a client that sends given lines and reads lines.
    fn client(&self) -> Client {
        let stream = UnixStream::connect(self.directory.path().join("qmp")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Client(BufReader::new(stream))
    }
}

struct Client(BufReader<UnixStream>);

impl Client {
    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// Returns the next line; empty at the end.
    fn read_line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        assert!(line.is_empty() || line.ends_with("\r\n"), "{line:?}");
        line.trim_end().to_owned()
    }

    fn negotiate(&mut self) {
        assert_eq!(self.read_line(), GREETING);
        self.send("{'execute': 'qmp_capabilities'}");
        assert_eq!(self.read_line(), "{\"return\": {}}");
    }
}

#[test]
fn client_receives_the_recorded_bytes() {
    let early = r#"{"event": "EARLY"}"#;
    let capture = format!("{early}\n{GREETING}\n{}", ODD.join("\n"));
    let server = ReplayServer::start(&capture, |replay| replay.speed(0.0));
    let mut client = server.client();
    assert_eq!(client.read_line(), early);
    client.negotiate();
    let lines: Vec<_> = std::iter::repeat_with(|| client.read_line()).take(ODD.len()).collect();
    assert_eq!(lines, ODD);
    assert_eq!(client.read_line(), "", "the stream ends");
    server.replaying.wait().unwrap();
}

#[test]
fn commands_get_their_recorded_replies() {
    let capture = format!(
        "{GREETING}\n{{\"execute\": \"query-status\", \"id\": 7}}\n{{\"return\": {{\"status\":\"paused\",\"running\":false}}, \"id\": 7}}\n\
         {{\"execute\": \"query-balloon\"}}\n{{\"error\": {{\"class\": \"DeviceNotActive\", \"desc\": \"none\"}}}}\n{}",
        ODD[0]
    );
    let server = ReplayServer::start(&capture, |replay| replay.speed(0.0).stay(true));
    let mut client = server.client();
    client.send("{'execute': 'query-status'}");
    assert_eq!(client.read_line(), GREETING);
    let refusal = client.read_line();
    assert!(refusal.contains("Expecting capabilities negotiation"), "{refusal}");
    client.send("{'execute': 'qmp_capabilities'}");
    assert_eq!(client.read_line(), "{\"return\": {}}");
    assert_eq!(client.read_line(), ODD[0], "no event before negotiation");
    let cases = [
        ("query-status", r#"{"return": {"status":"paused","running":false}, "id": 1}"#),
        (
            "query-version",
            r#"{"return": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "as recorded"}, "id": 1}"#,
        ),
        ("query-balloon", r#"{"id": 1, "error": {"class": "DeviceNotActive", "desc": "none"}}"#),
        (
            "stop",
            r#"{"id": 1, "error": {"class": "CommandNotFound", "desc": "The command stop has not been found"}}"#,
        ),
    ];
    for (command, expected) in cases {
        client.send(&format!("{{'execute': '{command}', 'id': 1}}"));
        assert_eq!(client.read_line(), expected);
    }
    // The replay stays, also for the next client.
    drop(client);
    let mut client = server.client();
    client.negotiate();
    client.send("{'execute': 'query-status', 'id': 1}");
    assert_eq!(client.read_line(), cases[0].1);
    server.replaying.stopper()();
    server.replaying.wait().unwrap();
}

#[test]
fn events_keep_recorded_intervals_or_scaled_ones() {
    let event = |micros: u32| {
        format!(
            "{{\"timestamp\": {{\"seconds\": 5, \"microseconds\": {micros}}}, \"event\": \"RTC_CHANGE\"}}\n"
        )
    };
    let capture = format!("{GREETING}\n{}{}{}", event(0), event(300_000), event(900_000));
    // speed, minimum milliseconds between the first and the last event
    for (speed, least) in [(1.0, 890), (3.0, 290), (0.0, 0)] {
        let server = ReplayServer::start(&capture, |replay| replay.speed(speed));
        let mut client = server.client();
        client.negotiate();
        client.read_line();
        let begin = Instant::now();
        client.read_line();
        client.read_line();
        assert!(begin.elapsed() >= Duration::from_millis(least), "{speed}: {:?}", begin.elapsed());
    }
}

#[test]
fn next_client_gets_the_rest() {
    let far = r#"{"timestamp": {"seconds": 200, "microseconds": 0}, "event": "RESUME"}"#;
    let server = ReplayServer::start(&format!("{GREETING}\n{}\n{far}", ODD[0]), |replay| replay.speed(100.0));
    // A client that disconnects before negotiation consumes no events.
    drop(server.client());
    let mut first = server.client();
    first.negotiate();
    assert_eq!(first.read_line(), ODD[0]);
    drop(first);
    let mut second = server.client();
    second.negotiate();
    assert_eq!(second.read_line(), far);
}

#[tokio::test]
async fn follower_sees_each_recorded_connection() {
    let capture = format!("{GREETING}\n{}\n{}\n{GREETING}\n{}\n", ODD[0], ODD[1], ODD[2]);
    let server = ReplayServer::start(&capture, |replay| replay.speed(0.0));
    let mut follow = qmp_client::follow(server.address(), FollowConfig::default());
    let mut items = Vec::new();
    while items.iter().filter(|what| *what == "detached").count() < 2 {
        match follow.next().await {
            FollowEvent::Attached { .. } => items.push("attached".to_owned()),
            FollowEvent::Detached { .. } => items.push("detached".to_owned()),
            FollowEvent::Events(mut batch) => {
                while let Some(event) = batch.next() {
                    items.push(format!("{} {}", event.name, event.data.unwrap_or("-")));
                }
            }
            _ => {}
        }
    }
    let odd = r#"__org.x_ODD { "a" :[1,  2.50], "é": "é" }"#;
    assert_eq!(items, ["attached", "STOP -", odd, "detached", "attached", "RESUME null", "detached"]);
    server.replaying.wait().unwrap();
}

#[tokio::test]
async fn recording_of_0_12_needs_no_negotiation() {
    let capture = format!("{{\"QMP\": {{\"capabilities\": []}}}}\n{}\n", ODD[0]);
    let server = ReplayServer::start(&capture, |replay| replay.speed(0.0));
    let (_monitor, mut events) = qmp_client::connect(&server.address()).await.unwrap();
    let Some(qmp_client::EventItem::Event(event)) = events.next().await else { panic!("no event") };
    assert_eq!(&*event.name, "STOP");
}
