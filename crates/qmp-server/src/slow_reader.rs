//! The policy for a client that does not read.

/// The policy when more than the limit waits for one client.
///
/// Neither the machine nor another client ever waits for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlowReader {
    /// Closes the connection: every QMP client queries the state again after that.
    #[default]
    Close,
    /// Drops the oldest events, never a reply, and puts an event with their number in their place:
    /// [`EVENTS_DROPPED`](crate::EVENTS_DROPPED), with `count`.
    ///
    /// For clients that keep or ignore unknown events; some close the connection.
    DropOldest,
}
