//! Run states.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The run state of a machine.
///
/// Source: QAPI `RunState` of QEMU 2.8 and later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are QAPI's")]
pub enum RunState {
    Debug,
    Inmigrate,
    InternalError,
    IoError,
    Paused,
    Postmigrate,
    Prelaunch,
    FinishMigrate,
    RestoreVm,
    Running,
    SaveVm,
    Shutdown,
    Suspended,
    Watchdog,
    GuestPanicked,
    Colo,
}

/// All run states, in the order of the schema.
pub const RUN_STATES: [RunState; 16] = [
    RunState::Debug,
    RunState::Inmigrate,
    RunState::InternalError,
    RunState::IoError,
    RunState::Paused,
    RunState::Postmigrate,
    RunState::Prelaunch,
    RunState::FinishMigrate,
    RunState::RestoreVm,
    RunState::Running,
    RunState::SaveVm,
    RunState::Shutdown,
    RunState::Suspended,
    RunState::Watchdog,
    RunState::GuestPanicked,
    RunState::Colo,
];

impl RunState {
    /// Returns the string on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Inmigrate => "inmigrate",
            Self::InternalError => "internal-error",
            Self::IoError => "io-error",
            Self::Paused => "paused",
            Self::Postmigrate => "postmigrate",
            Self::Prelaunch => "prelaunch",
            Self::FinishMigrate => "finish-migrate",
            Self::RestoreVm => "restore-vm",
            Self::Running => "running",
            Self::SaveVm => "save-vm",
            Self::Shutdown => "shutdown",
            Self::Suspended => "suspended",
            Self::Watchdog => "watchdog",
            Self::GuestPanicked => "guest-panicked",
            Self::Colo => "colo",
        }
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// The error of parsing a run state that no release has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no run state of QEMU")]
#[non_exhaustive]
pub struct ParseRunStateError {
    /// The text.
    pub text: Box<str>,
}

impl FromStr for RunState {
    type Err = ParseRunStateError;

    fn from_str(text: &str) -> Result<Self, ParseRunStateError> {
        let known = RUN_STATES.into_iter().find(|state| state.as_str() == text);
        known.ok_or_else(|| ParseRunStateError { text: text.into() })
    }
}

impl Serialize for RunState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for RunState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'_, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_survives_its_text() {
        for state in RUN_STATES {
            assert_eq!(state.to_string().parse(), Ok(state));
            let json = serde_json::to_string(&state).unwrap();
            assert_eq!(json, format!("\"{state}\""));
            assert_eq!(serde_json::from_str::<RunState>(&json).unwrap(), state);
        }
        assert_eq!(format!("{:>8}|", RunState::Paused), "  paused|");
    }

    #[test]
    fn unknown_state_is_an_error_with_its_text() {
        for text in ["", "Running", "of-tomorrow"] {
            assert_eq!(text.parse::<RunState>(), Err(ParseRunStateError { text: text.into() }));
        }
        assert!(serde_json::from_str::<RunState>("1").is_err());
    }
}
