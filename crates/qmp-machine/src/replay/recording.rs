//! The recording of one machine, by session.

use std::{collections::BTreeSet, time::Duration};

use qmp_wire::{CaptureError, CaptureReader, CaptureValue, Record};

use super::{capture::Capture, records::Records, session::Session};

/// The output of a monitor from greeting to end, once or several times.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    pub(super) sessions: Vec<Session>,
}

/// Errors of reading a recording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// The recording breaks off, or contains text that no monitor sends.
    #[error("line {line}: {what}")]
    Broken {
        /// The line, counted from 1.
        line: usize,
        /// The error.
        what: Box<str>,
    },
    /// The recording has no message of a monitor and no record.
    #[error("it contains no recording")]
    Empty,
    /// The recording is of several machines, and the caller named none.
    #[error("it contains several VMs, {}: name one", .vms.join(", "))]
    Several {
        /// Their names.
        vms: Vec<String>,
    },
    /// The recording has no record of that machine.
    #[error("it contains no records of {vm}, only of {}", .vms.join(", "))]
    NoSuchVm {
        /// The requested name.
        vm: Box<str>,
        /// The recorded names.
        vms: Vec<String>,
    },
}

/// Builds a [`Recording`] from a capture in pieces, or from records. Holds only the data that is replayed.
#[derive(Debug)]
pub struct RecordingBuilder {
    vm: Option<Box<str>>,
    reader: CaptureReader,
    capture: Capture,
    records: Records,
    /// The VMs of the records.
    vms: BTreeSet<String>,
}

impl RecordingBuilder {
    /// Creates a builder that keeps the records of `vm`; `None` if all are of the same VM.
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

    /// Adds the next piece of a capture, cut anywhere. See [`Recording::read`].
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

    /// Adds the next record.
    pub fn record(&mut self, record: &Record<'_>) {
        note(record, self.vm.as_deref(), &mut self.records, &mut self.vms);
    }

    /// Returns the recording after the last piece or record.
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
    // Without a name, records of several VMs are refused in the end: keep those of the first only.
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
    /// Reads a capture: the output of a monitor (greeting, replies, events), one JSON value after another, with any
    /// white space between them. The capture may contain the client's requests, too; then their recorded replies
    /// are replayed.
    ///
    /// Or reads JSON Lines of records, as `qmp log --json` prints them: those of `vm`, which may be left out if
    /// there is one VM.
    ///
    /// # Errors
    ///
    /// Any [`RecordingError`].
    pub fn read(bytes: &[u8], vm: Option<&str>) -> Result<Self, RecordingError> {
        let mut builder = RecordingBuilder::new(vm);
        builder.push(bytes)?;
        builder.finish()
    }

    /// Returns the number of events.
    #[must_use]
    pub fn events(&self) -> usize {
        self.sessions.iter().map(|session| session.events.len()).sum()
    }

    /// Returns the number of recorded connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.sessions.len()
    }

    /// Returns the duration, without the time between connections.
    #[must_use]
    pub fn span(&self) -> Duration {
        let last = |session: &Session| session.events.last().map(|event| event.at).max(session.end_at);
        self.sessions.iter().filter_map(last).sum()
    }
}

#[cfg(test)]
mod tests;
