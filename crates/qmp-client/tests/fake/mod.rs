//! A scripted server: sends what the test makes it send, and records what it receives.

#![allow(dead_code, reason = "each test file uses its part")]

use std::path::PathBuf;

use qmp_client::{Address, EventItem, Events, FollowEvent, MonitorClient, connect};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// The greeting of QEMU 7.2.
pub(crate) const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}"#;

pub(crate) const STOP: &str = r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}"#;

pub(crate) const RESUME: &str = r#"{"timestamp": {"seconds": 1, "microseconds": 3}, "event": "RESUME"}"#;

/// A listening socket in a temporary directory.
pub(crate) struct Fake {
    pub(crate) directory: TempDir,
    pub(crate) listener: UnixListener,
}

/// The server's side of one connection.
pub(crate) struct Peer<S = UnixStream> {
    pub(crate) stream: S,
    heard: Vec<u8>,
}

impl Fake {
    pub(crate) fn listen() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("qmp")).unwrap();
        Self { directory, listener }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("qmp")
    }

    pub(crate) fn address(&self) -> Address {
        Address::Unix { path: self.path(), listen: false }
    }

    pub(crate) async fn accept(&self) -> Peer {
        Peer::new(self.listener.accept().await.unwrap().0)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, heard: Vec::new() }
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.write(format!("{text}\r\n").as_bytes()).await;
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next message of the client, framed by JSON values and not by lines.
    pub(crate) async fn hear(&mut self) -> Value {
        self.hear_or_end().await.expect("the client closed")
    }

    /// The next message of the client; `None` if it closed.
    pub(crate) async fn hear_or_end(&mut self) -> Option<Value> {
        loop {
            let mut values = serde_json::Deserializer::from_slice(&self.heard).into_iter::<Value>();
            if let Some(Ok(value)) = values.next() {
                let used = values.byte_offset();
                self.heard.drain(..used);
                return Some(value);
            }
            if self.stream.read_buf(&mut self.heard).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// Sends the greeting and accepts the client's capabilities.
    pub(crate) async fn negotiate(&mut self) {
        self.say(GREETING).await;
        self.agree().await;
    }

    /// Accepts the client's capabilities.
    pub(crate) async fn agree(&mut self) {
        self.answer("qmp_capabilities", "{}").await;
    }

    /// Receives `command` and returns `value`.
    pub(crate) async fn answer(&mut self, command: &str, value: &str) {
        let heard = self.hear().await;
        assert_eq!(name(&heard), command, "{heard}");
        self.returns(&heard, value).await;
    }

    pub(crate) async fn returns(&mut self, heard: &Value, value: &str) {
        self.say(&format!(r#"{{"return": {value}, "id": {}}}"#, heard["id"])).await;
    }

    pub(crate) async fn refuses(&mut self, heard: &Value, class: &str, desc: &str) {
        let id = &heard["id"];
        self.say(&format!(r#"{{"id": {id}, "error": {{"class": "{class}", "desc": "{desc}"}}}}"#)).await;
    }

    /// Replies to the queries of a snapshot as a running VM.
    pub(crate) async fn reply_with_state(&mut self) {
        self.answer("query-status", r#"{"status": "running", "singlestep": false, "running": true}"#).await;
        for query in ["query-name", "query-uuid", "query-version", "query-jobs", "query-migrate"] {
            self.answer(query, "{}").await;
        }
    }
}

/// A monitor in command mode, its events, and the server's side.
pub(crate) async fn attached() -> (MonitorClient, Events, Peer) {
    let fake = Fake::listen();
    let address = fake.address();
    let server = async {
        let mut peer = fake.accept().await;
        peer.negotiate().await;
        peer
    };
    let (connected, peer) = tokio::join!(connect(&address), server);
    let (monitor, events) = connected.unwrap();
    (monitor, events, peer)
}

pub(crate) fn name(heard: &Value) -> &str {
    heard["execute"].as_str().or(heard["exec-oob"].as_str()).unwrap_or("")
}

/// The next item of the stream as one line.
pub(crate) async fn next_line(events: &mut Events) -> String {
    match events.next().await {
        None => "nothing".to_owned(),
        Some(item) => line_of_item(item),
    }
}

pub(crate) fn line_of_item(item: EventItem) -> String {
    match item {
        EventItem::Event(event) => match event.data {
            Some(data) => format!("{} {data}", event.name),
            None => event.name.into(),
        },
        EventItem::Lagged { missed } => format!("lagged {missed}"),
        EventItem::Ended(reason) => format!("ended: {reason}"),
        _ => unreachable!("no other item exists"),
    }
}

/// The next step of a follower as one line.
pub(crate) async fn line_of_next(follow: &mut qmp_client::Follow) -> String {
    line_of_step(follow.next().await)
}

/// One step of a follower as one line.
pub(crate) fn line_of_step(followed: FollowEvent<'_>) -> String {
    match followed {
        FollowEvent::Attached { snapshot, .. } => format!("attached {snapshot}"),
        FollowEvent::Events(mut batch) => {
            let mut names = Vec::new();
            while let Some(event) = batch.next() {
                names.push(event.name.into_owned());
            }
            format!("events {}", names.join(" "))
        }
        FollowEvent::Reply(reply) => {
            reply.release();
            "reply".to_owned()
        }
        FollowEvent::ProbeAnswered { run_state } => {
            format!("answered {}", run_state.as_deref().unwrap_or("error"))
        }
        FollowEvent::Detached { reason, .. } => format!("detached {:?}: {reason}", reason.detach_reason()),
        FollowEvent::Failed { error, attempt, retry_in } => {
            format!("failed {attempt} ({}): {error}", if retry_in.is_some() { "again" } else { "for good" })
        }
        _ => unreachable!("no other step exists"),
    }
}
