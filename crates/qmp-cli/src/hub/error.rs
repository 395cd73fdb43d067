//! What can go wrong with the hub, and what a person does about it.

use std::fmt;

use qmp_wire::RecordError;

use crate::exit::Failure;

/// Errors of talking to the hub.
#[derive(Debug)]
pub enum HubError {
    /// Nobody answers there.
    NotRunning {
        /// Where.
        address: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// It cannot be talked to over TLS.
    NotTrusted {
        /// Where.
        address: String,
        /// What is wrong.
        why: String,
        /// What to do.
        hint: Option<&'static str>,
    },
    /// The connection broke off.
    Lost {
        /// What happened.
        what: String,
    },
    /// The hub refused the request.
    Refused {
        /// The HTTP status.
        status: u16,
        /// Which kind of refusal.
        class: String,
        /// For people.
        desc: String,
    },
    /// What answers there is no hub, or one of another release.
    NotAHub {
        /// What was unexpected.
        what: String,
    },
}

impl HubError {
    /// A line that should be a record is none.
    pub fn not_a_record(error: &RecordError) -> Self {
        Self::NotAHub { what: format!("it sent a line that is {error}") }
    }

    /// Whether the hub may come back by itself: it is stopped, starting, or its connection broke off.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::NotRunning { error, .. } => !is_refused(error),
            Self::Lost { .. } => true,
            _ => false,
        }
    }

    /// Whether the hub does not follow the VM that was asked about.
    pub fn is_unknown_vm(&self) -> bool {
        matches!(self, Self::Refused { class, .. } if class == "VmNotFound")
    }
}

impl fmt::Display for HubError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning { address, error } if is_refused(error) => {
                write!(f, "no permission for the hub's socket {address}: {error}")
            }
            Self::NotRunning { address, error } => write!(f, "no hub answers at {address}: {error}"),
            Self::NotTrusted { address, why, .. } => write!(f, "cannot trust the hub at {address}: {why}"),
            Self::Lost { what } => write!(f, "the connection to the hub broke off: {what}"),
            Self::Refused { class, desc, .. } => write!(f, "the hub refused: {class}: {desc}"),
            Self::NotAHub { what } => write!(f, "what answers there is no qmp hub: {what}"),
        }
    }
}

/// A hub may be there, and somebody else's.
fn is_refused(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::PermissionDenied
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        match &error {
            HubError::NotRunning { error: refused, .. } if is_refused(refused) => Self::failed(&error)
                .hint("run this as the hub's user, to whom the socket belongs, or as root")
                .hint("other users are let in at a port with tokens, and at relays: see \"Serving other hosts\" in the manual"),
            HubError::NotRunning { .. } => Self::failed(&error)
                .hint("start one: qmp serve --attach NAME=unix:/path/of/qmp.sock")
                .hint("a hub elsewhere: --hub ADDR or QMP_HUB; one VM without a hub: give its address instead of a name"),
            HubError::Refused { class, desc, .. } if matches!(class.as_str(), "VmNotFound" | "VmNotAttached" | "VmGone") => {
                Self::gone(desc)
            }
            HubError::NotTrusted { hint, .. } => hint.iter().fold(Self::failed(&error), Self::hint),
            HubError::Refused { status: 401, .. } => Self::failed(&error)
                .hint("the token stands in the variable QMP_TOKEN, or in a file: --token-file FILE"),
            HubError::Refused { status: 504, desc, .. } => Self::timed_out(desc),
            HubError::Refused { status: 400, desc, .. } => Self::usage(desc),
            HubError::Lost { .. } | HubError::Refused { .. } => Self::failed(&error),
            HubError::NotAHub { .. } => Self::failed(&error).hint("look at --hub and QMP_HUB"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn whoever_may_not_is_not_told_to_start_another_hub() {
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
            let said = format!("{failure:?}");
            assert!(said.contains(expected), "{said}");
            assert_eq!(said.contains("qmp serve"), kind == ErrorKind::NotFound, "{said}");
        }
    }
}
