//! Reads a recording from a capture of a monitor's output.

use std::{collections::VecDeque, time::Duration};

use qmp_wire::{CommandError, Message, RawEvent};
use serde::Deserialize;
use serde_json::Value;

use super::session::Session;

/// The part of a capture read so far.
#[derive(Debug, Default)]
pub(super) struct Capture {
    sessions: Vec<Session>,
    /// Messages before the first greeting.
    early: Vec<Box<str>>,
    /// Whether a message of a monitor was read.
    has_messages: bool,
    requests: VecDeque<Request>,
    /// The time of the first event of the session.
    begin: Option<Duration>,
}

/// A request of the client.
#[derive(Debug, Deserialize)]
struct Request {
    #[serde(alias = "exec-oob")]
    execute: Box<str>,
    id: Option<Value>,
}

impl Capture {
    /// Adds the next message, with its text `raw`.
    pub(super) fn push(&mut self, message: &Message<'_>, raw: &str) {
        match message {
            Message::Greeting(_) => self.greeting(raw),
            Message::Event(event) => self.event(event, raw),
            Message::Return { id, value } => self.reply(*id, Ok(value)),
            Message::Error { id, error } => self.reply(*id, Err(error.clone())),
            Message::Unknown(_) => self.requests.extend(serde_json::from_str::<Request>(raw)),
        }
    }

    pub(super) fn finish(mut self) -> Vec<Session> {
        if !self.early.is_empty() {
            // A capture of events alone: they are the recording, not early events.
            self.begin_session(Session::new(None));
            for message in std::mem::take(&mut self.early) {
                if let Ok(Message::Event(event)) = Message::parse(message.as_bytes()) {
                    self.event(&event, &message);
                }
            }
        } else if self.has_messages && self.sessions.is_empty() {
            self.sessions.push(Session::new(None));
        }
        self.sessions
    }

    fn greeting(&mut self, raw: &str) {
        let mut session = Session::new(Some(raw.into()));
        for message in self.early.drain(..) {
            session.early.extend_from_slice(message.as_bytes());
            session.early.extend_from_slice(b"\r\n");
        }
        self.begin_session(session);
    }

    fn begin_session(&mut self, session: Session) {
        // The monitor sent another greeting: the previous connection had ended.
        if let Some(previous) = self.sessions.last_mut() {
            previous.end_at = Some(previous.events.last().map(|event| event.at).unwrap_or_default());
        }
        self.sessions.push(session);
        self.requests.clear();
        self.begin = None;
    }

    fn event(&mut self, event: &RawEvent<'_>, raw: &str) {
        let Some(session) = self.sessions.last_mut() else {
            self.early.push(raw.into());
            return;
        };
        let last = session.events.last().map(|event| event.at).unwrap_or_default();
        let at = event
            .timestamp
            .and_then(since_epoch)
            .map(|time| time.saturating_sub(*self.begin.get_or_insert(time)));
        session.push(at.unwrap_or(last), raw);
    }

    fn reply(&mut self, id: Option<&str>, reply: Result<&str, CommandError>) {
        self.has_messages = true;
        let id = id.and_then(|id| serde_json::from_str::<Value>(id).ok());
        let Some(index) = self.requests.iter().position(|request| request.id == id) else { return };
        let (Some(request), Some(session)) = (self.requests.remove(index), self.sessions.last_mut()) else {
            return;
        };
        if &*request.execute != "qmp_capabilities" {
            session.replies.note(&request.execute, reply);
        }
    }
}

fn since_epoch(timestamp: qmp_wire::Timestamp) -> Option<Duration> {
    let seconds = u64::try_from(timestamp.seconds()).ok()?;
    Some(Duration::from_secs(seconds) + Duration::from_micros(timestamp.microseconds().into()))
}
