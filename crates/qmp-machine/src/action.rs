//! Actions: what can be done to a machine, by command name.

use qmp_server::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One action on a machine: a QEMU command, or an act of the guest (`x-guest-…`) or of the host (`x-host-…`).
///
/// `{"execute": "x-guest-watchdog"}` and `{"execute": "device_del", "arguments": {"id": "net0"}}` are actions.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// The command's name.
    pub execute: Box<str>,
    /// Its arguments.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub arguments: Map<String, Value>,
}

impl Action {
    /// Creates an action without arguments.
    #[must_use]
    pub fn new(execute: &str) -> Self {
        Self { execute: execute.into(), arguments: Map::new() }
    }

    /// Adds an argument.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.arguments.insert(name.into(), value.into());
        self
    }
}

/// Errors of performing an action on a machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ActionError {
    /// The machine refused the action with the error that a client would get.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No command of the release has this name.
    #[error("{refusal}{}", .near.map_or(String::new(), |near| format!("; did you mean \"{near}\"?")))]
    Unknown {
        /// The error that a client would get.
        refusal: Refusal,
        /// The most similar command name.
        near: Option<&'static str>,
    },
    /// The machine exited and performs no more actions.
    #[error("the machine exited with status {status}")]
    Exited {
        /// The exit status that a QEMU would have.
        status: i32,
    },
}
