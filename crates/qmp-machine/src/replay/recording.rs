//! What was recorded of one machine, session by session.

use std::{collections::BTreeSet, time::Duration};

use qmp_wire::{CaptureError, CaptureReader, CaptureValue, Record};

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

/// Makes a [`Recording`] of a capture that comes in pieces, or of records. Holds what is replayed, and nothing besides.
#[derive(Debug)]
pub struct RecordingBuilder {
    vm: Option<Box<str>>,
    reader: CaptureReader,
    capture: Capture,
    records: Records,
    /// The VMs of which there are records.
    vms: BTreeSet<String>,
}

impl RecordingBuilder {
    /// A builder that keeps the records of `vm`; `None` if all are of the same VM.
    #[must_use]
    pub fn new(vm: Option<&str>) -> Self {
        Self {
            vm: vm.map(Box::from),
            reader: CaptureReader::new(),
            capture: Capture::default(),
            records: Records::default(),
            vms: BTreeSet::new(),
        }
    }

    /// Takes the next piece of a capture, cut anywhere. See [`Recording::read`].
    ///
    /// # Errors
    ///
    /// [`RecordingError::Broken`].
    pub fn push(&mut self, piece: &[u8]) -> Result<(), RecordingError> {
        self.reader.push(piece);
        while let Some(entry) = self.reader.next_entry()? {
            match entry.value {
                CaptureValue::Message(message) => self.capture.push(&message, entry.text),
                CaptureValue::Record(record) => {
                    note(&record, self.vm.as_deref(), &mut self.records, &mut self.vms);
                }
            }
        }
        Ok(())
    }

    /// Takes the next record.
    pub fn record(&mut self, record: &Record<'_>) {
        note(record, self.vm.as_deref(), &mut self.records, &mut self.vms);
    }

    /// The recording, when everything was handed in.
    ///
    /// # Errors
    ///
    /// Any [`RecordingError`].
    pub fn finish(mut self) -> Result<Recording, RecordingError> {
        self.reader.finish()?;
        let sessions = self.capture.finish();
        if !sessions.is_empty() {
            return Ok(Recording { sessions });
        }
        let vms: Vec<String> = self.vms.into_iter().collect();
        let sessions = self.records.finish();
        match self.vm {
            _ if vms.is_empty() => Err(RecordingError::Empty),
            None if vms.len() > 1 => Err(RecordingError::Several { vms }),
            Some(vm) if !vms.iter().any(|name| **name == *vm) => Err(RecordingError::NoSuchVm { vm, vms }),
            _ if sessions.is_empty() => Err(RecordingError::Empty),
            _ => Ok(Recording { sessions }),
        }
    }
}

fn note(record: &Record<'_>, vm: Option<&str>, records: &mut Records, vms: &mut BTreeSet<String>) {
    if !vms.contains(record.vm.as_ref()) {
        vms.insert(record.vm.to_string());
    }
    // Without a name, records of several VMs are refused in the end: those of the second one need not be kept.
    if vm.map_or(vms.len() == 1, |vm| *vm == record.vm) {
        records.push(record);
    }
}

impl From<CaptureError> for RecordingError {
    fn from(error: CaptureError) -> Self {
        Self::Broken { line: error.line, what: error.fault.to_string().into() }
    }
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
        let mut builder = RecordingBuilder::new(vm);
        builder.push(bytes)?;
        builder.finish()
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

#[cfg(test)]
mod tests;
