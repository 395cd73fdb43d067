//! A record as the cells of a row, and back.

use std::borrow::Cow;
use std::fmt::Write as _;

use qmp_wire::{
    Body, Causes, DetachReason, Epoch, Offset, QualifiedName, Record, Seq, Timestamp, UnixMicros,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::columns::Column;

const MICROS_PER_SECOND: i64 = 1_000_000;

/// The origin of the records of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The journal that the offsets belong to.
    pub journal: Box<str>,
    /// The host of the VMs.
    pub host: Box<str>,
    /// Whether the VMs are of the journal's own host: their records have no host in the journal.
    pub is_local: bool,
}

/// A value of a column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Cell<'a> {
    #[default]
    Null,
    Number(i64),
    Text(Cow<'a, str>),
}

/// Returns the value of a record in a column.
pub(super) fn cell<'a>(column: Column, record: &'a Record<'_>, origin: &'a Origin) -> Cell<'a> {
    let text = |text: &'a str| Cell::Text(Cow::Borrowed(text));
    match column {
        Column::Offset => number(record.offset.unwrap_or_default().0),
        Column::Host => text(&origin.host),
        Column::Vm => text(if origin.is_local { &record.vm } else { QualifiedName::divide(&record.vm).1 }),
        Column::Epoch => Cell::Number(record.epoch.0.into()),
        Column::Seq => number(record.seq.0),
        Column::Received => Cell::Number(record.received.0),
        Column::Kind => text(record.body.kind()),
        _ => of_body(column, &record.body),
    }
}

fn of_body<'a>(column: Column, body: &'a Body<'_>) -> Cell<'a> {
    let text = |text: &'a str| Cell::Text(Cow::Borrowed(text));
    let optional = |value: &'a Option<Cow<'_, str>>| value.as_deref().map_or(Cell::Null, text);
    match (column, body) {
        (Column::Data, Body::Attached { snapshot }) => text(snapshot),
        (Column::Event, Body::Event { name, .. }) => text(name),
        (Column::SentName, Body::Event { sent_name, .. }) => optional(sent_name),
        (Column::Timestamp, Body::Event { timestamp: Some(time), .. }) => {
            micros(*time).map_or(Cell::Null, Cell::Number)
        }
        (Column::SentTimestamp, Body::Event { timestamp: Some(time), .. }) if micros(*time).is_none() => {
            let (seconds, microseconds) = (time.seconds(), time.microseconds());
            let json = format!("{{\"seconds\":{seconds},\"microseconds\":{microseconds}}}");
            Cell::Text(Cow::Owned(json))
        }
        (Column::Data, Body::Event { data, .. } | Body::Finding { data, .. }) => optional(data),
        (Column::Finding, Body::Finding { finding, .. }) => text(finding),
        (Column::Summary, Body::Finding { summary, .. }) => text(summary),
        (Column::Causes, Body::Finding { causes, .. }) => Cell::Text(Cow::Owned(causes_json(causes))),
        (Column::Reason, Body::Detached { reason, .. }) => text(reason.as_str()),
        (Column::Detail, Body::Detached { detail, .. }) => optional(detail),
        (Column::CertainUntil, Body::Detached { certain_until: Some(time), .. }) => Cell::Number(time.0),
        _ => Cell::Null,
    }
}

/// A number of a journal, which fits: SQLite has 63 bits, too.
fn number<'a>(number: u64) -> Cell<'a> {
    Cell::Number(i64::try_from(number).unwrap_or(i64::MAX))
}

/// The time of an event in microseconds; `None` if it is further from 1970 than 64 bits reach.
fn micros(time: Timestamp) -> Option<i64> {
    time.seconds().checked_mul(MICROS_PER_SECOND)?.checked_add(time.microseconds().into())
}

fn causes_json(causes: &Causes) -> String {
    let mut text = String::from("[");
    for (index, (epoch, seq)) in causes.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{comma}[{},{}]", epoch.0, seq.0);
    }
    text.push(']');
    text
}

/// The cells of a row, in the order of [`Column::ALL`].
pub(super) type Row = [Cell<'static>; Column::ALL.len()];

/// Returns the record of a row. `is_local`: its host is not a part of its name.
///
/// # Errors
///
/// The name of the column and what is wrong with its value.
pub(super) fn record(row: &mut Row, is_local: bool) -> Result<Record<'static>, String> {
    let mut row = RowReader(row);
    let offset = row.unsigned(Column::Offset)?;
    let host = row.optional(Column::Host).filter(|_| !is_local);
    let name = row.text(Column::Vm)?;
    let vm = match host {
        Some(host) => QualifiedName::join(&host, &name)
            .ok_or_else(|| invalid(Column::Host, &format!("{host:?} and `vm` {name:?} do not name a VM")))?,
        None => name,
    };
    let epoch =
        u32::try_from(row.unsigned(Column::Epoch)?).map_err(|_| invalid(Column::Epoch, "is too high"))?;
    Ok(Record {
        offset: Some(Offset(offset)),
        vm: vm.into(),
        epoch: Epoch(epoch),
        seq: Seq(row.unsigned(Column::Seq)?),
        received: UnixMicros(row.number(Column::Received)?),
        body: row.body()?,
    })
}

struct RowReader<'a>(&'a mut Row);

impl RowReader<'_> {
    fn body(&mut self) -> Result<Body<'static>, String> {
        let kind = self.text(Column::Kind)?;
        match kind.as_str() {
            "attached" => {
                let snapshot = self.json(Column::Data)?.ok_or_else(|| missing(Column::Data))?;
                Ok(Body::Attached { snapshot: snapshot.into() })
            }
            "event" => {
                let sent_name = self.json(Column::SentName)?;
                if sent_name.as_ref().is_some_and(|name| !name.starts_with('"')) {
                    return Err(invalid(Column::SentName, "is not a string of JSON"));
                }
                Ok(Body::Event {
                    name: self.text(Column::Event)?.into(),
                    sent_name: sent_name.map(Cow::Owned),
                    timestamp: self.timestamp()?,
                    data: self.json(Column::Data)?.map(Cow::Owned),
                })
            }
            "finding" => Ok(Body::Finding {
                finding: self.text(Column::Finding)?.into(),
                summary: self.text(Column::Summary)?.into(),
                causes: self.causes()?,
                data: self.json(Column::Data)?.map(Cow::Owned),
            }),
            "detached" => Ok(Body::Detached {
                reason: DetachReason::from_wire(&self.text(Column::Reason)?),
                detail: self.optional(Column::Detail).map(Cow::Owned),
                certain_until: match self.take(Column::CertainUntil) {
                    Cell::Number(micros) => Some(UnixMicros(micros)),
                    _ => None,
                },
            }),
            kind => Err(invalid(Column::Kind, &format!("has the unknown kind {kind:?}"))),
        }
    }

    fn timestamp(&mut self) -> Result<Option<Timestamp>, String> {
        #[derive(Deserialize)]
        struct Sent {
            seconds: i64,
            microseconds: i64,
        }
        let sent = match (self.take(Column::Timestamp), self.optional(Column::SentTimestamp)) {
            (Cell::Number(micros), _) => Sent {
                seconds: micros.div_euclid(MICROS_PER_SECOND),
                microseconds: micros.rem_euclid(MICROS_PER_SECOND),
            },
            (_, Some(json)) => serde_json::from_str(&json)
                .map_err(|error| invalid(Column::SentTimestamp, &format!("is no time: {error}")))?,
            (_, None) => return Ok(None),
        };
        Timestamp::from_wire(sent.seconds, sent.microseconds)
            .map_err(|error| invalid(Column::SentTimestamp, &format!("is no time: {error}")))
    }

    fn causes(&mut self) -> Result<Causes, String> {
        let json = self.text(Column::Causes)?;
        let causes: Vec<(u32, u64)> = serde_json::from_str(&json)
            .map_err(|error| invalid(Column::Causes, &format!("is no list of identities: {error}")))?;
        Ok(causes.into_iter().map(|(epoch, seq)| (Epoch(epoch), Seq(seq))).collect())
    }

    fn take(&mut self, column: Column) -> Cell<'static> {
        std::mem::take(&mut self.0[column as usize])
    }

    fn number(&mut self, column: Column) -> Result<i64, String> {
        match self.take(column) {
            Cell::Number(number) => Ok(number),
            _ => Err(missing(column)),
        }
    }

    fn unsigned(&mut self, column: Column) -> Result<u64, String> {
        u64::try_from(self.number(column)?).map_err(|_| invalid(column, "is negative"))
    }

    fn optional(&mut self, column: Column) -> Option<String> {
        match self.take(column) {
            Cell::Text(text) => Some(text.into_owned()),
            _ => None,
        }
    }

    fn text(&mut self, column: Column) -> Result<String, String> {
        self.optional(column).ok_or_else(|| missing(column))
    }

    fn json(&mut self, column: Column) -> Result<Option<String>, String> {
        let Some(text) = self.optional(column) else { return Ok(None) };
        serde_json::from_str::<&RawValue>(&text)
            .map_err(|error| invalid(column, &format!("is not JSON: {error}")))?;
        Ok(Some(text))
    }
}

fn missing(column: Column) -> String {
    invalid(column, "is missing")
}

fn invalid(column: Column, what: &str) -> String {
    format!("`{}` {what}", column.name())
}
