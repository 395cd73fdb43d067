//! Conversion of a record's body to and from the columns of the file.
//!
//! | kind | `event`, `event_time` | `data` |
//! |---|---|---|
//! | attached | – | the snapshot, unchanged |
//! | event | name, the server's time | the event's `data`, byte for byte; NULL if it had none |
//! | finding | – | `{"finding": …, "summary": …, "causes": [[epoch, seq], …], "data": …}` |
//! | detached | – | `{"reason": …, "detail": …, "certain_until": …}` |

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use qmp_wire::{Body, Causes, DetachReason, Epoch, RecordError, Seq, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The kind of a record. The numbers are those of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    /// An event of the VM. 1, because SQLite stores that number in no bytes at all.
    Event = 1,
    /// An epoch opened.
    Attached = 2,
    /// A correlator's conclusion.
    Finding = 3,
    /// An epoch closed.
    Detached = 4,
}

impl RecordKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Event, Self::Attached, Self::Finding, Self::Detached];

    /// The kind of `body`.
    #[must_use]
    pub fn of(body: &Body<'_>) -> Self {
        match body {
            Body::Event { .. } => Self::Event,
            Body::Attached { .. } => Self::Attached,
            Body::Finding { .. } => Self::Finding,
            Body::Detached { .. } => Self::Detached,
        }
    }

    /// The name of the kind in records: `event`, `attached`, `finding`, `detached`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Attached => "attached",
            Self::Finding => "finding",
            Self::Detached => "detached",
        }
    }

    /// The id of the kind in the file.
    #[must_use]
    pub(crate) const fn id(self) -> u32 {
        self as u32
    }

    pub(crate) fn from_id(id: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| i64::from(kind.id()) == id)
    }
}

impl fmt::Display for RecordKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A text that names no kind of record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind {0:?}: one of attached, event, finding, detached")]
pub struct UnknownKind(pub Box<str>);

impl FromStr for RecordKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| UnknownKind(text.into()))
    }
}

#[derive(Serialize, Deserialize)]
struct FindingData<'a> {
    #[serde(borrow)]
    finding: Cow<'a, str>,
    #[serde(borrow)]
    summary: Cow<'a, str>,
    causes: Vec<(u32, u64)>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

#[derive(Serialize, Deserialize)]
struct DetachedData<'a> {
    #[serde(borrow)]
    reason: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    detail: Option<Cow<'a, str>>,
    /// RFC 3339, as in the record.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    certain_until: Option<Cow<'a, str>>,
}

pub(crate) fn timestamp(body: &Body<'_>) -> Option<Timestamp> {
    match body {
        Body::Event { timestamp, .. } => *timestamp,
        _ => None,
    }
}

/// Appends the `data` column of `body`; returns `false` when the column is NULL.
pub(crate) fn write_data(body: &Body<'_>, out: &mut String) -> bool {
    match body {
        Body::Event { data: None, .. } => return false,
        Body::Event { data: Some(data), .. } => out.push_str(data),
        Body::Attached { snapshot } => out.push_str(snapshot),
        Body::Detached { reason, detail, certain_until } => {
            let reason = reason.as_str().into();
            let detail = detail.as_deref().map(Cow::Borrowed);
            let certain_until = certain_until.map(|moment| moment.to_string().into());
            push_json(out, &DetachedData { reason, detail, certain_until });
        }
        Body::Finding { finding, summary, causes, data } => {
            let causes = causes.iter().map(|(epoch, seq)| (epoch.0, seq.0)).collect();
            let data = data.as_deref().map(as_json);
            let data = data.as_deref();
            let (finding, summary) = (finding.as_ref().into(), summary.as_ref().into());
            push_json(out, &FindingData { finding, summary, causes, data });
        }
    }
    true
}

/// The text as raw JSON; a text that is not JSON becomes a JSON string.
fn as_json(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned())
        .or_else(|_| serde_json::value::to_raw_value(text))
        .expect("a string can always be written as JSON")
}

fn push_json(out: &mut String, value: &impl Serialize) {
    out.push_str(&serde_json::to_string(value).expect("strings and numbers can be written as JSON"));
}

/// The body of a record from its columns, without what only its row or another table has; `None` if the columns make no
/// body. Texts of events and snapshots are not copied.
pub(crate) fn abridged<'a>(
    kind: RecordKind,
    event: Option<&'a str>,
    data: Option<&'a str>,
) -> Option<Body<'a>> {
    match kind {
        RecordKind::Event => Some(Body::Event {
            name: Cow::Borrowed(event?),
            sent_name: None,
            timestamp: None,
            data: data.map(Cow::Borrowed),
        }),
        RecordKind::Attached => Some(Body::Attached { snapshot: Cow::Borrowed(data?) }),
        RecordKind::Finding | RecordKind::Detached => read(kind, None, None, data).ok(),
    }
}

/// Reads a body from the columns.
///
/// # Errors
///
/// A text that names the column that is wrong.
pub(crate) fn read(
    kind: RecordKind,
    event: Option<(&str, Option<Box<str>>)>,
    timestamp: Option<Timestamp>,
    data: Option<&str>,
) -> Result<Body<'static>, String> {
    let owned = |text: &str| Cow::Owned(text.to_owned());
    match kind {
        RecordKind::Event => {
            let (name, sent_name) = event.ok_or("an event without a name")?;
            let sent_name = sent_name.map(|sent| Cow::Owned(sent.into()));
            Ok(Body::Event { name: owned(name), sent_name, timestamp, data: data.map(owned) })
        }
        RecordKind::Attached => {
            Ok(Body::Attached { snapshot: owned(data.ok_or("attached without a snapshot")?) })
        }
        RecordKind::Detached => {
            let data = data.ok_or("detached without a reason")?;
            let DetachedData { reason, detail, certain_until } =
                serde_json::from_str(data).map_err(|e| e.to_string())?;
            let certain_until = certain_until.map(|moment| moment.parse()).transpose();
            Ok(Body::Detached {
                reason: DetachReason::from_wire(&reason),
                detail: detail.as_deref().map(owned),
                certain_until: certain_until.map_err(|error: RecordError| error.to_string())?,
            })
        }
        RecordKind::Finding => {
            let data = data.ok_or("a finding without content")?;
            let finding: FindingData<'_> = serde_json::from_str(data).map_err(|e| e.to_string())?;
            let causes: Causes =
                finding.causes.into_iter().map(|(epoch, seq)| (Epoch(epoch), Seq(seq))).collect();
            let data = finding.data.map(|data| owned(data.get()));
            Ok(Body::Finding {
                finding: owned(&finding.finding),
                summary: owned(&finding.summary),
                causes,
                data,
            })
        }
    }
}
