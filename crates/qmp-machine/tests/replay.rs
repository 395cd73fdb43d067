//! A recording as a live monitor: the same bytes, the same replies, the same connections.

#![allow(clippy::unwrap_used, reason = "a failure is the end of a test")]

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use qmp_client::{Address, FollowConfig, Followed};
use qmp_machine::replay::{Recording, Replay, Replaying};
use qmp_server::Listener;
use tempfile::TempDir;

const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "as recorded"}, "capabilities": ["oob"]}}"#;

/// Unusual messages that a peer may send.
const ODD: [&str; 3] = [
    r#"{"timestamp": {"seconds": 100, "microseconds": 0}, "event": "STOP"}"#,
    r#"{"event":"__org.x_ODD",  "data": { "a" :[1,  2.50], "é": "é" },"timestamp":{"seconds":100,"microseconds":0}}"#,
    r#"{"timestamp": {"seconds": -1, "microseconds": -1}, "event": "RESUME", "data": null}"#,
];

struct World {
    directory: TempDir,
    replaying: Replaying,
}

impl World {
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
    fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// Returns the next line; empty at the end.
    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        assert!(line.is_empty() || line.ends_with("\r\n"), "{line:?}");
        line.trim_end().to_owned()
    }

    fn negotiate(&mut self) {
        assert_eq!(self.hear(), GREETING);
        self.say("{'execute': 'qmp_capabilities'}");
        assert_eq!(self.hear(), "{\"return\": {}}");
    }
}

#[test]
fn a_client_sees_the_bytes_that_were_recorded() {
    let early = r#"{"event": "EARLY"}"#;
    let capture = format!("{early}\n{GREETING}\n{}", ODD.join("\n"));
    let world = World::start(&capture, |replay| replay.speed(0.0));
    let mut client = world.client();
    assert_eq!(client.hear(), early);
    client.negotiate();
    let heard: Vec<_> = std::iter::repeat_with(|| client.hear()).take(ODD.len()).collect();
    assert_eq!(heard, ODD);
    assert_eq!(client.hear(), "", "and the end of it");
    world.replaying.wait().unwrap();
}

#[test]
fn commands_are_answered_as_far_as_that_is_known() {
    let capture = format!(
        "{GREETING}\n{{\"execute\": \"query-status\", \"id\": 7}}\n{{\"return\": {{\"status\":\"paused\",\"running\":false}}, \"id\": 7}}\n\
         {{\"execute\": \"query-balloon\"}}\n{{\"error\": {{\"class\": \"DeviceNotActive\", \"desc\": \"none\"}}}}\n{}",
        ODD[0]
    );
    let world = World::start(&capture, |replay| replay.speed(0.0).stay(true));
    let mut client = world.client();
    client.say("{'execute': 'query-status'}");
    assert_eq!(client.hear(), GREETING);
    let unasked = client.hear();
    assert!(unasked.contains("Expecting capabilities negotiation"), "{unasked}");
    client.say("{'execute': 'qmp_capabilities'}");
    assert_eq!(client.hear(), "{\"return\": {}}");
    assert_eq!(client.hear(), ODD[0], "nothing was said before negotiation");
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
        client.say(&format!("{{'execute': '{command}', 'id': 1}}"));
        assert_eq!(client.hear(), expected);
    }
    // The replay stays, also for the next client.
    drop(client);
    let mut client = world.client();
    client.negotiate();
    client.say("{'execute': 'query-status', 'id': 1}");
    assert_eq!(client.hear(), cases[0].1);
    world.replaying.stopper()();
    world.replaying.wait().unwrap();
}

#[test]
fn time_passes_as_it_was_recorded_or_by_a_factor() {
    let event = |micros: u32| {
        format!(
            "{{\"timestamp\": {{\"seconds\": 5, \"microseconds\": {micros}}}, \"event\": \"RTC_CHANGE\"}}\n"
        )
    };
    let capture = format!("{GREETING}\n{}{}{}", event(0), event(300_000), event(900_000));
    // speed, minimum milliseconds between the first and the last event
    for (speed, least) in [(1.0, 890), (3.0, 290), (0.0, 0)] {
        let world = World::start(&capture, |replay| replay.speed(speed));
        let mut client = world.client();
        client.negotiate();
        client.hear();
        let begin = Instant::now();
        client.hear();
        client.hear();
        assert!(begin.elapsed() >= Duration::from_millis(least), "{speed}: {:?}", begin.elapsed());
    }
}

#[test]
fn who_comes_next_sees_what_is_left() {
    let far = r#"{"timestamp": {"seconds": 200, "microseconds": 0}, "event": "RESUME"}"#;
    let world = World::start(&format!("{GREETING}\n{}\n{far}", ODD[0]), |replay| replay.speed(100.0));
    // A client that disconnects before negotiation consumes no events.
    drop(world.client());
    let mut first = world.client();
    first.negotiate();
    assert_eq!(first.hear(), ODD[0]);
    drop(first);
    let mut second = world.client();
    second.negotiate();
    assert_eq!(second.hear(), far);
}

#[tokio::test]
async fn a_client_for_ever_sees_each_connection_that_was_recorded() {
    let capture = format!("{GREETING}\n{}\n{}\n{GREETING}\n{}\n", ODD[0], ODD[1], ODD[2]);
    let world = World::start(&capture, |replay| replay.speed(0.0));
    let mut follow = qmp_client::follow(world.address(), FollowConfig::default());
    let mut seen = Vec::new();
    while seen.iter().filter(|what| *what == "detached").count() < 2 {
        match follow.next().await {
            Followed::Attached { .. } => seen.push("attached".to_owned()),
            Followed::Detached { .. } => seen.push("detached".to_owned()),
            Followed::Events(mut batch) => {
                while let Some(event) = batch.next() {
                    seen.push(format!("{} {}", event.name, event.data.unwrap_or("-")));
                }
            }
            Followed::Reply(_) | Followed::Answered { .. } | Followed::Failed { .. } => {}
        }
    }
    let odd = r#"__org.x_ODD { "a" :[1,  2.50], "é": "é" }"#;
    assert_eq!(seen, ["attached", "STOP -", odd, "detached", "attached", "RESUME null", "detached"]);
    world.replaying.wait().unwrap();
}

#[tokio::test]
async fn a_recording_of_0_12_needs_no_negotiation() {
    let capture = format!("{{\"QMP\": {{\"capabilities\": []}}}}\n{}\n", ODD[0]);
    let world = World::start(&capture, |replay| replay.speed(0.0));
    let (_monitor, mut events) = qmp_client::connect(&world.address()).await.unwrap();
    let Some(qmp_client::EventItem::Event(event)) = events.next().await else { panic!("no event") };
    assert_eq!(&*event.name, "STOP");
}
