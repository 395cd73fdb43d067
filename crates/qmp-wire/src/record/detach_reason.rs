//! The reasons for which an epoch closes.

use std::fmt;

/// The reason for which an epoch closed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DetachReason {
    /// `peer closed`
    PeerClosed,
    /// `overrun`
    Overrun,
    /// `hub stopped`
    HubStopped,
    /// `protocol error`
    ProtocolError,
    /// `removed`: the hub was configured to detach from this VM, and continues with the others.
    Removed,
    /// `records lost`: committed records are missing in the journal's file.
    RecordsLost,
    /// `source lost`: the source that passed the VM's events on ended, and the VM may run on.
    SourceLost,
    /// A reason unknown to this release, as written.
    Other(Box<str>),
}

impl DetachReason {
    /// Parses the text of a record.
    #[must_use]
    pub fn from_wire(text: &str) -> Self {
        match text {
            "peer closed" => Self::PeerClosed,
            "overrun" => Self::Overrun,
            "hub stopped" => Self::HubStopped,
            "protocol error" => Self::ProtocolError,
            "removed" => Self::Removed,
            "records lost" => Self::RecordsLost,
            "source lost" => Self::SourceLost,
            other => Self::Other(other.into()),
        }
    }

    /// Returns the text in a record, and for users.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::PeerClosed => "peer closed",
            Self::Overrun => "overrun",
            Self::HubStopped => "hub stopped",
            Self::ProtocolError => "protocol error",
            Self::Removed => "removed",
            Self::RecordsLost => "records lost",
            Self::SourceLost => "source lost",
            Self::Other(text) => text,
        }
    }
}

impl fmt::Display for DetachReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
