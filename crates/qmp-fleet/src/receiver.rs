//! The receiving side: puts the messages of each journal into order by their chain.
//!
//! A message whose record is already delivered is a repetition and is discarded. A message whose previous record is
//! delivered is next. Any other message is after a hole: it waits, within a bound of memory, and the host is asked to
//! publish again. The rest of a hole that is not filled in time is reported as lost.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use qmp_wire::Offset;

use super::link::Link;

/// Bytes of messages that wait for the end of a hole, of all journals together. At the bound the latest messages of the
/// journal with the most bytes are discarded; their host publishes them again.
const WAITING_MAX_BYTES: usize = 64 << 20;

/// How long a hole is waited for: a host may be without a connection for a while, and nothing of it is lost then.
const LOST_TIMEOUT: Duration = Duration::from_secs(3_600);

/// The interval of requests to a host to publish again.
const ASK_INTERVAL: Duration = Duration::from_secs(30);

/// The limits of a receiver.
#[derive(Clone, Copy, Debug)]
pub struct ReceiverConfig {
    /// Bytes of messages that wait for the end of a hole.
    pub waiting_max_bytes: usize,
    /// How long a hole is waited for.
    pub lost_after: Duration,
    /// The interval of requests to a host to publish again.
    pub ask_every: Duration,
}

impl Default for ReceiverConfig {
    fn default() -> Self {
        Self { waiting_max_bytes: WAITING_MAX_BYTES, lost_after: LOST_TIMEOUT, ask_every: ASK_INTERVAL }
    }
}

/// Records of a journal that did not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The journal.
    pub journal: Box<str>,
    /// The last record before the hole.
    pub after: Offset,
    /// The last record that is missing.
    pub upto: Offset,
}

/// What a receiver asks its caller to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiverOutput<M> {
    /// The next message of its journal.
    Message(M),
    /// A hole was found.
    Hole(Hole),
    /// The host has to publish everything after this offset of the journal again.
    Ask {
        /// The journal.
        journal: Box<str>,
        /// The last record that was delivered.
        after: Offset,
    },
    /// The records of this hole are lost: the next message of the journal is one after it.
    Lost(Hole),
}

/// A message whose predecessor has not arrived.
#[derive(Debug)]
struct EarlyMessage<M> {
    previous: Offset,
    bytes: usize,
    message: M,
}

#[derive(Debug)]
struct OpenHole {
    after: Offset,
    since: Instant,
    asked_at: Instant,
}

/// The messages of one journal.
#[derive(Debug)]
struct Feed<M> {
    last: Offset,
    waiting: BTreeMap<Offset, EarlyMessage<M>>,
    waiting_bytes: usize,
    hole: Option<OpenHole>,
}

impl<M> Default for Feed<M> {
    fn default() -> Self {
        Self { last: Offset(0), waiting: BTreeMap::new(), waiting_bytes: 0, hole: None }
    }
}

/// Delivers the messages of each journal in order, each once. Holds no clock.
#[derive(Debug)]
pub struct Receiver<M> {
    config: ReceiverConfig,
    feeds: BTreeMap<Box<str>, Feed<M>>,
    /// The journals with a hole.
    holes: BTreeSet<Box<str>>,
    waiting_bytes: usize,
    repeated: u64,
    output: VecDeque<ReceiverOutput<M>>,
}

impl<M> Receiver<M> {
    /// A receiver without any message.
    #[must_use]
    pub fn new(config: ReceiverConfig) -> Self {
        Self {
            config,
            feeds: BTreeMap::new(),
            holes: BTreeSet::new(),
            waiting_bytes: 0,
            repeated: 0,
            output: VecDeque::new(),
        }
    }

    /// Sets the last record of a journal that is committed, before its first message is received.
    pub fn resume(&mut self, journal: &str, last: Offset) {
        self.feeds.entry(journal.into()).or_default().last = last;
    }

    /// Takes a message of `bytes`.
    pub fn receive(&mut self, journal: &str, link: Link, bytes: usize, message: M, now: Instant) {
        if !self.feeds.contains_key(journal) {
            self.feeds.insert(journal.into(), Feed::default());
        }
        let Some(feed) = self.feeds.get_mut(journal) else { return };
        if link.offset <= feed.last || feed.waiting.contains_key(&link.offset) {
            self.repeated += 1;
            return;
        }
        if link.previous <= feed.last {
            feed.last = link.offset;
            self.output.push_back(ReceiverOutput::Message(message));
        } else {
            feed.waiting.insert(link.offset, EarlyMessage { previous: link.previous, bytes, message });
            feed.waiting_bytes += bytes;
            self.waiting_bytes += bytes;
        }
        if !feed.waiting.is_empty() || feed.hole.is_some() {
            self.advance(journal, now);
            self.discard_above_bound();
        }
    }

    /// Takes the passage of time.
    pub fn handle_timeout(&mut self, now: Instant) {
        for journal in self.holes.clone() {
            let Some(feed) = self.feeds.get_mut(&journal) else { continue };
            let Some(hole) = &mut feed.hole else { continue };
            if now >= hole.since + self.config.lost_after {
                if let Some(first) = feed.waiting.values().next() {
                    let upto = first.previous;
                    let lost = Hole { journal: journal.clone(), after: feed.last, upto };
                    self.output.push_back(ReceiverOutput::Lost(lost));
                    feed.last = upto;
                }
                self.advance(&journal, now);
            } else if now >= hole.asked_at + self.config.ask_every {
                hole.asked_at = now;
                let after = feed.last;
                self.output.push_back(ReceiverOutput::Ask { journal, after });
            }
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<ReceiverOutput<M>> {
        self.output.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let holes = self.holes.iter().filter_map(|journal| self.feeds.get(journal)?.hole.as_ref());
        let ReceiverConfig { lost_after, ask_every, .. } = self.config;
        holes.map(|hole| (hole.since + lost_after).min(hole.asked_at + ask_every)).min()
    }

    /// Bytes of messages that wait for the end of a hole.
    #[must_use]
    pub const fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Messages that were discarded as repetitions.
    #[must_use]
    pub const fn repeated(&self) -> u64 {
        self.repeated
    }

    /// The journals with a hole.
    pub fn holes(&self) -> impl Iterator<Item = &str> {
        self.holes.iter().map(|journal| &**journal)
    }

    /// Delivers the messages whose turn it is, and opens, moves or closes the hole.
    fn advance(&mut self, journal: &str, now: Instant) {
        let Some(feed) = self.feeds.get_mut(journal) else { return };
        while let Some(entry) = feed.waiting.first_entry() {
            let offset = *entry.key();
            if offset > feed.last && entry.get().previous > feed.last {
                break;
            }
            let EarlyMessage { bytes, message, .. } = entry.remove();
            feed.waiting_bytes -= bytes;
            self.waiting_bytes -= bytes;
            if offset > feed.last {
                feed.last = offset;
                self.output.push_back(ReceiverOutput::Message(message));
            } else {
                self.repeated += 1;
            }
        }
        let Some(first) = feed.waiting.values().next() else {
            feed.hole = None;
            self.holes.remove(journal);
            return;
        };
        if feed.hole.as_ref().is_some_and(|hole| hole.after == feed.last) {
            return;
        }
        feed.hole = Some(OpenHole { after: feed.last, since: now, asked_at: now });
        let hole = Hole { journal: journal.into(), after: feed.last, upto: first.previous };
        self.holes.insert(journal.into());
        self.output.push_back(ReceiverOutput::Hole(hole));
        self.output.push_back(ReceiverOutput::Ask { journal: journal.into(), after: feed.last });
    }

    fn discard_above_bound(&mut self) {
        while self.waiting_bytes > self.config.waiting_max_bytes {
            let waiting = self
                .holes
                .iter()
                .filter_map(|journal| Some((journal, self.feeds.get(journal)?.waiting_bytes)));
            let Some((journal, _)) = waiting.max_by_key(|(_, bytes)| *bytes) else { return };
            let journal = journal.clone();
            let Some(feed) = self.feeds.get_mut(&journal) else { return };
            let Some((_, last)) = feed.waiting.pop_last() else { return };
            feed.waiting_bytes -= last.bytes;
            self.waiting_bytes -= last.bytes;
            if feed.waiting.is_empty() {
                feed.hole = None;
                self.holes.remove(&journal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn config() -> ReceiverConfig {
        ReceiverConfig { waiting_max_bytes: 30, lost_after: 100 * SECOND, ask_every: 10 * SECOND }
    }

    /// The output in short: `5` a message, `(2,4]` a hole, `?2` a request, `!(2,4]` a loss.
    fn outputs(receiver: &mut Receiver<u64>) -> String {
        let mut words = Vec::new();
        while let Some(output) = receiver.poll_output() {
            words.push(match output {
                ReceiverOutput::Message(offset) => offset.to_string(),
                ReceiverOutput::Hole(Hole { after, upto, .. }) => format!("({},{}]", after.0, upto.0),
                ReceiverOutput::Ask { after, .. } => format!("?{}", after.0),
                ReceiverOutput::Lost(Hole { after, upto, .. }) => format!("!({},{}]", after.0, upto.0),
            });
        }
        words.join(" ")
    }

    fn receive(receiver: &mut Receiver<u64>, previous: u64, offset: u64, now: Instant) -> String {
        let link = Link { previous: Offset(previous), offset: Offset(offset) };
        receiver.receive("j", link, 10, offset, now);
        outputs(receiver)
    }

    #[test]
    fn messages_are_delivered_in_the_order_of_their_chain() {
        type Case<'a> = (&'a str, &'a [(u64, u64)], &'a str);
        let cases: [Case<'_>; 7] = [
            ("in order", &[(0, 1), (1, 3), (3, 4)], "1 3 4"),
            ("repeated", &[(0, 1), (1, 3), (0, 1), (1, 3), (3, 4)], "1 3 4"),
            ("swapped", &[(0, 1), (3, 4), (1, 3)], "1 (1,3] ?1 3 4"),
            ("two holes", &[(0, 1), (5, 6), (2, 3), (1, 2), (3, 5)], "1 (1,5] ?1 2 3 (3,5] ?3 5 6"),
            ("begins later", &[(7, 8), (0, 7)], "(0,7] ?0 7 8"),
            ("repeated after the hole", &[(0, 1), (3, 4), (3, 4), (1, 3)], "1 (1,3] ?1 3 4"),
            ("another selection", &[(0, 1), (1, 5), (1, 3), (3, 5), (2, 7)], "1 5 7"),
        ];
        for (case, links, expected) in cases {
            let (mut receiver, now) = (Receiver::new(config()), Instant::now());
            let found: Vec<String> = links
                .iter()
                .map(|(previous, offset)| receive(&mut receiver, *previous, *offset, now))
                .filter(|words| !words.is_empty())
                .collect();
            assert_eq!(found.join(" "), expected, "{case}");
            assert_eq!((receiver.waiting_bytes(), receiver.holes().count()), (0, 0), "{case}");
        }
    }

    #[test]
    fn hole_is_asked_for_and_lost_in_time() {
        let (mut receiver, start) = (Receiver::new(config()), Instant::now());
        receiver.resume("j", Offset(2));
        assert_eq!(receive(&mut receiver, 4, 5, start), "(2,4] ?2");
        for ask in 1..10 {
            assert_eq!(receiver.next_timeout(), Some(start + ask * 10 * SECOND));
            receiver.handle_timeout(start + (ask * 10 - 1) * SECOND);
            assert_eq!(outputs(&mut receiver), "");
            receiver.handle_timeout(start + ask * 10 * SECOND);
            assert_eq!(outputs(&mut receiver), "?2");
        }
        receiver.handle_timeout(start + 100 * SECOND);
        assert_eq!(outputs(&mut receiver), "!(2,4] 5");
        assert_eq!(receiver.next_timeout(), None);
        assert_eq!(receive(&mut receiver, 2, 3, start), "", "too late");
    }

    #[test]
    fn waiting_messages_are_bounded_and_the_earliest_stay() {
        let (mut receiver, now) = (Receiver::new(config()), Instant::now());
        for offset in [9, 3, 5, 7, 11] {
            receive(&mut receiver, offset - 1, offset, now);
            assert!(receiver.waiting_bytes() <= 30);
        }
        assert_eq!(receive(&mut receiver, 0, 2, now), "2 3 (3,4] ?3");
        assert_eq!(receiver.waiting_bytes(), 20);
        let link = Link { previous: Offset(1), offset: Offset(2) };
        receiver.receive("large", link, 40, 2, now);
        assert_eq!(receiver.waiting_bytes(), 20, "a message above the bound does not wait");
    }

    proptest! {
        /// Whatever is lost, repeated or swapped, a receiver that gets the whole chain at last delivers each message once and in order.
        #[test]
        fn whole_chain_is_delivered_once_and_in_order(
            arrivals in prop::collection::vec((0..2_u8, 0..12_usize), 0..60),
            steps in prop::collection::vec(1..4_u64, 12),
        ) {
            let now = Instant::now();
            let mut offsets = vec![0];
            offsets.extend(steps.iter().scan(0, |at, step| { *at += step; Some(*at) }));
            let mut receiver = Receiver::new(config());
            let journals = ["a", "b"];
            let mut delivered = [Vec::new(), Vec::new()];
            let whole = (0..2_u8).flat_map(|journal| (0..12).map(move |index| (journal, index)));
            for (journal, index) in arrivals.into_iter().chain(whole) {
                let link = Link { previous: Offset(offsets[index]), offset: Offset(offsets[index + 1]) };
                receiver.receive(journals[usize::from(journal)], link, 10, (journal, link.offset.0), now);
                prop_assert!(receiver.waiting_bytes() <= 30);
                while let Some(output) = receiver.poll_output() {
                    if let ReceiverOutput::Message((journal, offset)) = output {
                        delivered[usize::from(journal)].push(offset);
                    }
                }
            }
            for journal in delivered {
                prop_assert_eq!(&journal, &offsets[1..]);
            }
            prop_assert_eq!(receiver.waiting_bytes(), 0);
        }
    }
}
