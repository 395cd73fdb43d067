//! The raw monitor: bytes from a socket, split into lines, with the time at which each arrived.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use qmp_testing::{PATIENCE, wait_for};
use serde_json::Value;

/// A line that QEMU sent.
#[derive(Clone, Debug)]
pub struct MonitorLine {
    /// The time of its reception.
    pub arrived: Instant,
    /// The bytes as received, with the line end.
    pub bytes: Vec<u8>,
    /// The decoded message.
    pub message: Value,
}

impl MonitorLine {
    /// Returns the event's name; `None` if it is no event.
    #[must_use]
    pub fn event(&self) -> Option<&str> {
        self.message["event"].as_str()
    }

    /// Returns the event's time on QEMU's clock, in microseconds.
    #[must_use]
    pub fn timestamp_us(&self) -> i64 {
        let time = &self.message["timestamp"];
        time["seconds"].as_i64().unwrap_or(-1) * 1_000_000 + time["microseconds"].as_i64().unwrap_or(-1)
    }

    /// Returns the line without its end.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).expect("QEMU writes ASCII").trim_end()
    }
}

/// A connection that a thread reads for as long as it is open.
pub(crate) struct RawMonitor {
    stream: UnixStream,
    lines: Receiver<MonitorLine>,
}

impl RawMonitor {
    /// Connects; the greeting is the first line.
    pub(crate) fn connect(socket: &Path) -> Self {
        let stream = wait_for("a connection to QEMU", || UnixStream::connect(socket).ok());
        let mut reader = BufReader::new(stream.try_clone().expect("a socket can be cloned"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // A QEMU that exits with unread input resets the connection: also an end.
            while reader.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
                let message = serde_json::from_slice(&bytes).expect("QEMU writes JSON");
                let line =
                    MonitorLine { arrived: Instant::now(), bytes: std::mem::take(&mut bytes), message };
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { stream, lines }
    }

    /// Writes; QEMU may have exited.
    pub(crate) fn send(&mut self, text: &str) -> std::io::Result<()> {
        self.stream.write_all(text.as_bytes())
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    ///
    /// If neither comes in time.
    pub(crate) fn next(&self) -> Result<Option<MonitorLine>, RecvTimeoutError> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(timeout) => Err(timeout),
        }
    }
}
