//! Rules: what goes wrong, with which messages, how often.

use std::time::Duration;

use super::Messages;

/// How long a message waits for one to let past when none comes. A client that waits for it must not wait for ever.
pub const REORDER_WITHIN: Duration = Duration::from_secs(1);

/// What goes wrong between a machine and its clients.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// Where all chance comes from.
    pub seed: u64,
    /// The rules, in the order in which they look at a message.
    pub rules: Vec<Fault>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// What happens.
    pub kind: FaultKind,
    /// To which messages.
    pub messages: Messages,
    /// Only on this connection, counted from 1; on all with `None`.
    pub connection: Option<u64>,
    /// So many of these messages pass first, on each connection.
    pub skip: u64,
    /// Then each so-manieth, 1 for each.
    pub every: u64,
    /// At most so often on a connection; without bound with `None`.
    pub times: Option<u64>,
    /// Chance that it happens when it could, from 0 to 1.
    pub probability: f64,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// The message never comes.
    Drop,
    /// It comes later, and all that follow it wait behind it.
    Delay {
        /// So much later.
        by: Duration,
        /// And up to so much more.
        jitter: Duration,
    },
    /// It comes twice.
    Duplicate,
    /// It comes behind the message that follows it, or after [`REORDER_WITHIN`] if none does.
    Reorder,
    /// It breaks off, and the next message follows at once.
    Truncate {
        /// So many bytes of it come; with `None`, chance decides.
        bytes: Option<usize>,
    },
    /// Some of its bytes are others.
    Corrupt {
        /// So many, or all if it is shorter.
        bytes: usize,
    },
    /// It breaks off, and the connection is closed.
    Close {
        /// So many bytes of it come; with `None`, chance decides.
        bytes: Option<usize>,
    },
    /// An event comes before the greeting, as the race of a client with the one before it has it.
    EarlyEvent {
        /// The whole message.
        message: Box<str>,
    },
    /// The connection stands and nothing ever comes, as of a socket that serves somebody else.
    NeverGreet,
}

impl Faults {
    /// No rules so far.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, rules: Vec::new() }
    }

    /// With one rule more.
    #[must_use]
    pub fn with(mut self, rule: Fault) -> Self {
        self.rules.push(rule);
        self
    }

    /// Whether nothing goes wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl Fault {
    /// What goes wrong with every event, or at the start of every connection if it is a matter of that.
    #[must_use]
    pub fn new(kind: FaultKind) -> Self {
        let messages = match kind {
            FaultKind::EarlyEvent { .. } | FaultKind::NeverGreet => Messages::Greeting,
            _ => Messages::Event("*".into()),
        };
        Self { kind, messages, connection: None, skip: 0, every: 1, times: None, probability: 1.0 }
    }

    /// Only with events whose name fits the pattern.
    #[must_use]
    pub fn of_event(self, pattern: &str) -> Self {
        self.of(Messages::Event(pattern.into()))
    }

    /// Only with replies to commands whose name fits the pattern.
    #[must_use]
    pub fn of_reply_to(self, pattern: &str) -> Self {
        self.of(Messages::ReplyTo(pattern.into()))
    }

    /// Only with these messages.
    #[must_use]
    pub fn of(mut self, messages: Messages) -> Self {
        self.messages = messages;
        self
    }

    /// Only on this connection, counted from 1.
    #[must_use]
    pub fn on_connection(mut self, connection: u64) -> Self {
        self.connection = Some(connection);
        self
    }

    /// Only from the message after the first `skip` on.
    #[must_use]
    pub fn after(mut self, skip: u64) -> Self {
        self.skip = skip;
        self
    }

    /// At most so often on a connection.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Only with this chance.
    #[must_use]
    pub fn with_probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }
}
