//! Frames: one JSON object after another, independent of line ends.
//!
//! QEMU ends each message with CR LF and, with `pretty=on`, spreads it over many lines; other servers end it in
//! other ways. Here the closing brace ends a message. White space before a message is skipped.
//!
//! The search for the end of a message validates it, and an incomplete message is not read again when more bytes
//! arrive.

use std::ops::Range;

use crate::envelope::{Envelope, text_of};
use crate::frame_error::FrameError;
use crate::json::{Scan, Span, is_white_space, trim_white_space};
use crate::message::Message;

/// Default maximum length of a message, in bytes.
///
/// QEMU limits a message that it reads to 64 MiB; no reply of QEMU comes near that (the longest,
/// `query-qmp-schema`, has 300 kB). A peer that sends more is no monitor or has lost its framing.
pub const FRAME_MAX_BYTES: usize = 64 << 20;

/// Bytes of a message up to which its memory is not probed. The longest reply of a QEMU has 300 kB.
const UNPROBED_MAX_BYTES: usize = 1 << 20;

/// Number of copies of a long message for which there must be memory while it is received: a queue, a record, a
/// transaction and the readers each copy it.
const COPIES_MAX: usize = 8;

/// Returns whether there is memory for a message of so many bytes and its copies, by allocating and freeing it. Call this
/// before a peer can make a buffer grow, since a failed allocation ends the process.
#[must_use]
pub fn has_memory(bytes: usize) -> bool {
    let mut probe = Vec::<u8>::new();
    let is_available = probe.try_reserve_exact(bytes.saturating_mul(COPIES_MAX)).is_ok();
    // Otherwise the compiler may leave the allocation out.
    std::hint::black_box(&mut probe);
    is_available
}

/// Splits a stream of bytes into messages.
///
/// Where the stream is cut does not matter: the same bytes give the same messages and the same error.
#[derive(Debug)]
pub struct FrameReader {
    limit_bytes: usize,
    buffer: Vec<u8>,
    /// First byte of `buffer` that belongs to no message already returned.
    unread: usize,
    /// Whether a message has begun at `unread`, with `scan` and `envelope` within it.
    within: bool,
    scan: Scan,
    envelope: Envelope,
    /// The last message.
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
    /// Creates a reader that refuses messages longer than `limit_bytes`.
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

    /// Adds bytes from the peer, cut anywhere.
    ///
    /// They are kept until they are read: if [`next_message`](Self::next_message) is called until it returns `None`
    /// before the next call, memory stays below the limit plus the longest input. Without memory
    /// for them the next message is [`FrameError::NoMemory`].
    pub fn push(&mut self, bytes: &[u8]) {
        // Only when at least half was read, so that each byte is moved once on average.
        if self.unread > self.buffer.len() / 2 {
            self.discard_read();
        }
        if self.has_room(bytes.len()) {
            self.buffer.extend_from_slice(bytes);
        } else if self.failed.is_none() {
            self.failed = Some(FrameError::NoMemory { bytes: self.unread().len() + bytes.len() });
            (self.buffer, self.unread, self.frame) = (Vec::new(), 0, 0..0);
        }
    }

    /// Makes room for so many bytes, if there is memory.
    fn has_room(&mut self, bytes: usize) -> bool {
        let needed_bytes = self.buffer.len() + bytes;
        if needed_bytes > self.buffer.capacity()
            && needed_bytes > UNPROBED_MAX_BYTES
            && !has_memory(needed_bytes)
        {
            return false;
        }
        self.buffer.try_reserve(bytes).is_ok()
    }

    /// Returns the next whole message, or `None` until more bytes arrive.
    ///
    /// # Errors
    ///
    /// Any [`FrameError`] but `Truncated`; every later call returns the same error.
    pub fn next_message(&mut self) -> Result<Option<Message<'_>>, FrameError> {
        Ok(self.advance()?.then(|| self.frame().message()))
    }

    /// Checks that the stream may end here.
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

    /// Returns the bytes of memory held outside of the reader itself; 0 when all input was read.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// Skips the white space before the next message, as far as received, and returns it.
    pub(crate) fn skip_white_space(&mut self) -> &[u8] {
        let begin = self.unread;
        if !self.within {
            let rest = &self.buffer[begin..];
            self.unread += rest.iter().take_while(|byte| is_white_space(**byte)).count();
        }
        &self.buffer[begin..self.unread]
    }

    /// Returns the bytes that belong to no message already returned.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.buffer[self.unread..]
    }

    /// Finds the next message; returns `false` until more bytes arrive.
    #[inline]
    pub(crate) fn advance(&mut self) -> Result<bool, FrameError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.find_frame().inspect_err(|error| self.failed = Some(error.clone()))
    }

    /// Returns the message found by the last [`advance`](Self::advance).
    #[inline]
    pub(crate) fn frame(&self) -> Frame<'_> {
        Frame { bytes: &self.buffer[self.frame.clone()], envelope: &self.envelope }
    }

    #[inline]
    fn find_frame(&mut self) -> Result<bool, FrameError> {
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

    /// Moves to the first byte of the next message; returns `false` if it has not arrived.
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

    /// Releases memory that the unread bytes do not need: all of it when everything was read.
    ///
    /// A hub holds ten thousand idle monitors; an allocation when one wakes up costs less than the wake-up.
    fn settle(&mut self) {
        let needed_bytes = self.buffer.len() - self.unread;
        // The factor of four does not affect a growing buffer, which has at most twice the needed size.
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

impl<'a> Message<'a> {
    /// Parses one whole message: a JSON object, surrounded by white space only.
    ///
    /// # Errors
    ///
    /// Those of [`FrameError`] about JSON: [`NotAnObject`](FrameError::NotAnObject),
    /// [`InvalidJson`](FrameError::InvalidJson), [`TooDeep`](FrameError::TooDeep), and
    /// [`Truncated`](FrameError::Truncated) if its end is missing.
    pub fn parse(text: &'a [u8]) -> Result<Self, FrameError> {
        let bytes = trim_white_space(text);
        match bytes.first() {
            Some(b'{') => {}
            Some(byte) => return Err(FrameError::NotAnObject { byte: *byte }),
            None => return Err(FrameError::Truncated { bytes: 0 }),
        }
        let mut scan = Scan::object();
        let mut envelope = Envelope::default();
        let end = match envelope.start(&mut scan, bytes) {
            Some(end) => Some(end),
            None => envelope.read(&mut scan, bytes)?,
        };
        match end {
            Some(end) if end == bytes.len() => Ok(envelope.message(bytes)),
            Some(end) => Err(FrameError::InvalidJson { at: end, what: "expected the end of the message" }),
            None => Err(FrameError::Truncated { bytes: bytes.len() }),
        }
    }
}

impl<'a> Frame<'a> {
    /// Returns the decoded message.
    #[inline]
    pub(crate) fn message(&self) -> Message<'a> {
        self.envelope.message(self.bytes)
    }

    /// Returns the whole message as raw JSON.
    pub(crate) fn raw(&self) -> &'a str {
        text_of(self.bytes, Span { start: 0, end: self.bytes.len() })
    }
}
