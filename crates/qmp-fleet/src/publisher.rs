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
/// further time takes twice as long: if no fleet hub runs, repetitions help nobody.
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

    /// Begins to publish at the record `first`. If it is not after the published cursor, the offset before it is unknown, and
    /// the publisher goes back.
    pub fn begin_at(&mut self, first: Offset) {
        if first.0 <= self.state.published {
            self.repeat.get_or_insert(RepeatCause::Requested);
        }
        self.abandon();
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

    /// Takes a confirmation; one of another journal is ignored.
    pub fn confirm(&mut self, confirmation: &Confirmation, now: Instant) {
        if confirmation.journal != self.journal {
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mark(created: &str, first: u64, last: u64) -> StreamMark {
        StreamMark { created: created.into(), first, last }
    }

    /// A publisher of the journal `j` that has published the offsets, all acknowledged by the stream `a`.
    fn published(offsets: &[u64], now: Instant) -> Publisher {
        let mut publisher = Publisher::new("j", 4, PublisherState::default());
        publisher.observe_stream(mark("a", 1, 0));
        for (index, offset) in offsets.iter().enumerate() {
            publisher.publish(Offset(*offset));
            publisher.acknowledge(Offset(*offset), index as u64 + 1, now);
        }
        publisher
    }

    fn confirmation(offset: u64, again: bool) -> Confirmation {
        Confirmation { journal: "j".into(), offset: Offset(offset), again }
    }

    #[test]
    fn published_cursor_waits_for_the_oldest_acknowledgement() {
        let now = Instant::now();
        let mut publisher = published(&[], now);
        let links: Vec<_> = [3, 5, 9].map(|offset| publisher.publish(Offset(offset)).previous.0).to_vec();
        assert_eq!(links, [0, 3, 5]);
        for (acknowledged, expected) in [(5, 0), (5, 0), (7, 0), (3, 5), (9, 9)] {
            publisher.acknowledge(Offset(acknowledged), 1, now);
            assert_eq!(publisher.state().published, expected, "after {acknowledged}");
        }
        assert!(!publisher.is_waiting());
    }

    #[test]
    fn window_bounds_the_messages_without_acknowledgement() {
        let mut publisher = published(&[], Instant::now());
        for offset in 1..=4 {
            assert!(publisher.has_room());
            publisher.publish(Offset(offset));
        }
        assert!(!publisher.has_room());
        publisher.acknowledge(Offset(1), 1, Instant::now());
        assert!(publisher.has_room());
    }

    #[test]
    fn abandoned_messages_have_the_same_link_again() {
        let mut publisher = published(&[2], Instant::now());
        let first = publisher.publish(Offset(5));
        publisher.abandon();
        assert_eq!(publisher.publish(Offset(5)), first);
        let restored = Publisher::new("j", 4, publisher.state().clone()).publish(Offset(5));
        assert_eq!(restored, first, "after a restart, too");
    }

    #[test]
    fn lost_messages_are_published_again_from_the_confirmed_cursor() {
        let now = Instant::now();
        let cases = [
            ("the same", mark("a", 1, 3), None),
            ("messages of others", mark("a", 1, 9), None),
            ("old ones removed", mark("a", 3, 3), None),
            ("created again", mark("b", 1, 9), Some(RepeatCause::StreamYounger)),
            ("shorter", mark("a", 1, 2), Some(RepeatCause::StreamShorter)),
        ];
        for (case, seen, expected) in cases {
            for (confirmed, after, previous) in [(None, 3, 0), (Some(6), 6, 6)] {
                let mut publisher = published(&[4, 6, 8], now);
                if let Some(offset) = confirmed {
                    publisher.confirm(&confirmation(offset, false), now);
                }
                publisher.observe_stream(seen.clone());
                assert_eq!(publisher.repeat_cause(), expected, "{case}");
                let expected = expected.map(|cause| (Offset(after), cause));
                assert_eq!(publisher.poll_repeat(), expected, "{case}, {confirmed:?}");
                assert_eq!(publisher.poll_repeat(), None, "{case}");
                if expected.is_some() {
                    assert_eq!(publisher.publish(Offset(8)).previous, Offset(previous), "{case}");
                }
            }
        }
    }

    #[test]
    fn older_copy_with_messages_of_others_is_recognized_by_its_first() {
        let mut publisher = published(&[1, 2], Instant::now());
        publisher.observe_stream(mark("a", 5, 9));
        publisher.observe_stream(mark("a", 4, 12));
        assert_eq!(publisher.repeat_cause(), Some(RepeatCause::StreamShorter));
    }

    #[test]
    fn confirmation_that_does_not_advance_repeats_ever_less_often() {
        let start = Instant::now();
        let seconds = Duration::from_secs;
        let mut publisher = published(&[1, 2, 3], start);
        assert_eq!(publisher.next_timeout(), None, "no fleet hub has confirmed anything");
        publisher.confirm(&confirmation(1, false), start);
        let mut now = start;
        for wait in [60, 120, 240, 480, 960, 1_920, 3_600, 3_600] {
            assert_eq!(publisher.next_timeout(), Some(now + seconds(wait)));
            publisher.handle_timeout(now + seconds(wait - 1));
            assert_eq!(publisher.poll_repeat(), None);
            now += seconds(wait);
            publisher.handle_timeout(now);
            assert_eq!(publisher.poll_repeat(), Some((Offset(1), RepeatCause::Unconfirmed)));
            publisher.publish(Offset(2));
            publisher.acknowledge(Offset(2), 4, now);
        }
        publisher.confirm(&confirmation(2, false), now);
        assert_eq!(publisher.next_timeout(), None, "all is confirmed");
        publisher.publish(Offset(3));
        publisher.acknowledge(Offset(3), 5, now);
        assert_eq!(publisher.next_timeout(), Some(now + seconds(60)), "an advance restores the first time");
    }

    #[test]
    fn request_repeats_at_once_and_not_too_often() {
        let now = Instant::now();
        let mut publisher = published(&[1, 2, 3], now);
        publisher.confirm(&Confirmation { journal: "other".into(), ..confirmation(1, true) }, now);
        assert_eq!(publisher.poll_repeat(), None, "another journal");
        publisher.confirm(&confirmation(3, true), now);
        assert_eq!(publisher.poll_repeat(), None, "nothing is missing");
        publisher.confirm(&confirmation(1, true), now);
        assert_eq!(publisher.poll_repeat(), Some((Offset(1), RepeatCause::Requested)));
        publisher.publish(Offset(2));
        publisher.acknowledge(Offset(2), 4, now);
        publisher.confirm(&confirmation(1, true), now + Duration::from_secs(9));
        assert_eq!(publisher.poll_repeat(), None, "the repetition is under way");
        publisher.confirm(&confirmation(1, true), now + Duration::from_secs(10));
        assert_eq!(publisher.poll_repeat(), Some((Offset(1), RepeatCause::Requested)));
    }

    proptest! {
        /// Whatever the order of acknowledgements, the published cursor is the highest offset up to which all are acknowledged.
        #[test]
        fn published_cursor_is_the_highest_with_all_acknowledged(order in Just((1..=20_u64).collect::<Vec<_>>()).prop_shuffle(), count in 0..20_usize) {
            let now = Instant::now();
            let mut publisher = Publisher::new("j", 20, PublisherState::default());
            for offset in 1..=20 {
                publisher.publish(Offset(offset));
            }
            let acknowledged = &order[..count];
            for offset in acknowledged {
                publisher.acknowledge(Offset(*offset), *offset, now);
            }
            let expected = (1..=20).take_while(|offset| acknowledged.contains(offset)).last().unwrap_or(0);
            prop_assert_eq!(publisher.state().published, expected);
        }
    }
}
