//! Applies the rules to one connection: bytes and times in, bytes out.

use std::{collections::VecDeque, time::Duration};

use super::{
    requests::Requests,
    rule::{Fault, FaultKind, Faults, REORDER_WITHIN},
    split::MessageSplitter,
};
use crate::random::Random;

/// Maximum number of copies of a message, however many rules duplicate it.
const COPIES_MAX: usize = 1024;

/// One connection, from the machine to the client.
#[derive(Debug)]
pub struct Stage {
    rules: Vec<Rule>,
    split: MessageSplitter,
    requests: Requests,
    /// Output under way, in order: the first element delays all others.
    queue: VecDeque<QueuedOutput>,
    /// A reordered message, and the time at which it is sent if no message follows.
    reordered: Option<(Vec<u8>, Duration)>,
    /// The message to send before the first one.
    early: Option<Vec<u8>>,
    mute: bool,
    ended: bool,
}

/// Output of a stage for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StageOutput {
    /// Bytes to send.
    Bytes(Vec<u8>),
    /// The connection ends; no output follows.
    Close,
}

#[derive(Debug)]
struct QueuedOutput {
    output: StageOutput,
    not_before: Duration,
}

/// A rule, and the number of its matches and applications.
#[derive(Debug)]
struct Rule {
    fault: Fault,
    random: Random,
    matched: u64,
    applied: u64,
}

impl Stage {
    /// Creates the stage of the connection with that number, counted from 1.
    #[must_use]
    pub fn new(faults: &Faults, connection: u64) -> Self {
        let mut rules = Vec::new();
        for (index, fault) in (0_u64..).zip(&faults.rules) {
            if fault.connection.is_none_or(|only| only == connection) {
                let random = Random::new(faults.seed, (connection << 16) ^ index);
                rules.push(Rule { fault: fault.clone(), random, matched: 0, applied: 0 });
            }
        }
        let mut stage = Self {
            rules: Vec::new(),
            split: MessageSplitter::default(),
            requests: Requests::default(),
            queue: VecDeque::new(),
            reordered: None,
            early: None,
            mute: false,
            ended: false,
        };
        // These two kinds concern the connection: one random decision, before the first message.
        for mut rule in rules {
            match &rule.fault.kind {
                FaultKind::NeverGreet => stage.mute |= rule.applies(),
                FaultKind::EarlyEvent { message } => {
                    let message = format!("{message}\r\n");
                    if rule.applies() {
                        stage.early.get_or_insert_default().extend_from_slice(message.as_bytes());
                    }
                }
                _ => stage.rules.push(rule),
            }
        }
        stage
    }

    /// Returns the tracker for the client's requests, needed by rules that name a command.
    #[must_use]
    pub fn requests(&self) -> Requests {
        self.requests.clone()
    }

    /// Processes bytes from the machine, cut anywhere; `now` never decreases.
    pub fn handle_input(&mut self, bytes: &[u8], now: Duration) {
        if self.mute || self.ended {
            return;
        }
        if let Some(early) = self.early.take() {
            self.send(early, now);
        }
        self.split.push(bytes);
        while let Some(message) = self.split.next() {
            self.pass(message, now);
            if self.ended {
                return;
            }
        }
    }

    /// Records that the machine closed the connection.
    pub fn handle_end(&mut self, now: Duration) {
        if self.ended {
            return;
        }
        self.ended = true;
        self.release(now);
        let rest = self.split.rest();
        if !rest.is_empty() && !self.mute {
            self.send(rest, now);
        }
        self.queue.push_back(QueuedOutput { output: StageOutput::Close, not_before: now });
    }

    /// Returns the next output that is due.
    pub fn poll_output(&mut self, now: Duration) -> Option<StageOutput> {
        if self.reordered.as_ref().is_some_and(|(_, until)| *until <= now) {
            self.release(now);
        }
        if self.queue.front()?.not_before > now {
            return None;
        }
        self.queue.pop_front().map(|queued| queued.output)
    }

    /// Returns when [`poll_output`](Self::poll_output) has output next, if the machine sends nothing else.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let front = self.queue.front().map(|queued| queued.not_before);
        let reordered = self.reordered.as_ref().map(|(_, until)| *until);
        front.into_iter().chain(reordered).min()
    }

    /// Applies the rules to a whole message.
    fn pass(&mut self, mut message: Vec<u8>, now: Duration) {
        let (mut copies, mut wait, mut swap, mut close) = (1, Duration::ZERO, false, false);
        // Rules match the original message, not the changed one.
        let original = message.clone();
        let command = self.requests.answered(&original);
        for rule in &mut self.rules {
            if !rule.matches_message(&original, command.as_deref()) {
                continue;
            }
            match &rule.fault.kind {
                FaultKind::Drop => copies = 0,
                FaultKind::Delay { by, jitter } => {
                    let by = by.saturating_add(rule.random.span(*jitter));
                    wait = wait.saturating_add(by);
                }
                FaultKind::Duplicate => copies = (copies * 2).min(COPIES_MAX),
                FaultKind::Reorder => swap = true,
                FaultKind::Truncate { bytes } => cut(&mut message, *bytes, &mut rule.random),
                FaultKind::Corrupt { bytes } => corrupt(&mut message, *bytes, &mut rule.random),
                FaultKind::Close { bytes } => {
                    cut(&mut message, *bytes, &mut rule.random);
                    close = true;
                }
                FaultKind::EarlyEvent { .. } | FaultKind::NeverGreet => {}
            }
        }
        let at = now.saturating_add(wait);
        if swap && self.reordered.is_none() && copies > 0 && !close {
            self.reordered = Some((message.repeat(copies), at.saturating_add(REORDER_WITHIN)));
            return;
        }
        if copies > 0 {
            self.send(message.repeat(copies), at);
        }
        self.release(now);
        if close {
            self.ended = true;
            self.queue.push_back(QueuedOutput { output: StageOutput::Close, not_before: at });
        }
    }

    fn send(&mut self, bytes: Vec<u8>, not_before: Duration) {
        self.queue.push_back(QueuedOutput { output: StageOutput::Bytes(bytes), not_before });
    }

    fn release(&mut self, now: Duration) {
        if let Some((message, _)) = self.reordered.take() {
            self.send(message, now);
        }
    }
}

impl Rule {
    /// Returns whether the rule applies to this message.
    fn matches_message(&mut self, message: &[u8], command: Option<&str>) -> bool {
        self.fault.messages.contain(message, command) && self.applies()
    }

    fn applies(&mut self) -> bool {
        let Fault { skip, every, times, probability, .. } = self.fault;
        self.matched += 1;
        let turn =
            self.matched.checked_sub(skip.saturating_add(1)).is_some_and(|after| after % every.max(1) == 0);
        let may = turn && times.is_none_or(|times| self.applied < times);
        let applies = may && self.random.draw(probability);
        self.applied += u64::from(applies);
        applies
    }
}

/// Cuts the message: at least one byte remains and at least one is removed.
fn cut(message: &mut Vec<u8>, bytes: Option<usize>, random: &mut Random) {
    // The line end does not count: without it a message is complete all the same.
    let whole = message.trim_ascii_end().len();
    let most = whole.saturating_sub(1).max(1);
    let bytes = bytes.unwrap_or_else(|| 1 + random.index(most));
    message.truncate(bytes.clamp(1, most));
}

/// Changes some bytes, but not the line end.
fn corrupt(message: &mut [u8], bytes: usize, random: &mut Random) {
    let whole = message.trim_ascii_end().len();
    let mut indices: Vec<usize> = (0..whole).collect();
    for _ in 0..bytes.min(whole) {
        let index = indices.swap_remove(random.index(indices.len()));
        // XOR with a value other than 0 always changes the byte.
        let other = u8::try_from(1 + random.below(255)).unwrap_or(1);
        message[index] ^= other;
    }
}

#[cfg(test)]
mod tests;
