//! Deliveries: the interface between rules and sinks.

use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use qmp_wire::{Offset, Record};
use serde_json::Value;

/// A record to be delivered.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The record.
    pub record: Record<'static>,
    /// How many records `at-most` held back since the delivery before.
    pub held_back: u64,
}

/// The origin of records, by which receivers identify them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryOrigin {
    /// The rule's name.
    pub rule: Box<str>,
    /// This host's name.
    pub host: Box<str>,
    /// The journal's own name.
    pub journal: Box<str>,
    /// Whether the rule selects every record of the journal.
    pub selects_all: bool,
}

/// The result of an attempt to deliver.
#[derive(Debug)]
pub struct DeliveryOutcome {
    /// The number of records that were delivered, from the first on.
    pub delivered: usize,
    /// Records among them that the receiver rejected without saying which.
    pub rejected: Option<Rejection>,
    /// Why the next record was not delivered.
    pub failure: Option<DeliveryFailure>,
}

/// Records of a batch that a receiver took only in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// How many were rejected.
    pub records: u64,
    /// Why.
    pub error: String,
}

/// Why a record was not delivered.
#[derive(Debug)]
pub enum DeliveryFailure {
    /// The receiver is unavailable, or reports that it is busy: retried without end.
    Unavailable {
        /// The error.
        error: String,
        /// How long the receiver asks to wait.
        after: Option<Duration>,
    },
    /// The receiver refuses this record: retried as often as the rule allows.
    Refused {
        /// The error.
        error: String,
    },
    /// The receiver lacks earlier records: the rule continues after `after`.
    Repeat {
        /// The offset after which all are delivered again.
        after: Offset,
        /// Why.
        reason: String,
    },
}

/// What happened to the receiver of an idle rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkEvent {
    /// The receiver lacks earlier records: the rule continues after `after`.
    Repeat {
        /// The offset after which all are delivered again.
        after: Offset,
        /// Why.
        reason: String,
    },
    /// [`Sink::problem`] has changed.
    Problem,
}

/// The future of an attempt to deliver.
pub type DeliveryFuture<'s> = Pin<Box<dyn Future<Output = DeliveryOutcome> + Send + 's>>;

/// The future of an event of the receiver.
pub type SinkEventFuture<'s> = Pin<Box<dyn Future<Output = SinkEvent> + Send + 's>>;

/// A receiver of records. Dropping the future of [`deliver`](Self::deliver) ends the attempt; the sink stays usable.
pub trait Sink: Send {
    /// Delivers some of `deliveries`, of which there is at least one, in order. Records that are reported as delivered
    /// must survive a crash as well as this kind of receiver allows. The next call begins with the first record that was not
    /// delivered, unless the rule gives it up or goes back.
    fn deliver<'s>(&'s mut self, deliveries: &'s [Delivery]) -> DeliveryFuture<'s>;

    /// How many records are in flight when [`deliver`](Self::deliver) returns, at most: the rule reads ahead of them.
    fn in_flight_max(&self) -> usize {
        0
    }

    /// Waits for an event of the receiver while the rule is idle. Dropping the future loses no event.
    fn wait(&mut self) -> SinkEventFuture<'_> {
        Box::pin(std::future::pending())
    }

    /// A fault of the receiver that does not stop the deliveries, with what to do.
    fn problem(&self) -> Option<String> {
        None
    }

    /// The state that the sink needs after a restart, besides the position of its rule.
    fn state(&self) -> Option<Value> {
        None
    }

    /// Continues with a state that [`state`](Self::state) returned, before the first delivery.
    fn restore(&mut self, _state: &Value) {}
}

/// The configured action of a rule.
pub trait RuleAction: fmt::Debug + Send + Sync {
    /// Creates the sink. Files and connections are opened at the first delivery.
    fn open(&self, origin: Arc<DeliveryOrigin>) -> Box<dyn Sink>;

    /// The receiver, for people. Contains no secret.
    fn target(&self) -> String;

    /// The file that the sink writes, if it writes one.
    fn file(&self) -> Option<&Path> {
        None
    }

    /// How often a record is offered to a receiver that refuses it, at least once.
    fn attempts(&self) -> u32 {
        1
    }
}

impl DeliveryOutcome {
    /// The result if `delivered` records were delivered.
    #[must_use]
    pub fn done(delivered: usize) -> Self {
        Self { delivered, rejected: None, failure: None }
    }

    /// The result if `delivered` records were delivered and the receiver lacks the records after `after`.
    pub fn repeat(delivered: usize, after: Offset, reason: impl fmt::Display) -> Self {
        let failure = Some(DeliveryFailure::Repeat { after, reason: reason.to_string() });
        Self { delivered, rejected: None, failure }
    }

    /// The result if the receiver became unavailable.
    pub fn unavailable(delivered: usize, error: impl fmt::Display) -> Self {
        Self {
            delivered,
            rejected: None,
            failure: Some(DeliveryFailure::Unavailable { error: error.to_string(), after: None }),
        }
    }

    /// The result if `delivered` records were delivered and the receiver refused the next one.
    pub fn refused(delivered: usize, error: impl fmt::Display) -> Self {
        let failure = Some(DeliveryFailure::Refused { error: error.to_string() });
        Self { delivered, rejected: None, failure }
    }
}
