//! What a rule hands to its sink, and what the sink says about it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use qmp_wire::Record;

/// A record on its way out.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The record.
    pub record: Record<'static>,
    /// How many records `at-most` held back since the delivery before this one.
    pub held_back: u64,
}

/// Where records come from; part of what makes them known to receivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The rule's name.
    pub rule: Box<str>,
    /// This host's name.
    pub host: Box<str>,
    /// The journal's own name.
    pub journal: Box<str>,
}

/// What came of an attempt to deliver.
#[derive(Debug)]
pub struct Outcome {
    /// So many arrived, from the first on.
    pub delivered: usize,
    /// Why the next one did not.
    pub failure: Option<Failure>,
}

/// Why a record did not arrive.
#[derive(Debug)]
pub enum Failure {
    /// The receiver is away, or says that it is busy: tried again for ever.
    Away {
        /// What is wrong.
        error: String,
        /// Not before so much time has passed, says the receiver.
        after: Option<Duration>,
    },
    /// The receiver does not want this record: tried as often as the rule says.
    Refused {
        /// What is wrong.
        error: String,
    },
}

/// An attempt to deliver.
pub type Delivering<'s> = Pin<Box<dyn Future<Output = Outcome> + Send + 's>>;

/// A way out. Dropping the future of [`deliver`](Self::deliver) ends the attempt; the sink can be used further.
pub trait Sink: Send {
    /// Delivers some of `deliveries`, of which there is at least one, in order. What it says was delivered must outlive
    /// a crash of the receiver's side as well as that kind of receiver allows.
    fn deliver<'s>(&'s mut self, deliveries: &'s [Delivery]) -> Delivering<'s>;
}

/// What a rule does, as the configuration says it.
pub trait Action: fmt::Debug + Send + Sync {
    /// A sink that does it. Whatever has to be opened is opened at the first delivery.
    fn open(&self, origin: Arc<Origin>) -> Box<dyn Sink>;

    /// To whom, for people. No secret.
    fn target(&self) -> String;

    /// How often a record is offered to a receiver that refuses it, at least once.
    fn attempts(&self) -> u32 {
        1
    }
}

impl Outcome {
    /// All of `delivered` arrived.
    #[must_use]
    pub fn done(delivered: usize) -> Self {
        Self { delivered, failure: None }
    }

    /// Nothing more until the receiver is back.
    pub fn away(delivered: usize, error: impl fmt::Display) -> Self {
        Self { delivered, failure: Some(Failure::Away { error: error.to_string(), after: None }) }
    }

    /// The first record was refused.
    pub fn refused(error: impl fmt::Display) -> Self {
        Self { delivered: 0, failure: Some(Failure::Refused { error: error.to_string() }) }
    }
}
