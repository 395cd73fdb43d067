//! The publishing side: a window of acknowledgements, and two cursors.
//!
//! *Published* is the highest offset up to which all messages are acknowledged, *confirmed* the offset up to which a fleet
//! hub has committed. An acknowledgement is not final: the server may lose what it has not synced. The publisher goes
//! back to the confirmed cursor if the stream is younger or shorter than the acknowledgements say, if a fleet hub asks
//! for it, or if the confirmation stays behind. Without any confirmation, which is so before the first fleet hub runs,
//! it goes back to its beginning, and only for the stream.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use qmp_wire::Offset;
use serde::{Deserialize, Serialize};

use super::confirmation::Confirmation;
use super::link::Link;

/// Messages that wait for their acknowledgement at once, unless the configuration says otherwise: enough to keep a
/// server busy over a round trip of 10 ms.
pub const PUBLISH_WINDOW: usize = 1_024;

/// How long the confirmation may stay behind the published cursor without an advance, before the publisher goes back. Each
/// further time takes twice as long: if no fleet hub runs, repetitions have no reader.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest such time.
const CONFIRM_TIMEOUT_MAX: Duration = Duration::from_secs(3_600);

/// The shortest time between two repetitions that fleet hubs ask for: a repetition takes a while.
const REQUEST_INTERVAL: Duration = Duration::from_secs(10);

/// What a stream must still have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamMark {
    /// The time of its creation, as the server writes it.
    pub created: Box<str>,
    /// The sequence number of its first message.
    pub first: u64,
    /// The sequence number of its last message, or of the last acknowledged one.
    pub last: u64,
}

/// The state of a publisher that outlives the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublisherState {
    /// The offset after which the publisher began; `None` before the first record.
    pub begin: Option<u64>,
    /// The offset of the last record up to which all are acknowledged; 0 if there is none.
    pub published: u64,
    /// The last confirmation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<u64>,
    /// The stream that acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamMark>,
}

/// Why a publisher goes back to its confirmed cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepeatCause {
    /// The stream was created after it had acknowledged.
    StreamYounger,
    /// The stream has lost acknowledged messages.
    StreamShorter,
    /// A fleet hub has found a hole.
    Requested,
    /// The confirmation did not advance.
    Unconfirmed,
}

impl fmt::Display for RepeatCause {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::StreamYounger => "the stream was deleted and created again",
            Self::StreamShorter => "the stream has lost acknowledged messages",
            Self::Requested => "a fleet hub has found a hole",
            Self::Unconfirmed => "no fleet hub has confirmed the messages",
        })
    }
}

/// A message without its acknowledgement, or with one that arrived before that of an earlier message.
#[derive(Debug)]
struct InFlight {
    offset: Offset,
    is_acknowledged: bool,
}

/// Decides what is published, and what is published again. Holds no clock.
#[derive(Debug)]
pub struct Publisher {
    journal: Box<str>,
    window: usize,
    state: PublisherState,
    /// The offset of the last record that was handed to the server.
    last: Offset,
    /// The highest such offset, also before the publisher went back.
    highest: Offset,
    /// A confirmation of more than that.
    ahead: Option<Offset>,
    in_flight: VecDeque<InFlight>,
    /// Since when the confirmation is behind without an advance.
    unconfirmed_since: Option<Instant>,
    confirm_timeout: Duration,
    requested_at: Option<Instant>,
    repeat: Option<RepeatCause>,
}

impl Publisher {
    /// A publisher of `journal` that continues at `state`.
    #[must_use]
    pub fn new(journal: &str, window: usize, state: PublisherState) -> Self {
        Self {
            journal: journal.into(),
            window: window.max(1),
            last: Offset(state.published),
            highest: Offset(state.published.max(state.confirmed.unwrap_or(0))),
            ahead: None,
            state,
            in_flight: VecDeque::new(),
            unconfirmed_since: None,
            confirm_timeout: CONFIRM_TIMEOUT,
            requested_at: None,
            repeat: None,
        }
    }

    /// Registers the record at `offset` as handed to the server, and returns its link.
    pub fn publish(&mut self, offset: Offset) -> Link {
        self.state.begin.get_or_insert(offset.0.saturating_sub(1));
        let link = self.link(offset);
        self.in_flight.push_back(InFlight { offset, is_acknowledged: false });
        self.last = offset;
        self.highest = self.highest.max(offset);
        if let Some(confirmed) = self.ahead.take_if(|ahead| *ahead <= self.highest) {
            self.state.confirmed = Some(confirmed.0);
        }
        link
    }

    /// The server has acknowledged the record at `offset` as the message `sequence` of the stream.
    pub fn acknowledge(&mut self, offset: Offset, sequence: u64, now: Instant) {
        if let Ok(index) = self.in_flight.binary_search_by_key(&offset, |message| message.offset) {
            self.in_flight[index].is_acknowledged = true;
        }
        while let Some(&InFlight { offset, is_acknowledged: true }) = self.in_flight.front() {
            self.in_flight.pop_front();
            self.state.published = offset.0;
        }
        if let Some(stream) = &mut self.state.stream {
            stream.last = stream.last.max(sequence);
        }
        if self.is_unconfirmed() {
            self.unconfirmed_since.get_or_insert(now);
        }
    }

    /// Begins to publish the records at `offsets`, and returns how many of them, from the first on, are in flight already. If
    /// the first is not after the published cursor, the offset before it is unknown, and the publisher goes back.
    pub fn begin(&mut self, offsets: &[Offset]) -> usize {
        if offsets.first().is_some_and(|first| first.0 <= self.state.published) {
            self.repeat.get_or_insert(RepeatCause::Requested);
        }
        let in_flight = self.in_flight.iter().map(|message| message.offset);
        if self.in_flight.len() <= offsets.len()
            && in_flight.eq(offsets[..self.in_flight.len()].iter().copied())
        {
            return self.in_flight.len();
        }
        self.abandon();
        0
    }

    /// Gives up the messages without an acknowledgement: the caller publishes them again.
    pub fn abandon(&mut self) {
        self.in_flight.clear();
        self.last = Offset(self.state.published);
    }

    /// Compares the stream with the acknowledgements.
    pub fn observe_stream(&mut self, seen: StreamMark) {
        let cause = match &self.state.stream {
            Some(known) if known.created != seen.created => Some(RepeatCause::StreamYounger),
            Some(known) if seen.last < known.last || seen.first < known.first => {
                Some(RepeatCause::StreamShorter)
            }
            _ => None,
        };
        // Nothing was published: there is nothing to repeat.
        if let Some(cause) = cause.filter(|_| self.state.published > 0) {
            self.repeat = Some(cause);
        }
        self.state.stream = Some(seen);
    }

    /// Takes a confirmation; one of another journal is ignored, and one of records that were not published is [ahead](Self::ahead).
    pub fn confirm(&mut self, confirmation: &Confirmation, now: Instant) {
        if confirmation.journal != self.journal {
            return;
        }
        if confirmation.offset > self.highest {
            self.ahead = Some(confirmation.offset);
            return;
        }
        let offset = confirmation.offset.0;
        if self.state.confirmed != Some(offset) {
            self.state.confirmed = Some(offset);
            self.confirm_timeout = CONFIRM_TIMEOUT;
            self.unconfirmed_since = self.is_unconfirmed().then_some(now);
        }
        let is_recent = self.requested_at.is_some_and(|at| now < at + REQUEST_INTERVAL);
        if confirmation.again && self.is_unconfirmed() && !is_recent {
            self.requested_at = Some(now);
            self.repeat = Some(RepeatCause::Requested);
        }
    }

    /// Takes the passage of time.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.next_timeout().is_some_and(|at| at <= now) {
            self.unconfirmed_since = None;
            self.confirm_timeout = (self.confirm_timeout * 2).min(CONFIRM_TIMEOUT_MAX);
            self.repeat = Some(RepeatCause::Unconfirmed);
        }
    }

    /// Goes back, if there is a cause: returns the offset after which the caller publishes again.
    pub fn poll_repeat(&mut self) -> Option<(Offset, RepeatCause)> {
        let cause = self.repeat.take()?;
        self.state.published = self.state.confirmed.unwrap_or(0);
        self.abandon();
        self.unconfirmed_since = None;
        let after = self.state.confirmed.or(self.state.begin).unwrap_or(0);
        Some((Offset(after), cause))
    }

    /// Why the publisher is about to go back; nothing must be published before
    /// [`poll_repeat`](Self::poll_repeat).
    #[must_use]
    pub const fn repeat_cause(&self) -> Option<RepeatCause> {
        self.repeat
    }

    /// The offset up to which a fleet hub has committed records of this journal, if this publisher has published less: the journal was
    /// replaced by an older copy, and its new records will count as repetitions.
    #[must_use]
    pub const fn ahead(&self) -> Option<Offset> {
        self.ahead
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.unconfirmed_since.map(|since| since + self.confirm_timeout)
    }

    /// The link of the record at `offset`, if it is the next to be published.
    #[must_use]
    pub const fn link(&self, offset: Offset) -> Link {
        Link { previous: self.last, offset }
    }

    /// Whether a further message fits into the window.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.in_flight.len() < self.window
    }

    /// Whether messages wait for their acknowledgement.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// The state that outlives the process.
    #[must_use]
    pub const fn state(&self) -> &PublisherState {
        &self.state
    }

    fn is_unconfirmed(&self) -> bool {
        self.state.confirmed.is_some_and(|confirmed| confirmed < self.state.published)
    }
}

#[cfg(test)]
mod tests;
