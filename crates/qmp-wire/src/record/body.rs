//! A record: its identity and its content.

use std::borrow::Cow;

use super::detach_reason::DetachReason;
use super::instant::UnixMicros;
use crate::message::RawEvent;
use crate::timestamp::Timestamp;

/// The position of a record in one journal. The first is 1; 0 is before all records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

/// A span of certainty of one VM, counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

/// The position of a record in its epoch. `attached` is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

/// The first number of the records that a hub adds to those of a VM of another host: this one and the record's offset, so that
/// no two are the same. The VM's own hub would take 140 years at a million records a second to get here, and a browser holds
/// the sum exactly.
pub const ADDED_SEQ_FIRST: u64 = 1 << 52;

impl Seq {
    /// Whether a hub added the record to those of a VM of another host: it is not in the sequence of the others.
    #[must_use]
    pub const fn is_added(self) -> bool {
        self.0 >= ADDED_SEQ_FIRST
    }
}

/// One record. Its identity is (vm, epoch, seq), the same in every copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// `None` if the record is in no journal (`qmp tail` straight from a socket).
    pub offset: Option<Offset>,
    /// The name by which the journal keys the VM; a [`QualifiedName`](crate::QualifiedName) for a VM of another host.
    pub vm: Cow<'a, str>,
    /// Span of certainty.
    pub epoch: Epoch,
    /// Position in the epoch.
    pub seq: Seq,
    /// Time of reception, on the receiver's clock.
    pub received: UnixMicros,
    /// The content.
    pub body: Body<'a>,
}

/// The content of a record. Raw JSON is kept byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// An epoch opened.
    Attached {
        /// A JSON object: `{"address": …, "greeting": …, "query-status": …, "query-name": …, …}`, each value as the
        /// VM sent it.
        snapshot: Cow<'a, str>,
    },
    /// The VM reported an event.
    Event {
        /// Name, such as `STOP`; see [`EventName`](crate::EventName).
        name: Cow<'a, str>,
        /// The name as the server wrote it, a JSON string; `None` if `name` is complete.
        sent_name: Option<Cow<'a, str>>,
        /// The server's time.
        timestamp: Option<Timestamp>,
        /// `data`, byte for byte.
        data: Option<Cow<'a, str>>,
    },
    /// A conclusion of a correlator.
    Finding {
        /// Its kind, such as `sequel-missing`.
        finding: Cow<'a, str>,
        /// One sentence for users.
        summary: Cow<'a, str>,
        /// The records that caused it.
        causes: Causes,
        /// More information, as a JSON object.
        data: Option<Cow<'a, str>>,
    },
    /// An epoch closed.
    Detached {
        /// The reason.
        reason: DetachReason,
        /// The exact cause, for users.
        detail: Option<Cow<'a, str>>,
        /// The end of the certain period, on the receiver's clock: everything received until then is recorded. A
        /// gap begins here. `None` in a record of a release that did not write it.
        certain_until: Option<UnixMicros>,
    },
}

/// Identities of records of the same VM.
pub type Causes = Vec<(Epoch, Seq)>;

/// The `detail` of an epoch that its hub left open ended with this text before records had `certain_until`.
const CERTAIN_SINCE: &str = "nothing is certain since ";

impl Record<'_> {
    /// Returns the start of the gap that a `detached` record opens; `None` for other kinds.
    ///
    /// In a record without the member, the detail contains the time if a killed hub left the epoch open; else the
    /// epoch ended when the record was received.
    #[must_use]
    pub fn certain_until(&self) -> Option<UnixMicros> {
        let Body::Detached { detail, certain_until, .. } = &self.body else { return None };
        let from_detail = || detail.as_deref()?.rsplit_once(CERTAIN_SINCE)?.1.parse().ok();
        Some(certain_until.or_else(from_detail).unwrap_or(self.received))
    }

    /// Returns the same record, owning its parts.
    #[must_use]
    pub fn into_owned(self) -> Record<'static> {
        let Record { offset, vm, epoch, seq, received, body } = self;
        Record { offset, vm: owned(vm), epoch, seq, received, body: body.into_owned() }
    }
}

impl Body<'_> {
    /// Returns the name of the record's kind: `attached`, `event`, `finding` or `detached`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Attached { .. } => "attached",
            Self::Event { .. } => "event",
            Self::Finding { .. } => "finding",
            Self::Detached { .. } => "detached",
        }
    }

    /// Returns the event, if the record is one.
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

    /// Returns the same body, owning its parts.
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
