//! The recorded output of a monitor on one connection.

use std::{collections::BTreeMap, time::Duration};

use serde_json::value::RawValue;

use super::replies::Replies;

/// The output of a monitor on one connection.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Session {
    /// Bytes before the greeting.
    pub(super) early: Vec<u8>,
    /// The greeting, without a line end, if it was recorded.
    pub(super) greeting: Option<Box<str>>,
    /// The events in order, each with its line end.
    pub(super) events: Vec<RecordedEvent>,
    pub(super) replies: Replies,
    /// Time of the end of the connection, if it was recorded.
    pub(super) end_at: Option<Duration>,
}

/// An event, and its time since the beginning of its session.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RecordedEvent {
    pub(super) at: Duration,
    pub(super) bytes: Vec<u8>,
}

impl Session {
    pub(super) fn new(greeting: Option<Box<str>>) -> Self {
        Self { early: Vec::new(), greeting, events: Vec::new(), replies: Replies::default(), end_at: None }
    }

    /// Adds an event. Times never decrease: an older timestamp counts as the previous one.
    pub(super) fn push(&mut self, at: Duration, message: &str) {
        let at = self.events.last().map_or(at, |last| at.max(last.at));
        let mut bytes = message.as_bytes().to_vec();
        bytes.extend_from_slice(b"\r\n");
        self.events.push(RecordedEvent { at, bytes });
    }
}

/// Returns the members of an object with their text.
pub(super) fn members(object: &str) -> Vec<(String, &str)> {
    serde_json::from_str::<BTreeMap<String, &RawValue>>(object)
        .map(|members| members.into_iter().map(|(name, value)| (name, value.get())).collect())
        .unwrap_or_default()
}
