//! Why a VM is not attached, as a word for programs.

use qmp_client::ConnectError;
use qmp_wire::DetachReason;

/// QEMU closed the connection.
pub(crate) const PEER_CLOSED: &str = "peer-closed";

/// No socket exists at the path.
pub(crate) const NO_SUCH_SOCKET: &str = "no-such-socket";

/// No process listens there.
pub(crate) const REFUSED: &str = "refused";

/// The operating system denies the connection.
pub(crate) const PERMISSION_DENIED: &str = "permission-denied";

/// The host cannot be reached.
pub(crate) const UNREACHABLE: &str = "unreachable";

/// Another client holds the monitor.
pub(crate) const HELD: &str = "held";

/// QEMU does not answer.
pub(crate) const HUNG: &str = "hung";

/// The socket is not a QMP monitor.
pub(crate) const NOT_A_MONITOR: &str = "not-a-monitor";

/// One of the three before it; the evidence does not show which.
pub(crate) const UNCLEAR: &str = "unclear";

/// Why an attempt to attach failed; `None` if only the text describes the error.
pub(crate) fn of_attempt(error: &ConnectError) -> Option<&'static str> {
    match error {
        ConnectError::NoSuchSocket { .. } => Some(NO_SUCH_SOCKET),
        ConnectError::Refused { .. } => Some(REFUSED),
        ConnectError::PermissionDenied { .. } => Some(PERMISSION_DENIED),
        ConnectError::DialTimeout { .. } | ConnectError::Unreachable { .. } => Some(UNREACHABLE),
        ConnectError::NotASocket { .. }
        | ConnectError::NotQmp { .. }
        | ConnectError::InvalidGreeting { .. } => Some(NOT_A_MONITOR),
        ConnectError::NegotiationTimeout { .. } => Some(HUNG),
        ConnectError::NoGreeting { .. } | ConnectError::Busy { .. } => Some(UNCLEAR),
        _ => None,
    }
}

/// Why an epoch closed; `None` if the reason is not about QEMU.
pub(crate) fn of_detach(reason: &DetachReason) -> Option<&'static str> {
    (*reason == DetachReason::PeerClosed).then_some(PEER_CLOSED)
}
