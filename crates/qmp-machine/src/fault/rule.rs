//! Fault rules: the fault, the messages it matches, and how often.

use std::time::Duration;

use super::messages::Messages;

/// Time after which a reordered message is sent if no other message follows. A client that waits for it must not
/// wait forever.
pub const REORDER_WITHIN: Duration = Duration::from_secs(1);

/// The faults between a machine and its clients.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// Seed of all random decisions.
    pub seed: u64,
    /// The rules, in the order in which they are applied to a message.
    pub rules: Vec<Fault>,
}

/// One fault rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// The fault.
    pub kind: FaultKind,
    /// The messages that it matches.
    pub messages: Messages,
    /// Restricts the rule to this connection, counted from 1; `None` for all.
    pub connection: Option<u64>,
    /// Number of matching messages that pass first, on each connection.
    pub skip: u64,
    /// Then the rule applies to every n-th matching message, 1 for each.
    pub every: u64,
    /// Maximum number of applications on a connection; `None` for no limit.
    pub times: Option<u64>,
    /// Probability of each application, from 0 to 1.
    pub probability: f64,
}

/// The kind of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// The message is dropped.
    Drop,
    /// The message and all messages that follow it are delayed.
    Delay {
        /// The delay.
        by: Duration,
        /// Maximum random addition to the delay.
        jitter: Duration,
    },
    /// The message is sent twice.
    Duplicate,
    /// The message is sent after the one that follows it, or after [`REORDER_WITHIN`] if none follows.
    Reorder,
    /// The message is cut, and the next message follows at once.
    Truncate {
        /// Number of bytes that are sent; `None` for a random number.
        bytes: Option<usize>,
    },
    /// Some bytes of the message are changed.
    Corrupt {
        /// Number of changed bytes; all bytes if the message is shorter.
        bytes: usize,
    },
    /// The message is cut, and the connection is closed.
    Close {
        /// Number of bytes that are sent; `None` for a random number.
        bytes: Option<usize>,
    },
    /// An event is sent before the greeting, as in the race of a client with its predecessor.
    EarlyEvent {
        /// The whole message.
        message: Box<str>,
    },
    /// The connection stays open and silent, like a socket that serves another client.
    NeverGreet,
}

impl Faults {
    /// Creates a set without rules.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, rules: Vec::new() }
    }

    /// Adds a rule.
    #[must_use]
    pub fn with(mut self, rule: Fault) -> Self {
        self.rules.push(rule);
        self
    }

    /// Returns whether there are no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl Fault {
    /// Creates a rule for every event, or for the start of every connection if the kind concerns that.
    #[must_use]
    pub fn new(kind: FaultKind) -> Self {
        let messages = match kind {
            FaultKind::EarlyEvent { .. } | FaultKind::NeverGreet => Messages::Greeting,
            _ => Messages::Event("*".into()),
        };
        Self { kind, messages, connection: None, skip: 0, every: 1, times: None, probability: 1.0 }
    }

    /// Restricts the rule to events whose name matches the pattern.
    #[must_use]
    pub fn of_event(self, pattern: &str) -> Self {
        self.of(Messages::Event(pattern.into()))
    }

    /// Restricts the rule to replies to commands whose name matches the pattern.
    #[must_use]
    pub fn of_reply_to(self, pattern: &str) -> Self {
        self.of(Messages::ReplyTo(pattern.into()))
    }

    /// Restricts the rule to these messages.
    #[must_use]
    pub fn of(mut self, messages: Messages) -> Self {
        self.messages = messages;
        self
    }

    /// Restricts the rule to this connection, counted from 1.
    #[must_use]
    pub fn on_connection(mut self, connection: u64) -> Self {
        self.connection = Some(connection);
        self
    }

    /// Skips the first `skip` matching messages.
    #[must_use]
    pub fn after(mut self, skip: u64) -> Self {
        self.skip = skip;
        self
    }

    /// Limits the number of applications on a connection.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Sets the probability of each application.
    #[must_use]
    pub fn with_probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }
}
