//! The rules at work on one connection: bytes and times in, bytes out.

use std::{collections::VecDeque, time::Duration};

use super::{Fault, FaultKind, Faults, REORDER_WITHIN, Requests, split::Split};
use crate::script::Random;

/// One connection, on the way from the machine to the client.
#[derive(Debug)]
pub struct Stage {
    rules: Vec<Rule>,
    split: Split,
    requests: Requests,
    /// What is on its way, in order: the first one holds back all others.
    queue: VecDeque<Waiting>,
    /// The message that lets the next one past, and until when it waits for it.
    held: Option<(Vec<u8>, Duration)>,
    /// Whether something comes before the first message.
    early: Option<Vec<u8>>,
    mute: bool,
    ended: bool,
}

/// What a stage has for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Bytes to send.
    Bytes(Vec<u8>),
    /// The connection ends; nothing comes after this.
    Close,
}

#[derive(Debug)]
struct Waiting {
    output: Output,
    not_before: Duration,
}

/// A rule, and how often it was about to happen.
#[derive(Debug)]
struct Rule {
    fault: Fault,
    random: Random,
    seen: u64,
    happened: u64,
}

impl Stage {
    /// The stage of the connection with that number, counted from 1.
    #[must_use]
    pub fn new(faults: &Faults, connection: u64) -> Self {
        let mut rules = Vec::new();
        for (place, fault) in (0_u64..).zip(&faults.rules) {
            if fault.connection.is_none_or(|only| only == connection) {
                let random = Random::new(faults.seed, (connection << 16) ^ place);
                rules.push(Rule { fault: fault.clone(), random, seen: 0, happened: 0 });
            }
        }
        let mut stage = Self {
            rules: Vec::new(),
            split: Split::default(),
            requests: Requests::default(),
            queue: VecDeque::new(),
            held: None,
            early: None,
            mute: false,
            ended: false,
        };
        // These two are about the connection: chance decides once, before anything is said.
        for mut rule in rules {
            match &rule.fault.kind {
                FaultKind::NeverGreet => stage.mute |= rule.happens(),
                FaultKind::EarlyEvent { message } => {
                    let message = format!("{message}\r\n");
                    if rule.happens() {
                        stage.early.get_or_insert_default().extend_from_slice(message.as_bytes());
                    }
                }
                _ => stage.rules.push(rule),
            }
        }
        stage
    }

    /// Where to put what the client sends, for rules that name a command.
    #[must_use]
    pub fn requests(&self) -> Requests {
        self.requests.clone()
    }

    /// Takes what the machine says, cut anywhere; `now` never goes back.
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

    /// The machine closed the connection.
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
        self.queue.push_back(Waiting { output: Output::Close, not_before: now });
    }

    /// The next thing for the client that is due.
    pub fn poll_output(&mut self, now: Duration) -> Option<Output> {
        if self.held.as_ref().is_some_and(|(_, until)| *until <= now) {
            self.release(now);
        }
        if self.queue.front()?.not_before > now {
            return None;
        }
        self.queue.pop_front().map(|waiting| waiting.output)
    }

    /// When [`poll_output`](Self::poll_output) has something next, if nothing else comes from the machine.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let front = self.queue.front().map(|waiting| waiting.not_before);
        let held = self.held.as_ref().map(|(_, until)| *until);
        front.into_iter().chain(held).min()
    }

    /// Lets the rules look at a whole message.
    fn pass(&mut self, mut message: Vec<u8>, now: Duration) {
        let (mut copies, mut wait, mut swap, mut close) = (1, Duration::ZERO, false, false);
        // Which rules it is about is decided by what the machine said, not by what became of it.
        let said = message.clone();
        let command = self.requests.answered(&said);
        for rule in &mut self.rules {
            if !rule.fits(&said, command.as_deref()) {
                continue;
            }
            match &rule.fault.kind {
                FaultKind::Drop => copies = 0,
                FaultKind::Delay { by, jitter } => wait += *by + rule.random.span(*jitter),
                FaultKind::Duplicate => copies *= 2,
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
        if swap && self.held.is_none() && copies > 0 && !close {
            self.held = Some((message.repeat(copies), now + wait + REORDER_WITHIN));
            return;
        }
        if copies > 0 {
            self.send(message.repeat(copies), now + wait);
        }
        self.release(now);
        if close {
            self.ended = true;
            self.queue.push_back(Waiting { output: Output::Close, not_before: now + wait });
        }
    }

    fn send(&mut self, bytes: Vec<u8>, not_before: Duration) {
        self.queue.push_back(Waiting { output: Output::Bytes(bytes), not_before });
    }

    fn release(&mut self, now: Duration) {
        if let Some((message, _)) = self.held.take() {
            self.send(message, now);
        }
    }
}

impl Rule {
    /// Whether it happens to this message.
    fn fits(&mut self, message: &[u8], command: Option<&str>) -> bool {
        self.fault.messages.contain(message, command) && self.happens()
    }

    fn happens(&mut self) -> bool {
        let Fault { skip, every, times, probability, .. } = self.fault;
        self.seen += 1;
        let turn = self.seen.checked_sub(skip + 1).is_some_and(|after| after % every.max(1) == 0);
        let may = turn && times.is_none_or(|times| self.happened < times);
        let happens = may && self.random.happens(probability);
        self.happened += u64::from(happens);
        happens
    }
}

/// Leaves some of the message: never nothing, and never all of it.
fn cut(message: &mut Vec<u8>, bytes: Option<usize>, random: &mut Random) {
    // The line end does not count: without it a message is whole all the same.
    let whole = message.trim_ascii_end().len();
    let most = whole.saturating_sub(1).max(1);
    let bytes = bytes.unwrap_or_else(|| 1 + random.place(most));
    message.truncate(bytes.clamp(1, most));
}

/// Makes others of some bytes, but leaves the line end.
fn corrupt(message: &mut [u8], bytes: usize, random: &mut Random) {
    let whole = message.trim_ascii_end().len();
    let mut places: Vec<usize> = (0..whole).collect();
    for _ in 0..bytes.min(whole) {
        let place = places.swap_remove(random.place(places.len()));
        // Never the same byte again.
        let other = u8::try_from(1 + random.below(255)).unwrap_or(1);
        message[place] ^= other;
    }
}

#[cfg(test)]
mod tests;
