//! Errors of requests to the hub, with hints for the user.

use std::fmt;
use std::time::Duration;

use qmp_wire::RecordError;

use crate::exit::Failure;

/// Errors of requests to the hub.
#[derive(Debug)]
pub enum HubError {
    /// No hub answers at the address.
    NotRunning {
        /// The address.
        address: String,
        /// The system's error.
        error: std::io::Error,
    },
    /// TLS with the hub failed.
    NotTrusted {
        /// The address.
        address: String,
        /// The reason.
        why: String,
        /// How to fix it.
        hint: Option<&'static str>,
    },
    /// The hub accepted the connection and does not respond.
    Unresponsive {
        /// The address.
        address: String,
        /// How long the client waited.
        waited: Duration,
    },
    /// The connection was lost.
    Lost {
        /// The reason.
        what: String,
    },
    /// The hub returned an error.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The class of the error.
        class: String,
        /// The description, for people.
        desc: String,
    },
    /// The peer is not a hub, or a hub of another release.
    NotAHub {
        /// The unexpected response.
        what: String,
    },
}

impl HubError {
    /// A line of a stream is not a record.
    pub fn not_a_record(error: &RecordError) -> Self {
        Self::NotAHub { what: format!("it sent a line that is {error}") }
    }

    /// Whether the hub may come back by itself: it is stopped or starting, or the connection was lost.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::NotRunning { error, .. } => !is_refused(error),
            Self::Lost { .. } | Self::Unresponsive { .. } => true,
            _ => false,
        }
    }

    /// Whether the hub does not follow the VM of the request.
    pub fn is_unknown_vm(&self) -> bool {
        matches!(self, Self::Refused { class, .. } if class == "VmNotFound")
    }
}

impl HubError {
    /// The failure of a command that takes no address: without a hub, only the journal's file can be read.
    pub fn without_address(self) -> Failure {
        match &self {
            Self::NotRunning { error, .. } if !is_refused(error) => Failure::failed(&self)
                .hint(START_HINT)
                .hint("a hub elsewhere: --hub ADDR or QMP_HUB")
                .hint("without a hub, qmp log and qmp why VM read the journal's file (--journal FILE)"),
            _ => self.into(),
        }
    }
}

/// The hint if no hub answers.
const START_HINT: &str = "start one: qmp serve --attach NAME=unix:/path/of/qmp.sock";

impl fmt::Display for HubError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning { address, error } if is_refused(error) => {
                write!(f, "no permission for the hub's socket {address}: {error}")
            }
            Self::NotRunning { address, error } => write!(f, "no hub answers at {address}: {error}"),
            Self::NotTrusted { address, why, .. } => write!(f, "cannot trust the hub at {address}: {why}"),
            Self::Unresponsive { address, waited } => {
                write!(f, "the hub at {address} accepted the connection and has not answered for {waited:?}")
            }
            Self::Lost { what } => write!(f, "the connection to the hub broke off: {what}"),
            Self::Refused { class, desc, .. } => write!(f, "the hub refused: {class}: {desc}"),
            Self::NotAHub { what } => write!(f, "the peer is not a qmp hub: {what}"),
        }
    }
}

/// The socket exists and belongs to another user; a hub may be running.
fn is_refused(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::PermissionDenied
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        match &error {
            HubError::NotRunning { error: refused, .. } if is_refused(refused) => Self::failed(&error)
                .hint("run this as the hub's user, who owns the socket, or as root")
                .hint("other users can connect to a port with tokens, and to relays: see \"Serving other hosts\" in the manual"),
            HubError::NotRunning { .. } => Self::failed(&error)
                .hint(START_HINT)
                .hint("a hub elsewhere: --hub ADDR or QMP_HUB; one VM without a hub: give its address instead of a name"),
            HubError::Refused { class, desc, .. } if matches!(class.as_str(), "VmNotFound" | "VmNotAttached" | "VmGone") => {
                Self::gone(desc)
            }
            HubError::NotTrusted { hint, .. } => hint.iter().fold(Self::failed(&error), Self::hint),
            HubError::Refused { status: 401, .. } => Self::failed(&error)
                .hint("the token is read from the variable QMP_TOKEN, or from a file: --token-file FILE"),
            HubError::Refused { status: 504, desc, .. } => Self::timed_out(desc),
            HubError::Refused { status: 400, desc, .. } => Self::usage(desc),
            HubError::Lost { .. } | HubError::Refused { .. } => Self::failed(&error),
            HubError::Unresponsive { .. } => Self::failed(&error)
                .hint("its process is stopped (SIGSTOP, a debugger) or overloaded: systemctl status qmp-events, or ps")
                .hint("qmp log --journal FILE and qmp why VM --journal FILE read its journal without it"),
            HubError::NotAHub { .. } => Self::failed(&error).hint("check --hub and QMP_HUB"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn address_is_suggested_only_where_it_is_taken() {
        let error =
            || HubError::NotRunning { address: "unix:/h.sock".into(), error: ErrorKind::NotFound.into() };
        assert!(Failure::from(error()).to_string().contains("give its address instead"));
        let failure = error().without_address().to_string();
        assert!(!failure.contains("address") && failure.contains("qmp log"), "{failure}");
    }

    #[test]
    fn missing_permission_does_not_suggest_starting_a_hub() {
        let cases = [
            (
                ErrorKind::PermissionDenied,
                "no permission for the hub's socket unix:/h.sock: permission denied",
            ),
            (ErrorKind::NotFound, "no hub answers at unix:/h.sock: entity not found"),
        ];
        for (kind, expected) in cases {
            let failure =
                Failure::from(HubError::NotRunning { address: "unix:/h.sock".into(), error: kind.into() });
            let shown = format!("{failure:?}");
            assert!(shown.contains(expected), "{shown}");
            assert_eq!(shown.contains("qmp serve"), kind == ErrorKind::NotFound, "{shown}");
        }
    }
}
