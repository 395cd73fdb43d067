//! The errors of a stream of messages.

use std::fmt;

use crate::json::{NESTING_MAX, Stop};

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
    /// There is no memory for a message of the peer and its copies.
    #[error("no memory for a message of {bytes} bytes or more, and its copies")]
    NoMemory {
        /// Bytes of the message that were received.
        bytes: usize,
    },
    /// The peer nested objects and arrays deeper than the limit, [`NESTING_MAX`].
    #[error("message nests deeper than the limit of {limit} levels")]
    TooDeep {
        /// The limit in force, in levels.
        limit: usize,
    },
    /// The peer sent `byte` where a message has to begin.
    #[error("expected a message to begin with '{{', found {}", DisplayByte(*.byte))]
    NotAnObject {
        /// The byte.
        byte: u8,
    },
    /// The peer sent invalid JSON.
    #[error("invalid JSON at byte {at} of a message: {what}")]
    InvalidJson {
        /// Position, counted in bytes from the message's first.
        at: usize,
        /// The expectation or the error.
        what: &'static str,
    },
    /// The stream ended in the middle of a message.
    #[error("stream ended in the middle of a message, after {bytes} bytes of it")]
    Truncated {
        /// Number of bytes of the message received.
        bytes: usize,
    },
}

/// Formats a byte for users.
struct DisplayByte(u8);

impl fmt::Display for DisplayByte {
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
