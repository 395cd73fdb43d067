//! Frames: one JSON object after another, wherever the line ends may be.
//!
//! QEMU ends each message with CR LF and, with `pretty=on`, breaks it over many lines; other servers end it in
//! other ways. What ends a message here is its closing brace. White space before a message is skipped.
//!
//! Each message is validated while its end is looked for, and a message that is not whole yet is not read
//! again when more of it comes.

use std::fmt;
use std::ops::Range;

use crate::Message;
use crate::envelope::{Envelope, text_of};
use crate::json::{NESTING_MAX, Scan, Span, Stop, is_white_space, trim_white_space};

/// The longest message that is read unless configured otherwise, in bytes.
///
/// QEMU limits a message that it reads itself to 64 MiB; no answer of its own comes near that (the longest,
/// `query-qmp-schema`, has 300 kB). A peer that sends more is no monitor or has lost its framing.
pub const FRAME_MAX_BYTES: usize = 64 << 20;

/// Errors that end a connection: past them the frame boundary is lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The peer sent a message of more than the limit.
    #[error("message exceeds the limit of {limit_bytes} bytes")]
    TooLong {
        /// The limit in force.
        limit_bytes: usize,
    },
    /// The peer nested objects and arrays deeper than the limit, [`NESTING_MAX`].
    #[error("message nests deeper than the limit of {limit} levels")]
    TooDeep {
        /// The limit in force, in levels.
        limit: usize,
    },
    /// The peer sent `byte` where a message had to begin.
    #[error("expected a message to begin with '{{', found {}", Readable(*.byte))]
    NotAnObject {
        /// The byte.
        byte: u8,
    },
    /// The peer sent something that is not JSON.
    #[error("invalid JSON at byte {at} of a message: {what}")]
    InvalidJson {
        /// Where, counted in bytes from the message's first.
        at: usize,
        /// What was expected or wrong.
        what: &'static str,
    },
    /// The stream ended in the middle of a message.
    #[error("stream ended in the middle of a message, after {bytes} bytes of it")]
    Truncated {
        /// How much of the message had come, in bytes.
        bytes: usize,
    },
}

/// Shows a byte to people.
struct Readable(u8);

impl fmt::Display for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            byte @ 0x21..=0x7e => write!(f, "'{}'", char::from(byte)),
            byte => write!(f, "byte {byte:#04x}"),
        }
    }
}

impl From<Stop> for FrameError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Invalid { at, what } => Self::InvalidJson { at, what },
            Stop::TooDeep => Self::TooDeep { limit: NESTING_MAX },
        }
    }
}

/// Cuts a stream of bytes into messages.
///
/// Where the stream is cut does not matter: the same bytes give the same messages and the same error.
#[derive(Debug)]
pub struct FrameReader {
    limit_bytes: usize,
    buffer: Vec<u8>,
    /// First byte of `buffer` that belongs to no message cut before.
    unread: usize,
    /// Whether a message has begun at `unread`, with `scan` and `envelope` within it.
    within: bool,
    scan: Scan,
    envelope: Envelope,
    /// The message cut last.
    frame: Range<usize>,
    failed: Option<FrameError>,
}

/// One message, validated: its bytes and its envelope.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    bytes: &'a [u8],
    envelope: &'a Envelope,
}

impl FrameReader {
    /// A reader that refuses messages longer than `limit_bytes`.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            buffer: Vec::new(),
            unread: 0,
            within: false,
            scan: Scan::object(),
            envelope: Envelope::default(),
            frame: 0..0,
            failed: None,
        }
    }

    /// Takes bytes as they came from the peer, cut anywhere.
    ///
    /// They are kept until they are read: call [`next_message`](Self::next_message) until it yields `None`
    /// before the next call, and memory stays below the limit plus the longest input.
    pub fn push(&mut self, bytes: &[u8]) {
        // Only when at least half was read, so that each byte is moved once on average.
        if self.unread > self.buffer.len() / 2 {
            self.discard_read();
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Yields the next whole message, or `None` until more bytes come.
    ///
    /// # Errors
    ///
    /// Any [`FrameError`] but `Truncated`; every later call yields the same.
    pub fn next_message(&mut self) -> Result<Option<Message<'_>>, FrameError> {
        Ok(self.advance()?.then(|| self.frame().message()))
    }

    /// Says whether the stream may end here.
    ///
    /// # Errors
    ///
    /// `Truncated` if it ends in the middle of a message; the error of the stream if it had one.
    pub fn finish(&self) -> Result<(), FrameError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        match trim_white_space(self.unread()).len() {
            0 => Ok(()),
            bytes => Err(FrameError::Truncated { bytes }),
        }
    }

    /// Bytes of memory held outside of the reader itself; 0 when everything that came was read.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// Passes over the white space before the next message, as far as it has come, and yields it.
    pub(crate) fn skip_white_space(&mut self) -> &[u8] {
        let begin = self.unread;
        if !self.within {
            let rest = &self.buffer[begin..];
            self.unread += rest.iter().take_while(|byte| is_white_space(**byte)).count();
        }
        &self.buffer[begin..self.unread]
    }

    /// What was pushed and belongs to no message cut before.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.buffer[self.unread..]
    }

    /// Cuts the next message; false until more bytes come.
    #[inline]
    pub(crate) fn advance(&mut self) -> Result<bool, FrameError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.cut().inspect_err(|error| self.failed = Some(error.clone()))
    }

    /// The message cut by the last [`advance`](Self::advance).
    #[inline]
    pub(crate) fn frame(&self) -> Frame<'_> {
        Frame { bytes: &self.buffer[self.frame.clone()], envelope: &self.envelope }
    }

    #[inline]
    fn cut(&mut self) -> Result<bool, FrameError> {
        if !self.within && !self.begin()? {
            self.settle();
            return Ok(false);
        }
        let unread = &self.buffer[self.unread..];
        let window = &unread[..unread.len().min(self.limit_bytes)];
        let seen = if self.within { None } else { self.envelope.start(&mut self.scan, window) };
        self.within = true;
        let end = match seen {
            Some(end) => Some(end),
            None => self.envelope.read(&mut self.scan, window)?,
        };
        if let Some(end) = end {
            self.within = false;
            self.frame = self.unread..self.unread + end;
            self.unread += end;
            return Ok(true);
        }
        if window.len() == self.limit_bytes {
            return Err(FrameError::TooLong { limit_bytes: self.limit_bytes });
        }
        self.settle();
        Ok(false)
    }

    /// Goes to the first byte of the next message; false if it has not come.
    #[inline]
    fn begin(&mut self) -> Result<bool, FrameError> {
        while let Some(byte) = self.buffer.get(self.unread) {
            match *byte {
                b'{' => return Ok(true),
                byte if is_white_space(byte) => self.unread += 1,
                byte => return Err(FrameError::NotAnObject { byte }),
            }
        }
        Ok(false)
    }

    /// Gives back memory that what is unread does not need: all of it when everything was read.
    ///
    /// A hub holds ten thousand idle monitors; an allocation when one wakes up costs less than its wake-up.
    fn settle(&mut self) {
        let needed_bytes = self.buffer.len() - self.unread;
        // Four times leaves a growing buffer alone, which has at most twice what it needs.
        if self.buffer.capacity() > 4 * needed_bytes {
            self.discard_read();
            self.buffer.shrink_to_fit();
        }
    }

    fn discard_read(&mut self) {
        self.buffer.drain(..self.unread);
        self.unread = 0;
        self.frame = 0..0;
    }
}

impl<'a> Frame<'a> {
    /// What the message says.
    #[inline]
    pub(crate) fn message(&self) -> Message<'a> {
        self.envelope.message(self.bytes)
    }

    /// The whole message, as raw JSON.
    pub(crate) fn raw(&self) -> &'a str {
        text_of(self.bytes, Span { start: 0, end: self.bytes.len() })
    }
}
