//! The urgency of an event for an operator: the colour of its name, and its priority in a log.
//!
//! A judgement of this project, not of the protocol. The catalogue has it at each event that is not `info`.

/// How urgent an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventSeverity {
    /// The guest or its storage is in trouble.
    Error,
    /// The event needs the attention of an operator.
    Warning,
    /// The machine stops, goes down or starts over.
    Lifecycle,
    /// The machine goes on, or something that it did is done.
    Success,
    /// Everything else.
    Info,
}
