//! How a connection ended.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use qmp_wire::{ClientError, DetachReason};

/// How a connection ended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Gone {
    /// The VM closed its side between two messages, or was killed.
    #[error("the VM closed the connection")]
    PeerClosed,
    /// The VM closed its side in the middle of a message.
    #[error("the VM closed the connection in the middle of a message, after {bytes} bytes of it")]
    Truncated {
        /// How much of the message had come.
        bytes: usize,
    },
    /// The peer broke the protocol.
    #[error(transparent)]
    Protocol(#[from] ClientError),
    /// The peer began a message and did not end it.
    #[error("a message did not end within {waited:?} of its first byte")]
    Unfinished {
        /// How long was waited.
        waited: Duration,
    },
    /// The messages that have begun and not ended, of all connections, have more memory than they may.
    #[error("no memory for a message that has not ended: all of them together may have {limit_bytes} bytes")]
    NoMemory {
        /// The limit in force.
        limit_bytes: usize,
    },
    /// The operating system broke the connection.
    #[error("the connection broke: {error}")]
    Io {
        /// What the operating system says.
        error: Arc<io::Error>,
    },
    /// This side ended it.
    #[error("the connection was given up on this side")]
    Left,
}

impl Gone {
    /// The reason in the words of a record.
    #[must_use]
    pub fn reason(&self) -> DetachReason {
        match self {
            Self::PeerClosed | Self::Truncated { .. } | Self::Io { .. } => DetachReason::PeerClosed,
            Self::Protocol(_) | Self::Unfinished { .. } | Self::NoMemory { .. } => {
                DetachReason::ProtocolError
            }
            Self::Left => DetachReason::HubStopped,
        }
    }
}

impl From<io::Error> for Gone {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // A unix socket says so if the peer closed it while bytes of ours were unread.
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::PeerClosed,
            _ => Self::Io { error: Arc::new(error) },
        }
    }
}
