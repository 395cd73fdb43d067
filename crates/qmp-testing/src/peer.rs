//! The server's side of one connection, and a socket for it.

use std::path::PathBuf;

use qmp_wire::Address;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

macro_rules! greeting {
    () => {
        r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}"#
    };
}

/// The greeting of QEMU 7.2.
pub const GREETING: &str = greeting!();

/// The greeting of QEMU 7.2 with the end of the line.
pub const GREETING_LINE: &str = concat!(greeting!(), "\r\n");

/// A listening socket in a temporary directory.
#[derive(Debug)]
pub struct MonitorSocket {
    /// The directory, which is removed with the socket.
    pub directory: TempDir,
    /// The listener.
    pub listener: UnixListener,
}

/// The server's side of one connection.
#[derive(Debug)]
pub struct Peer<S = UnixStream> {
    /// The connection.
    pub stream: S,
    received: Vec<u8>,
}

impl MonitorSocket {
    /// Listens at a new socket.
    #[must_use]
    pub fn listen() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(directory.path().join("qmp")).expect("binds");
        Self { directory, listener }
    }

    /// The path of the socket.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("qmp")
    }

    /// The address of the socket.
    #[must_use]
    pub fn address(&self) -> Address {
        Address::Unix { path: self.path(), listen: false }
    }

    /// Waits for a client.
    pub async fn accept(&self) -> Peer {
        Peer::new(self.listener.accept().await.expect("a client").0)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// Creates the server's side of a connection, before the greeting.
    pub fn new(stream: S) -> Self {
        Self { stream, received: Vec::new() }
    }

    /// Sends a message.
    pub async fn say(&mut self, text: &str) {
        self.write(format!("{text}\r\n").as_bytes()).await;
    }

    /// Sends these bytes.
    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the client reads");
    }

    /// The next message of the client, framed by JSON values and not by lines.
    pub async fn hear(&mut self) -> Value {
        self.hear_or_end().await.expect("the client closed")
    }

    /// The next message of the client; `None` if it closed. No byte is lost if the future is dropped.
    pub async fn hear_or_end(&mut self) -> Option<Value> {
        loop {
            let mut values = serde_json::Deserializer::from_slice(&self.received).into_iter::<Value>();
            if let Some(Ok(value)) = values.next() {
                let used = values.byte_offset();
                self.received.drain(..used);
                return Some(value);
            }
            if self.stream.read_buf(&mut self.received).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// Sends the greeting and accepts the client's capabilities.
    pub async fn negotiate(&mut self) {
        self.say(GREETING).await;
        self.agree().await;
    }

    /// Accepts the client's capabilities.
    pub async fn agree(&mut self) {
        self.answer("qmp_capabilities", "{}").await;
    }

    /// Receives `command` and returns `value`.
    pub async fn answer(&mut self, command: &str, value: &str) {
        let heard = self.hear().await;
        assert_eq!(command_name(&heard), command, "{heard}");
        self.returns(&heard, value).await;
    }

    /// Replies to a command with a value.
    pub async fn returns(&mut self, heard: &Value, value: &str) {
        self.say(&format!(r#"{{"return": {value}, "id": {}}}"#, heard["id"])).await;
    }

    /// Replies to a command with an error.
    pub async fn refuses(&mut self, heard: &Value, class: &str, desc: &str) {
        let id = &heard["id"];
        self.say(&format!(r#"{{"id": {id}, "error": {{"class": "{class}", "desc": "{desc}"}}}}"#)).await;
    }

    /// Replies to the queries of a snapshot as a running VM.
    pub async fn reply_with_state(&mut self) {
        self.answer("query-status", r#"{"status": "running", "singlestep": false, "running": true}"#).await;
        for query in ["query-name", "query-uuid", "query-version", "query-jobs", "query-migrate"] {
            self.answer(query, "{}").await;
        }
    }
}

/// The name of a command, also of an out-of-band one; empty for any other message.
#[must_use]
pub fn command_name(message: &Value) -> &str {
    message["execute"].as_str().or(message["exec-oob"].as_str()).unwrap_or("")
}

/// An event as QEMU writes it, without data if `data` is empty.
#[must_use]
pub fn event(name: &str, data: &str) -> String {
    let data = if data.is_empty() { String::new() } else { format!(", \"data\": {data}") };
    let timestamp = r#"{"seconds": 1767323045, "microseconds": 678001}"#;
    format!("{{\"timestamp\": {timestamp}, \"event\": \"{name}\"{data}}}")
}

/// An event as QEMU writes it, with the end of the line.
#[must_use]
pub fn event_line(name: &str, data: &str) -> String {
    event(name, data) + "\r\n"
}
