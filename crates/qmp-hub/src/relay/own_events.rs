//! Events of the relay's own, which no VM sends.

/// The event that tells a client that something was lost.
pub const EVENTS_MISSED: &str = "__io.github.qmp-events_EVENTS_MISSED";

/// The event that tells a client that some replies were sent before the events ahead of them, since the journal did not
/// commit these in time. All those events have been sent when it comes.
pub const EVENTS_LATE: &str = "__io.github.qmp-events_EVENTS_LATE";

/// The event that stands before and behind events that are repeated.
pub const REPLAY: &str = "__io.github.qmp-events_REPLAY";
