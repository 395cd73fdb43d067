//! Parses a record from its line of JSON.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::body::{Body, Epoch, Offset, Record, Seq};
use super::detach_reason::DetachReason;
use super::error::RecordError;
use crate::event_name::EventName;
use crate::qualified_name::QualifiedName;
use crate::timestamp::Timestamp;

/// The line of any kind; unknown members are ignored.
#[derive(Deserialize)]
struct Line<'a> {
    offset: Option<u64>,
    #[serde(borrow)]
    host: Option<Cow<'a, str>>,
    #[serde(borrow)]
    vm: Cow<'a, str>,
    epoch: u32,
    seq: u64,
    #[serde(borrow)]
    received: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    sent_name: Option<&'a RawValue>,
    timestamp: Option<Time>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    snapshot: Option<&'a RawValue>,
    finding: Option<String>,
    summary: Option<String>,
    causes: Option<Vec<(u32, u64)>>,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    detail: Option<String>,
    #[serde(borrow)]
    certain_until: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Time {
    seconds: i64,
    microseconds: i64,
}

/// Distinguishes a member with the value `null` from a missing one.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

impl Record<'_> {
    /// Parses the output of [`write_json`](Self::write_json): members in any order, unknown ones ignored.
    ///
    /// # Errors
    ///
    /// [`RecordError`] names the missing or invalid member.
    pub fn from_json(line: &str) -> Result<Record<'static>, RecordError> {
        let line: Line<'_> = serde_json::from_str(line).map_err(|error| invalid(&error.to_string()))?;
        Ok(Record {
            offset: line.offset.map(Offset),
            vm: Cow::Owned(line.vm()?),
            epoch: Epoch(line.epoch),
            seq: Seq(line.seq),
            received: line.received.parse()?,
            body: line.body()?,
        })
    }
}

impl Line<'_> {
    /// The name by which a journal keys the VM.
    fn vm(&self) -> Result<String, RecordError> {
        let Some(host) = self.host.as_deref() else { return Ok(self.vm.clone().into_owned()) };
        let refused = || invalid(&format!("`host` {host:?} and `vm` {:?} do not name a VM", self.vm));
        QualifiedName::join(host, &self.vm).ok_or_else(refused)
    }

    fn body(self) -> Result<Body<'static>, RecordError> {
        match self.kind.as_ref() {
            "attached" => {
                let snapshot = self.snapshot.ok_or_else(|| missing("snapshot"))?;
                Ok(Body::Attached { snapshot: raw(snapshot) })
            }
            "event" => {
                let event = self.event.ok_or_else(|| missing("event"))?.get();
                let event = EventName::from_json(event).ok_or_else(|| invalid("`event` is not a string"))?;
                let name = Cow::Owned(event.name.into_owned());
                let sent = self.sent_name.map(raw).filter(|sent| sent.starts_with('"'));
                let sent_name = sent.or(event.sent.map(|sent| Cow::Owned(sent.into_owned())));
                let timestamp = self.timestamp.map_or(Ok(None), Time::read)?;
                Ok(Body::Event { name, sent_name, timestamp, data: self.data.map(raw) })
            }
            "finding" => {
                let causes = self.causes.ok_or_else(|| missing("causes"))?;
                Ok(Body::Finding {
                    finding: self.finding.ok_or_else(|| missing("finding"))?.into(),
                    summary: self.summary.ok_or_else(|| missing("summary"))?.into(),
                    causes: causes.into_iter().map(|(epoch, seq)| (Epoch(epoch), Seq(seq))).collect(),
                    data: self.data.map(raw),
                })
            }
            "detached" => {
                let reason = self.reason.ok_or_else(|| missing("reason"))?;
                let reason = DetachReason::from_wire(&reason);
                let certain_until = self.certain_until.map(|time| time.parse()).transpose()?;
                Ok(Body::Detached { reason, detail: self.detail.map(Cow::Owned), certain_until })
            }
            kind => Err(invalid(&format!("unknown kind {kind:?}"))),
        }
    }
}

impl Time {
    fn read(self) -> Result<Option<Timestamp>, RecordError> {
        Timestamp::from_wire(self.seconds, self.microseconds).map_err(|error| invalid(&error.to_string()))
    }
}

fn raw(value: &RawValue) -> Cow<'static, str> {
    Cow::Owned(value.get().to_owned())
}

fn missing(member: &str) -> RecordError {
    invalid(&format!("missing field `{member}`"))
}

fn invalid(what: &str) -> RecordError {
    RecordError(what.into())
}
