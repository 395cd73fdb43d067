//! Why a command has no result.

use std::time::Duration;

use qmp_wire::CommandError;

use crate::close_reason::CloseReason;

/// Errors of executing a command.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecuteError {
    /// The VM refused the command, or the command failed.
    #[error(transparent)]
    Refused(#[from] CommandError),
    /// The connection ended before the reply: whether the command took effect is unknown.
    #[error("no reply: {reason}")]
    Closed {
        /// How the connection ended.
        reason: CloseReason,
    },
    /// The monitor is not attached; the command was not sent.
    #[error("the monitor is not attached")]
    NotAttached,
    /// No reply in time. The VM has the command, which may still take effect.
    #[error("no reply within {waited:?}; the command may still take effect")]
    TimedOut {
        /// How long this side waited.
        waited: Duration,
    },
    /// Too many commands wait for this monitor; this one was not sent.
    #[error("{waiting} commands wait for this monitor already: the VM is stuck or very busy")]
    Busy {
        /// How many commands wait.
        waiting: usize,
    },
    /// The arguments are not a JSON object; the command was not sent.
    #[error("the arguments of a command are a JSON object: {what}")]
    InvalidArguments {
        /// The mistake.
        what: Box<str>,
    },
    /// File descriptors can be passed over a unix socket only; the command was not sent.
    #[error("file descriptors can be passed over a unix socket only")]
    NoDescriptorPassing,
    /// The command has more file descriptors than QEMU receives at once; it was not sent.
    #[error("a command takes at most {limit} file descriptors")]
    TooManyDescriptors {
        /// The limit.
        limit: usize,
    },
    /// The reply is not of the expected type.
    #[error("unexpected reply: {what}")]
    UnexpectedReply {
        /// The mistake.
        what: Box<str>,
    },
}
