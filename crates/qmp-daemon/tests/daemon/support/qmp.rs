//! A client of a relay that shows every byte.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// The longest wait for a line; only a failure takes that long.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A raw connection that returns lines unchanged.
pub(crate) struct RawClient {
    pub(crate) stream: UnixStream,
    buffer: Vec<u8>,
}

impl RawClient {
    /// Connects, without waiting for a greeting.
    pub(crate) async fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).await.unwrap_or_else(|error| panic!("{path:?}: {error}"));
        Self { stream, buffer: Vec::new() }
    }

    /// Connects and negotiates; returns the greeting as well.
    pub(crate) async fn open(path: &Path) -> (Self, String) {
        let mut raw = Self::connect(path).await;
        let greeting = raw.line().await;
        raw.send(r#"{"execute": "qmp_capabilities", "id": "open"}"#).await;
        assert_eq!(raw.line().await, "{\"return\": {}, \"id\": \"open\"}\r\n");
        (raw, greeting)
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.expect("writes");
    }

    /// The next line with its end; an empty text at the end of the stream.
    pub(crate) async fn line(&mut self) -> String {
        let read = async {
            loop {
                if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                    let line = self.buffer.drain(..=end).collect();
                    return String::from_utf8(line).expect("UTF-8");
                }
                match self.stream.read_buf(&mut self.buffer).await {
                    Ok(0) | Err(_) => return String::new(),
                    Ok(_) => {}
                }
            }
        };
        tokio::time::timeout(TIMEOUT, read).await.expect("a line in time")
    }

    /// The next line as JSON.
    pub(crate) async fn value(&mut self) -> Value {
        let line = self.line().await;
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// Reads up to the reply with that id.
    pub(crate) async fn until(&mut self, id: &str) -> Vec<Value> {
        let mut values = Vec::new();
        loop {
            values.push(self.value().await);
            if values.last().is_some_and(|value: &Value| value["id"] == id) {
                return values;
            }
        }
    }

    /// Executes `command` (members of a request) and reads up to its reply.
    pub(crate) async fn ask(&mut self, command: &str) -> Vec<Value> {
        self.send(&format!("{{{command}, \"id\": \"ask\"}}")).await;
        self.until("ask").await
    }

    /// Waits for the end of the stream and checks that no line comes before it.
    pub(crate) async fn ended(mut self) {
        assert_eq!(self.line().await, "");
    }
}
