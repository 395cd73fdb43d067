//! A line-based client, and actions written in one line.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

pub mod options;
pub mod qemu;

use std::{
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use qmp_machine::Action;
use serde_json::Value;

/// Longer than any reply takes; reached only when a reply is missing.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time limit for a message that is missing only if there is a difference.
const PATIENCE_FOR_MORE: Duration = Duration::from_secs(5);

/// A client that has negotiated.
pub struct Client {
    stream: UnixStream,
    received: Vec<u8>,
    /// Every line as received.
    transcript: Vec<String>,
}

impl Client {
    pub fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Self { stream, received: Vec::new(), transcript: Vec::new() };
        let greeting = client.line().expect("a greeting");
        assert!(greeting.get("QMP").is_some(), "{greeting}");
        client.send(&Action::new("qmp_capabilities"));
        assert_eq!(client.line().expect("a reply")["return"], Value::Object(Default::default()));
        client
    }

    pub fn send(&mut self, action: &Action) {
        let _ = self.stream.write_all(serde_json::to_string(action).unwrap().as_bytes());
    }

    /// Returns the next message; `None` at the end of the stream.
    pub fn line(&mut self) -> Option<Value> {
        self.read_line().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Returns the next message; `None` also after the time limit.
    pub fn try_line(&mut self) -> Option<Value> {
        self.read_line().ok().flatten()
    }

    fn read_line(&mut self) -> std::io::Result<Option<Value>> {
        loop {
            if let Some(end) = self.received.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.received.drain(..end + 2).collect();
                self.transcript.push(String::from_utf8(line[..end].into()).expect("a server sends ASCII"));
                return Ok(Some(serde_json::from_slice(&line).expect("a server sends JSON")));
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Ok(None),
                Ok(count) => self.received.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes the lines received since the last call and returns them.
    pub fn take_transcript(&mut self) -> Vec<String> {
        std::mem::take(&mut self.transcript)
    }

    /// Sends a command and returns all messages up to its reply, the reply included.
    pub fn ask(&mut self, action: &Action) -> Vec<Value> {
        self.send(action);
        let mut lines = Vec::new();
        while let Some(line) = self.line() {
            let done = line.get("event").is_none();
            lines.push(line);
            if done {
                break;
            }
        }
        lines
    }

    /// Sends a command and returns the messages after its reply and at least `count` messages have arrived. Gives
    /// up waiting for missing messages at the time limit.
    pub fn ask_and_await(&mut self, action: &Action, count: usize) -> Vec<Value> {
        let mut messages = self.ask(action);
        self.stream.set_read_timeout(Some(PATIENCE_FOR_MORE)).unwrap();
        while messages.len() < count {
            match self.try_line() {
                Some(message) => messages.push(message),
                None => break,
            }
        }
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        messages.extend(self.lines_now());
        messages
    }

    /// Returns all messages that have arrived.
    pub fn lines_now(&mut self) -> Vec<Value> {
        self.stream.set_nonblocking(true).unwrap();
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) | Err(_) => break,
                Ok(count) => self.received.extend_from_slice(&bytes[..count]),
            }
        }
        self.stream.set_nonblocking(false).unwrap();
        let mut lines = Vec::new();
        while self.received.windows(2).any(|pair| pair == b"\r\n") {
            lines.extend(self.line());
        }
        lines
    }

    /// Returns all messages up to the end of the stream.
    pub fn rest(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.line()).collect()
    }
}

/// Parses an action in one line: `device_del id=net0`. A value is JSON if it parses as such, else a word.
pub fn action(line: &str) -> Action {
    let (name, mut rest) = line.split_once(' ').unwrap_or((line, ""));
    let mut action = Action::new(name);
    while !rest.trim_start().is_empty() {
        let (name, after) = rest.trim_start().split_once('=').unwrap_or_else(|| panic!("no value in {line}"));
        let (value, after) = value(after);
        action = action.with(name, value);
        rest = after;
    }
    action
}

/// Returns the value at the beginning of `text`, and the rest.
fn value(text: &str) -> (Value, &str) {
    let mut json = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    if let Some(Ok(value)) = json.next() {
        let after = &text[json.byte_offset()..];
        if after.is_empty() || after.starts_with(' ') {
            return (value, after);
        }
    }
    let (word, after) = text.split_once(' ').unwrap_or((text, ""));
    (word.into(), after)
}

/// Returns a message without its timestamp, in one word: the name of an event, `reply` or `error`.
pub fn word(message: &Value) -> String {
    match (message.get("event"), message.get("error")) {
        (Some(name), _) => name.as_str().unwrap_or_default().to_owned(),
        (None, Some(_)) => "error".into(),
        (None, None) => "reply".into(),
    }
}
