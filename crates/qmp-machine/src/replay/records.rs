//! Reads a recording from records of a journal.

use std::{borrow::Cow, time::Duration};

use qmp_wire::{Body, CommandError, Record, Timestamp, UnixMicros};
use serde::Deserialize;

use super::session::{Session, members};

/// The records of one machine read so far.
#[derive(Debug, Default)]
pub(super) struct Records {
    sessions: Vec<Session>,
    is_open: bool,
    /// Reception time of the session's first record.
    begin: Option<UnixMicros>,
}

impl Records {
    pub(super) fn push(&mut self, record: &Record<'_>) {
        match &record.body {
            Body::Attached { snapshot } => {
                self.close(record.received);
                self.begin(attached(snapshot), record.received);
            }
            Body::Event { name, sent_name, timestamp, data } => {
                if !self.is_open {
                    // The records before it are missing.
                    let greeting = self.sessions.last().and_then(|session| session.greeting.clone());
                    self.begin(Session::new(greeting), record.received);
                }
                let at = self.since_begin(record.received);
                if let Some(session) = self.sessions.last_mut() {
                    session.push(at, &message(name, sent_name.as_deref(), *timestamp, data.as_deref()));
                }
            }
            Body::Detached { .. } => self.close(record.received),
            Body::Finding { .. } => {}
        }
    }

    pub(super) fn finish(self) -> Vec<Session> {
        self.sessions
    }

    fn begin(&mut self, session: Session, received: UnixMicros) {
        self.sessions.push(session);
        self.begin = Some(received);
        self.is_open = true;
    }

    fn close(&mut self, received: UnixMicros) {
        if std::mem::take(&mut self.is_open) {
            let at = self.since_begin(received);
            if let Some(session) = self.sessions.last_mut() {
                session.end_at = Some(at);
            }
        }
    }

    fn since_begin(&self, received: UnixMicros) -> Duration {
        let begin = self.begin.unwrap_or(received);
        // The clock of the host may have been set back.
        Duration::from_micros(u64::try_from(received.0 - begin.0).unwrap_or(0))
    }
}

/// Returns the session that begins with this snapshot.
fn attached(snapshot: &str) -> Session {
    #[derive(Deserialize)]
    struct Error<'a> {
        #[serde(borrow)]
        class: Cow<'a, str>,
        #[serde(borrow)]
        desc: Cow<'a, str>,
    }
    let mut session = Session::new(None);
    for (name, value) in members(snapshot) {
        match name.as_str() {
            "address" => {}
            "greeting" => session.greeting = Some(format!("{{\"QMP\": {value}}}").into()),
            "errors" => {
                for (command, error) in members(value) {
                    if let Ok(Error { class, desc }) = serde_json::from_str(error) {
                        let error = CommandError { class: class.into(), desc: desc.into() };
                        session.replies.note(&command, Err(error));
                    }
                }
            }
            _ => session.replies.note(&name, Ok(value)),
        }
    }
    session
}

/// Formats the recorded message as QEMU prints it; the data are the recorded bytes.
fn message(name: &str, sent_name: Option<&str>, timestamp: Option<Timestamp>, data: Option<&str>) -> String {
    let mut message = String::from("{");
    if let Some(time) = timestamp {
        let (seconds, micros) = (time.seconds(), time.microseconds());
        message += &format!("\"timestamp\": {{\"seconds\": {seconds}, \"microseconds\": {micros}}}, ");
    }
    let printed = || serde_json::Value::from(name).to_string().into();
    let name: Cow<'_, str> = sent_name.map_or_else(printed, Cow::Borrowed);
    message += &format!("\"event\": {name}");
    if let Some(data) = data {
        message += &format!(", \"data\": {data}");
    }
    message + "}"
}
