//! A client for bytes and lines, without knowledge of the protocol.

use std::{
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    time::Duration,
};

/// Longer than any reply takes; reached only when a reply is missing.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Client {
    pub stream: UnixStream,
    received: Vec<u8>,
}

impl Client {
    pub fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, received: Vec::new() }
    }

    /// Sends bytes; if the server closes meanwhile, the next read reports it.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Returns the next line, without its CR LF; `None` at the end.
    pub fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.received.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.received.drain(..end + 2).take(end).collect();
                return Some(String::from_utf8(line).expect("a server prints ASCII"));
            }
            if !self.read_more() {
                assert!(self.received.is_empty(), "a message that is cut: {:?}", self.received);
                return None;
            }
        }
    }

    /// Sends a request and returns the next line.
    pub fn ask(&mut self, request: &str) -> String {
        self.send(request);
        self.line().expect("a reply")
    }

    /// Skips the greeting and negotiates.
    pub fn negotiate(&mut self) {
        assert!(self.line().expect("a greeting").starts_with(r#"{"QMP": "#));
        assert_eq!(self.ask(r#"{"execute":"qmp_capabilities"}"#), r#"{"return": {}}"#);
    }

    /// Ends the input.
    pub fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Returns all lines up to the end of the stream.
    pub fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.line()).collect()
    }

    /// Returns the lines that have arrived.
    pub fn lines_now(&mut self) -> Vec<String> {
        self.stream.set_nonblocking(true).unwrap();
        while self.read_more() {}
        self.stream.set_nonblocking(false).unwrap();
        let mut lines = Vec::new();
        while self.received.windows(2).any(|pair| pair == b"\r\n") {
            lines.extend(self.line());
        }
        lines
    }

    /// Returns whether the server closed the connection.
    pub fn is_closed(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let mut bytes = [0; 64 << 10];
        let closed = loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => break true,
                Ok(_) => {}
                Err(error) => break error.kind() != ErrorKind::WouldBlock,
            }
        };
        self.stream.set_nonblocking(false).unwrap();
        closed
    }

    /// Reads until no bytes arrive for `quiet`.
    pub fn lines_until_quiet(&mut self, quiet: Duration) {
        self.stream.set_read_timeout(Some(quiet)).unwrap();
        while self.read_more() {}
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }

    fn read_more(&mut self) -> bool {
        let mut bytes = [0; 64 << 10];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(count) => {
                self.received.extend_from_slice(&bytes[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(_) => false,
        }
    }
}
