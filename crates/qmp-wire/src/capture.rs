//! Captures: the output of a monitor, or records of a journal, one JSON value after another.
//!
//! White space between the values does not matter. A capture may contain the client's requests, too. The reader
//! takes pieces of any size: it scans each byte once, and holds no more than the incomplete value.

use std::fmt;

use memchr::memchr_iter;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::frame::{FRAME_MAX_BYTES, FrameReader};
use crate::frame_error::FrameError;
use crate::message::Message;
use crate::record::{Record, RecordError};

/// Some editors put a byte order mark in front of a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Splits a capture into its values.
///
/// Where the capture is cut into pieces does not matter: the same bytes give the same values and the same error.
#[derive(Debug)]
pub struct CaptureReader {
    frames: FrameReader,
    /// Number of bytes of a byte order mark read so far; `None` once the start of the capture is decided.
    mark: Option<usize>,
    /// The first byte that belongs to no value already read, counted from the beginning of the capture.
    at_byte: u64,
    /// The line of that byte, counted from 1.
    line: usize,
}

/// One value of a capture.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CaptureEntry<'a> {
    /// The first byte of the value, counted from the beginning of the capture.
    pub at_byte: u64,
    /// The line of that byte, counted from 1.
    pub line: usize,
    /// The text of the value.
    pub text: &'a str,
    /// The decoded value.
    pub value: CaptureValue<'a>,
}

/// A decoded value of a capture.
#[derive(Clone, Debug, PartialEq)]
pub enum CaptureValue<'a> {
    /// A message of a monitor, or a request of a client ([`Message::Unknown`]).
    Message(Message<'a>),
    /// A record of a journal: an object with the members `vm` and `kind`.
    Record(Record<'static>),
}

/// The position of an invalid value in a capture, and the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("broken at byte {at_byte} (line {line}): {fault}")]
#[non_exhaustive]
pub struct CaptureError {
    /// The byte, counted from the beginning of the capture.
    pub at_byte: u64,
    /// The line of the byte, counted from 1.
    pub line: usize,
    /// The reason.
    pub fault: CaptureFault,
}

/// The reason for which a capture is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CaptureFault {
    /// The capture ends in the middle of a value.
    Truncated {
        /// The byte at which that value begins.
        begin: u64,
    },
    /// The capture has no JSON object where one is required, or one that is too large.
    Frame(FrameError),
    /// An object has the members `vm` and `kind` but is not a valid record.
    Record(RecordError),
}

impl fmt::Display for CaptureFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { begin } => write!(f, "it ends within the value that begins at byte {begin}"),
            Self::Frame(FrameError::InvalidJson { what, .. }) => write!(f, "invalid JSON: {what}"),
            Self::Frame(error) => error.fmt(f),
            Self::Record(error) => error.fmt(f),
        }
    }
}

impl Default for CaptureReader {
    fn default() -> Self {
        Self { frames: FrameReader::new(FRAME_MAX_BYTES), mark: Some(0), at_byte: 0, line: 1 }
    }
}

impl CaptureReader {
    /// Creates a reader at the beginning of a capture. A value may have [`FRAME_MAX_BYTES`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next piece of the capture.
    ///
    /// If [`next_entry`](Self::next_entry) is called until it returns `None` before the next call, memory stays
    /// below the longest value plus the longest piece.
    pub fn push(&mut self, piece: &[u8]) {
        let piece = self.without_mark(piece);
        self.frames.push(piece);
    }

    /// Returns the next value, or `None` until more of the capture is added.
    ///
    /// # Errors
    ///
    /// [`CaptureError`] if the next value is invalid; every later call returns the same error, unless it is about
    /// an invalid record.
    pub fn next_entry(&mut self) -> Result<Option<CaptureEntry<'_>>, CaptureError> {
        self.skip_white_space();
        let (at_byte, line) = (self.at_byte, self.line);
        match self.frames.advance() {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => return Err(self.broken(error)),
        }
        let frame = self.frames.frame();
        let text = frame.raw();
        self.at_byte += length(text.as_bytes());
        self.line += line_ends(text.as_bytes());
        let value = match is_record(text) {
            true => CaptureValue::Record(Record::from_json(text).map_err(|error| CaptureError {
                at_byte,
                line,
                fault: CaptureFault::Record(error),
            })?),
            false => CaptureValue::Message(frame.message()),
        };
        Ok(Some(CaptureEntry { at_byte, line, text, value }))
    }

    /// Checks that the capture may end here; call it after the last value was read.
    ///
    /// # Errors
    ///
    /// [`CaptureError`] if the capture ends in the middle of a value.
    pub fn finish(&mut self) -> Result<(), CaptureError> {
        if let Some(begun @ 1..) = self.mark.take() {
            self.frames.push(&BYTE_ORDER_MARK[..begun]);
            self.next_entry()?;
        }
        self.skip_white_space();
        let begin = self.at_byte;
        match self.frames.finish() {
            Ok(()) => Ok(()),
            Err(FrameError::Truncated { .. }) => {
                let rest = self.frames.unread();
                let (at_byte, line) = (begin + length(rest), self.line + line_ends(rest));
                Err(CaptureError { at_byte, line, fault: CaptureFault::Truncated { begin } })
            }
            Err(error) => Err(self.broken(error)),
        }
    }

    /// Returns the bytes of memory held for unread input.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.frames.held_bytes()
    }

    /// Returns the piece without the byte order mark, if the capture begins with one.
    fn without_mark<'p>(&mut self, mut piece: &'p [u8]) -> &'p [u8] {
        while let (Some(matched), Some((first, rest))) = (self.mark, piece.split_first()) {
            if *first != BYTE_ORDER_MARK[matched] {
                self.mark = None;
                self.frames.push(&BYTE_ORDER_MARK[..matched]);
                break;
            }
            piece = rest;
            self.mark = Some(matched + 1);
            if matched + 1 == BYTE_ORDER_MARK.len() {
                self.mark = None;
                self.at_byte = length(BYTE_ORDER_MARK);
            }
        }
        piece
    }

    fn skip_white_space(&mut self) {
        let skipped = self.frames.skip_white_space();
        self.at_byte += length(skipped);
        self.line += line_ends(skipped);
    }

    /// Returns the error of the value that begins at the first unread byte.
    fn broken(&self, error: FrameError) -> CaptureError {
        let within = match error {
            FrameError::InvalidJson { at, .. } => at,
            _ => 0,
        };
        let rest = self.frames.unread();
        let preceding = &rest[..within.min(rest.len())];
        let (at_byte, line) = (self.at_byte + length(preceding), self.line + line_ends(preceding));
        CaptureError { at_byte, line, fault: CaptureFault::Frame(error) }
    }
}

/// Returns whether an object is a record and not a message: by the members that all records have.
fn is_record(text: &str) -> bool {
    #[derive(Deserialize)]
    struct Probe<'a> {
        #[serde(borrow)]
        vm: Option<&'a RawValue>,
        kind: Option<&'a RawValue>,
    }
    // Most captures have no record: parse the members only if the name `kind` occurs.
    text.contains("\"kind\"")
        && matches!(serde_json::from_str(text), Ok(Probe { vm: Some(_), kind: Some(_) }))
}

fn line_ends(bytes: &[u8]) -> usize {
    memchr_iter(b'\n', bytes).count()
}

fn length(bytes: &[u8]) -> u64 {
    // A slice has no more bytes than fit in 64 bits.
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn broken_capture_is_located() {
        let cases = [
            // capture                                    good, byte, line
            ("", 0, None),
            ("{\"return\": {}}\n", 1, None),
            ("{\"return\": {}}\n{\"event\": }", 1, Some((25, 2))),
            ("{\"return\": {}}\n{\n\"event\": }", 1, Some((26, 3))),
            ("{\"return\": {}}\n\n{\"event\": \"STOP\"", 1, Some((32, 3))),
            ("{\"return\": {}}\n{\"event\":\n\"STOP\"", 1, Some((31, 3))),
            ("hello", 0, Some((0, 1))),
            ("{\"return\": {}}\n[1]", 1, Some((15, 2))),
            ("\u{feff}{\"a\" 1}", 0, Some((8, 1))),
            ("\u{feff}\n{\"return\": {}}", 1, None),
            ("{\"return\": {}}\u{feff}", 1, Some((14, 1))),
            ("{\"return\": {}}\n{\"vm\": \"a\", \"kind\": \"no such\"}", 1, Some((15, 2))),
        ];
        for (capture, good, broken) in cases {
            let (entries, error) = read(&[capture.as_bytes()]);
            let position = error.as_ref().map(|error| (error.at_byte, error.line));
            assert_eq!((entries.len(), position), (good, broken), "{capture:?} {error:?}");
        }
    }

    #[test]
    fn partial_byte_order_mark_is_an_error() {
        for capture in [b"\xef".as_slice(), b"\xef\xbb", b"\xef\xbb{}", b"\xef\xbb\xbf\xef"] {
            assert!(read(&[capture]).1.is_some(), "{capture:?}");
        }
        assert!(read(&[b"{\"a\": \"\xff\"}"]).1.is_some(), "invalid UTF-8 is an error");
    }

    #[test]
    fn long_capture_does_not_grow_memory() {
        let mut capture = CaptureReader::new();
        let piece = EVENTS.repeat(500);
        let (mut entries, mut held_max_bytes) = (0, 0);
        for _ in 0..200 {
            // The cuts are not at the ends of values.
            for piece in piece.as_bytes().chunks(piece.len() / 3 + 1) {
                capture.push(piece);
                while capture.next_entry().unwrap().is_some() {
                    entries += 1;
                }
                held_max_bytes = held_max_bytes.max(capture.held_bytes());
            }
        }
        capture.finish().unwrap();
        assert_eq!(entries, 200 * 500 * 3);
        assert!(held_max_bytes <= 2 * piece.len(), "{held_max_bytes} of {}", 200 * piece.len());
    }

    proptest! {
        /// Where a capture is cut into pieces does not matter: values, positions and error are the same.
        #[test]
        fn capture_in_pieces_gives_the_same_values(
            parts in prop::collection::vec(prop_oneof![
                Just(EVENTS.to_owned()), Just("\u{feff}".to_owned()), "[ \r\n]{0,3}", "[{}\":a1]{0,4}",
                Just("{\"vm\": \"a\",\n \"kind\": 1}".to_owned()),
            ], 0..6),
            size in 1_usize..20,
        ) {
            let capture = parts.concat().into_bytes();
            let whole = read(&[&capture]);
            let pieces: Vec<&[u8]> = capture.chunks(size).collect();
            prop_assert_eq!(read(&pieces), whole);
        }

        /// The position of a value is the position of its text in the capture.
        #[test]
        fn position_of_value_is_that_of_its_text(blanks in prop::collection::vec("[ \r\n\t]{0,3}", 1..5)) {
            let capture: String = blanks.iter().flat_map(|blanks| [blanks, EVENTS]).collect();
            let (entries, error) = read(&[capture.as_bytes()]);
            prop_assert_eq!((entries.len(), error), (3 * blanks.len(), None));
            for (at_byte, line, text) in entries {
                let begin = usize::try_from(at_byte).unwrap();
                prop_assert!(capture[begin..].starts_with(&text));
                prop_assert_eq!(line, 1 + capture[..begin].matches('\n').count());
            }
        }
    }

    const EVENTS: &str = "{\"event\": \"STOP\"}\r\n{\"event\": \"RESET\",\n \"data\": {\"guest\": true}}{\"execute\": \"cont\"}\n";

    /// Returns position and text of each value, and the final error.
    fn read(pieces: &[&[u8]]) -> (Vec<(u64, usize, String)>, Option<CaptureError>) {
        let (mut capture, mut entries) = (CaptureReader::new(), Vec::new());
        for piece in pieces {
            capture.push(piece);
            loop {
                match capture.next_entry() {
                    Ok(Some(entry)) => entries.push((entry.at_byte, entry.line, entry.text.to_owned())),
                    Ok(None) => break,
                    Err(error) => return (entries, Some(error)),
                }
            }
        }
        let error = capture.finish().err();
        (entries, error)
    }
}
