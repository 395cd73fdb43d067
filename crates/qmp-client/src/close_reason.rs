//! How a connection ended.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use qmp_wire::{ClientError, DetachReason};

/// How a connection ended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The VM closed its side between two messages, or was killed.
    #[error("the VM closed the connection")]
    PeerClosed,
    /// The VM closed its side in the middle of a message.
    #[error("the VM closed the connection in the middle of a message, after {bytes} bytes of it")]
    Truncated {
        /// How many bytes of the message were received.
        bytes: usize,
    },
    /// The peer broke the protocol.
    #[error(transparent)]
    Protocol(#[from] ClientError),
    /// The peer began a message and did not end it in time.
    #[error("a message did not end within {waited:?} of its first byte")]
    Unfinished {
        /// How long this side waited.
        waited: Duration,
    },
    /// The unfinished messages of all connections exceeded their common memory limit.
    #[error(
        "no memory for a message that has not ended: all unfinished messages together may use {limit_bytes} bytes"
    )]
    NoMemory {
        /// The limit in force.
        limit_bytes: usize,
    },
    /// The operating system broke the connection.
    #[error("the connection broke: {error}")]
    Io {
        /// The error of the operating system.
        error: Arc<io::Error>,
    },
    /// This side closed it.
    #[error("this side closed the connection")]
    ClosedLocally,
}

impl CloseReason {
    /// The reason as records of the journal write it.
    #[must_use]
    pub fn detach_reason(&self) -> DetachReason {
        match self {
            Self::PeerClosed | Self::Truncated { .. } | Self::Io { .. } => DetachReason::PeerClosed,
            Self::Protocol(_) | Self::Unfinished { .. } | Self::NoMemory { .. } => {
                DetachReason::ProtocolError
            }
            Self::ClosedLocally => DetachReason::HubStopped,
        }
    }
}

impl From<io::Error> for CloseReason {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // A unix socket reports this if the peer closed it while bytes of this side were unread.
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::PeerClosed,
            _ => Self::Io { error: Arc::new(error) },
        }
    }
}
