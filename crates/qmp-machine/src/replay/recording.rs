//! What was recorded of one machine, session by session.

use std::{collections::BTreeSet, time::Duration};

use qmp_wire::{Message, Record};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{answers::Answers, capture::Capture, records::Records};

/// What a monitor said, from greeting to end, once or several times.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    pub(super) sessions: Vec<Session>,
}

/// What a monitor said on one connection.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Session {
    /// What came before the greeting.
    pub(super) early: Vec<u8>,
    /// The greeting, without a line end, if it was recorded.
    pub(super) greeting: Option<Box<str>>,
    /// In order, each with its line end.
    pub(super) events: Vec<Recorded>,
    pub(super) answers: Answers,
    /// When the connection ended, if that was recorded.
    pub(super) end_at: Option<Duration>,
}

/// An event, and when it came, counted from the beginning of its session.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Recorded {
    pub(super) at: Duration,
    pub(super) bytes: Vec<u8>,
}

/// Errors of reading a recording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// It breaks off, or something stands there that no monitor says.
    #[error("line {line}: {what}")]
    Broken {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        what: Box<str>,
    },
    /// It has no message of a monitor and no record.
    #[error("nothing is recorded there")]
    Empty,
    /// It is of several machines, and nobody says which is meant.
    #[error("it is of several VMs, {}: say which", .vms.join(", "))]
    Several {
        /// Their names.
        vms: Vec<String>,
    },
    /// It is of other machines.
    #[error("nothing of {vm} is recorded there; it is of {}", .vms.join(", "))]
    NoSuchVm {
        /// The name that was asked for.
        vm: Box<str>,
        /// Those that there are.
        vms: Vec<String>,
    },
}

impl Session {
    pub(super) fn new(greeting: Option<Box<str>>) -> Self {
        Self { early: Vec::new(), greeting, events: Vec::new(), answers: Answers::default(), end_at: None }
    }

    /// Adds an event. Time never runs backwards: what is older than the one before comes with it.
    pub(super) fn push(&mut self, at: Duration, message: &str) {
        let at = self.events.last().map_or(at, |last| at.max(last.at));
        let mut bytes = message.as_bytes().to_vec();
        bytes.extend_from_slice(b"\r\n");
        self.events.push(Recorded { at, bytes });
    }
}

/// The members that tell records from messages.
#[derive(Deserialize)]
struct Probe<'a> {
    #[serde(borrow)]
    vm: Option<&'a RawValue>,
    kind: Option<&'a RawValue>,
}

impl Recording {
    /// Reads a capture: what a monitor said (greeting, replies, events), one JSON value after another, whatever blanks
    /// are between them. What the client said may stand there, too; then its commands are answered as they were.
    ///
    /// Or JSON Lines of records, as `qmp log --json` prints them: those of `vm`, which may be left out if there is one.
    ///
    /// # Errors
    ///
    /// Any [`RecordingError`].
    pub fn read(bytes: &[u8], vm: Option<&str>) -> Result<Self, RecordingError> {
        // A byte order mark is what some editors put in front.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<&RawValue>();
        let (mut capture, mut records) = (Capture::default(), Vec::new());
        loop {
            let start = values.byte_offset();
            let broken =
                |what: String| RecordingError::Broken { line: line_of(bytes, start), what: what.into() };
            let value = match values.next() {
                None => break,
                Some(value) => value.map_err(|error| broken(error.to_string()))?.get(),
            };
            if let Ok(Probe { vm: Some(_), kind: Some(_) }) = serde_json::from_str(value) {
                records.push(Record::from_json(value).map_err(|error| broken(error.to_string()))?);
            } else {
                let message = Message::parse(value.as_bytes()).map_err(|error| broken(error.to_string()))?;
                capture.push(&message, value);
            }
        }
        match capture.finish() {
            sessions if !sessions.is_empty() => Ok(Self { sessions }),
            _ => Self::from_records(records, vm),
        }
    }

    /// What records tell of `vm`, which may be left out if they are of one.
    ///
    /// # Errors
    ///
    /// [`RecordingError::Empty`], [`RecordingError::Several`] and [`RecordingError::NoSuchVm`].
    pub fn from_records<'r>(
        records: impl IntoIterator<Item = Record<'r>>,
        vm: Option<&str>,
    ) -> Result<Self, RecordingError> {
        let (mut found, mut vms) = (Records::default(), BTreeSet::new());
        for record in records {
            if vm.is_none_or(|vm| *vm == record.vm) {
                found.push(&record);
            }
            vms.insert(record.vm.into_owned());
        }
        let vms: Vec<String> = vms.into_iter().collect();
        let sessions = found.finish();
        match vm {
            _ if vms.is_empty() => Err(RecordingError::Empty),
            None if vms.len() > 1 => Err(RecordingError::Several { vms }),
            Some(vm) if !vms.iter().any(|name| name == vm) => {
                Err(RecordingError::NoSuchVm { vm: vm.into(), vms })
            }
            _ if sessions.is_empty() => Err(RecordingError::Empty),
            _ => Ok(Self { sessions }),
        }
    }

    /// How many events there are.
    #[must_use]
    pub fn events(&self) -> usize {
        self.sessions.iter().map(|session| session.events.len()).sum()
    }

    /// How many times a client has to come to see all of it.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.sessions.len()
    }

    /// How long it lasts, without the time between two connections.
    #[must_use]
    pub fn span(&self) -> Duration {
        let last = |session: &Session| session.events.last().map(|event| event.at).max(session.end_at);
        self.sessions.iter().filter_map(last).sum()
    }
}

/// The line in which a value stands that follows byte `start`, counted from 1.
fn line_of(bytes: &[u8], start: usize) -> usize {
    let blanks = bytes[start..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    1 + bytes[..start + blanks].iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests;
