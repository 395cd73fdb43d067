//! Records: what the journal holds, and the JSON line that shows one.

mod instant;
mod read;
mod write;

use std::borrow::Cow;
use std::fmt;

use crate::{RawEvent, Timestamp};

pub use instant::UnixMicros;
pub use read::RecordError;

/// A record's place in one journal. The first is 1; 0 stands before everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

/// A span of certainty of one VM, counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

/// A record's place in its epoch. `attached` is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

/// One record. Its identity is (vm, epoch, seq), the same in every copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// `None` when it is in no journal (`qmp tail` straight from a socket).
    pub offset: Option<Offset>,
    /// The VM's name.
    pub vm: Cow<'a, str>,
    /// Span of certainty.
    pub epoch: Epoch,
    /// Place in the epoch.
    pub seq: Seq,
    /// When it was received, on the receiver's clock.
    pub received: UnixMicros,
    /// What it is.
    pub body: Body<'a>,
}

/// What a record says. Raw JSON is kept byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// An epoch opened.
    Attached {
        /// A JSON object: `{"address": …, "greeting": …, "query-status": …, "query-name": …, …}`, each value as
        /// the VM gave it.
        snapshot: Cow<'a, str>,
    },
    /// The VM reported an event.
    Event {
        /// Name, such as `STOP`; see [`EventName`](crate::EventName).
        name: Cow<'a, str>,
        /// The name as the server wrote it, a JSON string; `None` if `name` says all of it.
        sent_name: Option<Cow<'a, str>>,
        /// The server's time.
        timestamp: Option<Timestamp>,
        /// `data`, byte for byte.
        data: Option<Cow<'a, str>>,
    },
    /// A correlator concluded something.
    Finding {
        /// Its kind, such as `sequel-missing`.
        finding: Cow<'a, str>,
        /// One sentence for people.
        summary: Cow<'a, str>,
        /// The records that caused it.
        causes: Causes,
        /// More, as a JSON object.
        data: Option<Cow<'a, str>>,
    },
    /// An epoch closed.
    Detached {
        /// Why.
        reason: DetachReason,
        /// What exactly, for people.
        detail: Option<Cow<'a, str>>,
        /// The end of what is certain, on the receiver's clock: everything received up to then is recorded. A gap
        /// begins here. `None` in a record of a release that did not write it.
        certain_until: Option<UnixMicros>,
    },
}

/// Identities of records of the same VM.
pub type Causes = Vec<(Epoch, Seq)>;

/// Why an epoch closed.
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
    /// `removed`: the hub was told to leave this VM, and goes on with the others.
    Removed,
    /// `records lost`: committed records of the journal's file are gone.
    RecordsLost,
    /// A reason that this release does not know, as it was written.
    Other(Box<str>),
}

impl DetachReason {
    /// Reads the text of a record.
    #[must_use]
    pub fn from_wire(text: &str) -> Self {
        match text {
            "peer closed" => Self::PeerClosed,
            "overrun" => Self::Overrun,
            "hub stopped" => Self::HubStopped,
            "protocol error" => Self::ProtocolError,
            "removed" => Self::Removed,
            "records lost" => Self::RecordsLost,
            other => Self::Other(other.into()),
        }
    }

    /// The text in a record, and for people.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::PeerClosed => "peer closed",
            Self::Overrun => "overrun",
            Self::HubStopped => "hub stopped",
            Self::ProtocolError => "protocol error",
            Self::Removed => "removed",
            Self::RecordsLost => "records lost",
            Self::Other(text) => text,
        }
    }
}

impl fmt::Display for DetachReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What `detail` of an epoch that its hub left open ended with, before records had `certain_until`.
const CERTAIN_SINCE: &str = "nothing is certain since ";

impl Record<'_> {
    /// Where the gap begins that a `detached` record opens; `None` for other kinds.
    ///
    /// A record without the member says it in its detail if a killed hub left the epoch open, and else ended the epoch
    /// at its own receipt.
    #[must_use]
    pub fn certain_until(&self) -> Option<UnixMicros> {
        let Body::Detached { detail, certain_until, .. } = &self.body else { return None };
        let told = || detail.as_deref()?.rsplit_once(CERTAIN_SINCE)?.1.parse().ok();
        Some(certain_until.or_else(told).unwrap_or(self.received))
    }

    /// The same record, owning its parts.
    #[must_use]
    pub fn into_owned(self) -> Record<'static> {
        let Record { offset, vm, epoch, seq, received, body } = self;
        Record { offset, vm: owned(vm), epoch, seq, received, body: body.into_owned() }
    }
}

impl Body<'_> {
    /// The word that tells the kinds of records apart: `attached`, `event`, `finding` or `detached`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Attached { .. } => "attached",
            Self::Event { .. } => "event",
            Self::Finding { .. } => "finding",
            Self::Detached { .. } => "detached",
        }
    }

    /// The event, if it is one.
    #[must_use]
    pub fn as_event(&self) -> Option<RawEvent<'_>> {
        let Self::Event { name, sent_name, timestamp, data } = self else { return None };
        Some(RawEvent {
            name: Cow::Borrowed(name),
            sent_name: sent_name.as_deref(),
            timestamp: *timestamp,
            data: data.as_deref(),
        })
    }

    /// The same body, owning its parts.
    #[must_use]
    pub fn into_owned(self) -> Body<'static> {
        match self {
            Self::Attached { snapshot } => Body::Attached { snapshot: owned(snapshot) },
            Self::Event { name, sent_name, timestamp, data } => Body::Event {
                name: owned(name),
                sent_name: sent_name.map(owned),
                timestamp,
                data: data.map(owned),
            },
            Self::Finding { finding, summary, causes, data } => Body::Finding {
                finding: owned(finding),
                summary: owned(summary),
                causes,
                data: data.map(owned),
            },
            Self::Detached { reason, detail, certain_until } => {
                Body::Detached { reason, detail: detail.map(owned), certain_until }
            }
        }
    }
}

fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}
