//! Bodies of responses: whole, or line by line.

use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::Response;
use hyper::body::Incoming;
use qmp_wire::Record;
use tokio::time::Instant;

use super::error::HubError;

/// The longest whole response, in bytes: a reply of a VM may be as long as a message of the wire, and the hub adds its
/// envelope.
const WHOLE_MAX_BYTES: usize = qmp_wire::FRAME_MAX_BYTES + (1 << 20);

/// The longest line of a stream, in bytes. A line has one record, and a record one message of a VM.
const LINE_MAX_BYTES: usize = WHOLE_MAX_BYTES;

/// How long a stream may be silent. The hub sends an empty line every 15 s, so three were missed.
const SILENCE_MAX: Duration = Duration::from_secs(50);

/// The header with the number of records that retention removed before the request.
const REMOVED_HEADER: &str = "qmp-events-removed";

/// A stream of JSON lines.
#[derive(Debug)]
pub struct Lines {
    /// How many records were removed before the request.
    removed: u64,
    body: Incoming,
    buffer: Vec<u8>,
    /// Where the next line begins in `buffer`.
    start: usize,
    /// `buffer` has no line end before this index.
    searched: usize,
    /// When the last bytes were received.
    heard_at: Instant,
}

impl Lines {
    pub(super) fn new(response: Response<Incoming>) -> Self {
        let removed =
            response.headers().get(REMOVED_HEADER).and_then(|count| count.to_str().ok()?.parse().ok());
        Self {
            removed: removed.unwrap_or(0),
            body: response.into_body(),
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            heard_at: Instant::now(),
        }
    }

    /// How many records after the requested position were removed.
    pub fn removed(&self) -> u64 {
        self.removed
    }

    /// Returns the next line without its end, or `None` at the end of the stream. Empty lines are skipped.
    ///
    /// Cancel safe: a line is taken only when it is returned.
    pub async fn next(&mut self) -> Result<Option<&str>, HubError> {
        let (start, end) = loop {
            if let Some(line) = self.take_line() {
                break line;
            }
            let Ok(frame) = tokio::time::timeout_at(self.heard_at + SILENCE_MAX, self.body.frame()).await
            else {
                return Err(HubError::Lost { what: format!("no data for {} s", SILENCE_MAX.as_secs()) });
            };
            self.heard_at = Instant::now();
            match frame {
                _ if self.buffer.len() - self.start > LINE_MAX_BYTES => {
                    return Err(HubError::NotAHub {
                        what: format!("it sent a line of over {LINE_MAX_BYTES} bytes"),
                    });
                }
                None if self.start == self.buffer.len() => return Ok(None),
                None => return Err(HubError::Lost { what: "it ended within a line".into() }),
                Some(Err(error)) => return Err(HubError::Lost { what: error.to_string() }),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.drain(..self.start);
                        self.searched -= self.start;
                        self.start = 0;
                        self.buffer.extend_from_slice(data);
                    }
                }
            }
        };
        let line = std::str::from_utf8(&self.buffer[start..end]);
        line.map(Some).map_err(|_| HubError::NotAHub { what: "it sent text that is not UTF-8".into() })
    }

    /// The record of the next line; `None` at the end.
    pub async fn next_record(&mut self) -> Result<Option<Record<'static>>, HubError> {
        let line = self.next().await?;
        line.map(|line| Record::from_json(line).map_err(|error| HubError::not_a_record(&error))).transpose()
    }

    /// Whether a whole line is buffered, so that [`next`](Self::next) would not wait.
    pub fn has_line(&self) -> bool {
        self.buffer[self.start..].iter().enumerate().any(|(at, byte)| *byte == b'\n' && at > 0)
    }

    fn take_line(&mut self) -> Option<(usize, usize)> {
        loop {
            let Some(length) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
                self.searched = self.buffer.len();
                return None;
            };
            let (start, end) = (self.start, self.searched + length);
            self.start = end + 1;
            self.searched = self.start;
            if end > start {
                return Some((start, end));
            }
        }
    }
}

/// Reads the whole body.
pub(super) async fn whole(response: Response<Incoming>) -> Result<Vec<u8>, HubError> {
    let body = Limited::new(response.into_body(), WHOLE_MAX_BYTES);
    match body.collect().await {
        Ok(collected) => Ok(collected.to_bytes().to_vec()),
        Err(error) => Err(HubError::Lost { what: error.to_string() }),
    }
}
