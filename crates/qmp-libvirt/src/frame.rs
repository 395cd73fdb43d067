//! Frames: a length that counts itself, six words of header, and a payload.
//!
//! Source: libvirt `virnetprotocol.x`; observed on libvirt 9.0, 11.3 and 12.8.

use crate::header::{HEADER_LENGTH, Header};

/// Maximum length of a frame, in bytes: 16 MiB of payload, and its length. libvirtd resets a connection with a longer one.
pub const FRAME_MAX_BYTES: usize = 16_777_220;

/// Bytes that a buffer keeps when its last frame was read.
const IDLE_MAX_BYTES: usize = 64 << 10;

/// Errors that end a connection: past them the frame boundary is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A length that no frame has.
    #[error("a frame of {bytes} bytes: the least is {HEADER_LENGTH}, and the most {FRAME_MAX_BYTES}")]
    BadLength {
        /// The length.
        bytes: u32,
    },
    /// The stream ended within a frame.
    #[error("the connection ended within a frame")]
    Truncated,
}

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) header: Header,
    pub(crate) payload: &'a [u8],
}

/// Splits a stream of bytes into frames.
///
/// Where the stream is cut does not matter. Memory stays below twice [`FRAME_MAX_BYTES`] and the longest input, if every
/// frame is read before more bytes are added.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    buffer: Vec<u8>,
    /// First byte of `buffer` that belongs to no frame already returned.
    unread: usize,
}

impl FrameReader {
    /// Adds bytes from the peer.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.discard_read();
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next whole frame, or `None` until more bytes arrive.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        let unread = &self.buffer[self.unread..];
        let Some(bytes) = word(unread, 0) else { return Ok(None) };
        let length = usize::try_from(bytes).ok();
        let length = length.filter(|length| (HEADER_LENGTH..=FRAME_MAX_BYTES).contains(length));
        let length = length.ok_or(FrameError::BadLength { bytes })?;
        let Some(frame) = unread.get(..length) else { return Ok(None) };
        self.unread += length;
        let words = std::array::from_fn(|position| word(frame, 1 + position).unwrap_or_default());
        Ok(Some(Frame { header: Header::from_words(words), payload: &frame[HEADER_LENGTH..] }))
    }

    /// Checks that the stream may end here.
    pub(crate) fn finish(&self) -> Result<(), FrameError> {
        if self.unread == self.buffer.len() { Ok(()) } else { Err(FrameError::Truncated) }
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    fn discard_read(&mut self) {
        if self.unread == self.buffer.len() {
            self.buffer.clear();
            self.buffer.shrink_to(IDLE_MAX_BYTES);
        } else {
            self.buffer.drain(..self.unread);
        }
        self.unread = 0;
    }
}

/// Appends a frame.
pub(crate) fn append_frame(output: &mut Vec<u8>, header: Header, payload: &[u8]) {
    let bytes = u32::try_from(HEADER_LENGTH + payload.len()).expect("a payload below 4 GiB");
    output.extend(bytes.to_be_bytes());
    for word in header.words() {
        output.extend(word.to_be_bytes());
    }
    output.extend_from_slice(payload);
}

/// Reads the word at this position, counted in words.
fn word(bytes: &[u8], position: usize) -> Option<u32> {
    let word = bytes.get(4 * position..4 * position + 4)?;
    word.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{FrameError, FrameReader, append_frame};
    use crate::header::{FrameType, Header, Program};

    #[test]
    fn length_outside_limits_is_error() {
        let cases = [
            ("none", 0, false),
            ("shorter than a header", 27, false),
            ("header only", 28, true),
            ("longest", 16_777_220, true),
            ("longer", 16_777_221, false),
            ("hostile", u32::MAX, false),
        ];
        for (name, length, is_right) in cases {
            let mut reader = FrameReader::default();
            reader.push(&length.to_be_bytes());
            let expected = if is_right { Ok(None) } else { Err(FrameError::BadLength { bytes: length }) };
            assert_eq!(reader.next_frame(), expected, "{name}");
        }
    }

    #[test]
    fn stream_that_ends_within_frame_is_truncated() {
        let mut reader = FrameReader::default();
        assert_eq!(reader.finish(), Ok(()));
        reader.push(&[0, 0, 0]);
        assert_eq!(reader.next_frame(), Ok(None));
        assert_eq!(reader.finish(), Err(FrameError::Truncated));
    }

    proptest! {
        /// Frames do not depend on where the stream is cut, and leave no memory behind but that of a buffer.
        #[test]
        fn cut_stream_gives_same_frames(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20),
            piece_bytes in 1usize..300,
        ) {
            let mut stream = Vec::new();
            for (serial, payload) in (1..).zip(&payloads) {
                let header = Header::new(Program::Other(serial), 7, FrameType::Reply, serial);
                append_frame(&mut stream, header, payload);
            }
            let (mut reader, mut found) = (FrameReader::default(), Vec::new());
            for piece in stream.chunks(piece_bytes) {
                reader.push(piece);
                while let Some(frame) = reader.next_frame()? {
                    prop_assert_eq!(frame.header.program, Program::Other(frame.header.serial));
                    found.push(frame.payload.to_vec());
                }
            }
            prop_assert_eq!(reader.finish(), Ok(()));
            prop_assert_eq!(found, payloads);
        }

        /// No input takes more memory than its own length needs, whatever length a frame announces.
        #[test]
        fn any_input_is_held_within_limit(input in prop::collection::vec(any::<u8>(), 0..4000)) {
            let mut reader = FrameReader::default();
            for piece in input.chunks(100) {
                reader.push(piece);
                while let Ok(Some(_)) = reader.next_frame() {}
                prop_assert!(reader.held_bytes() <= 2 * 4000);
                if reader.next_frame().is_err() {
                    break;
                }
            }
        }
    }
}
