//! What to do with a client that does not read.

/// What to do when more than the bound waits for one client.
///
/// Nothing else suffers: neither the machine nor another client ever waits for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlowReader {
    /// Closes the connection: every QMP client knows that it has to ask for the state again after that.
    #[default]
    Close,
    /// Drops the oldest events, never a reply, and puts an event in their place that says how many:
    /// [`EVENTS_DROPPED`](crate::EVENTS_DROPPED), with `count`.
    ///
    /// For clients that keep or ignore events which they do not know; some close the connection.
    DropOldest,
}
