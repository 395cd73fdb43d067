//! Messages for the log; without the feature `tracing` they are discarded.

use std::fmt::Display;

/// The VM replied without an id: it could not parse a command.
pub(crate) fn unparsed_command(error: impl Display) {
    #[cfg(feature = "tracing")]
    tracing::warn!(%error, "the VM could not parse a command");
    #[cfg(not(feature = "tracing"))]
    let _ = error;
}

/// A message that is no reply to this client was discarded.
pub(crate) fn stray_message(text: &str) {
    #[cfg(feature = "tracing")]
    tracing::debug!(%text, "discarded a message that is no reply to this client");
    #[cfg(not(feature = "tracing"))]
    let _ = text;
}

/// The peer closed its receiving side.
pub(crate) fn sending_failed(error: impl Display) {
    #[cfg(feature = "tracing")]
    tracing::debug!(%error, "the monitor accepts no more commands");
    #[cfg(not(feature = "tracing"))]
    let _ = error;
}
