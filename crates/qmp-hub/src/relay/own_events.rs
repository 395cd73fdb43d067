//! Events of the relay's own, which no VM sends.

/// Reports to a client that the journal lost events.
pub const EVENTS_MISSED: &str = "__io.github.qmp-events_EVENTS_MISSED";

/// Reports to a client that some replies were sent before the events that precede them, because the journal did not commit
/// these in time. All those events have been sent before this one.
pub const EVENTS_LATE: &str = "__io.github.qmp-events_EVENTS_LATE";

/// The first and the last event of a replay.
pub const REPLAY: &str = "__io.github.qmp-events_REPLAY";
