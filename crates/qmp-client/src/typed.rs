//! Typed commands, and what is known about them by release.
//!
//! The commands themselves are generated: see [`commands`](crate::commands).

use qmp_events::Release;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::commander::Commander;
use crate::execute_error::ExecuteError;
use crate::monitor_client::MonitorClient;

/// A command with typed arguments and a typed reply. Serializes to the object of its arguments.
///
/// Implement it for a command that [`commands`](crate::commands) lacks:
///
/// ```
/// #[derive(serde::Serialize)]
/// struct QueryKvm {}
///
/// #[derive(serde::Deserialize)]
/// struct KvmInfo {
///     enabled: bool,
///     present: bool,
/// }
///
/// impl qmp_client::TypedCommand for QueryKvm {
///     type Reply = KvmInfo;
///     const NAME: &'static str = "query-kvm";
/// }
/// ```
pub trait TypedCommand: Serialize {
    /// The type of the reply.
    type Reply: DeserializeOwned;

    /// The command's name on the wire.
    const NAME: &'static str;
}

/// The reply to a command that returns nothing: an object without members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Nothing {}

/// A typed command, by release.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CommandDesc {
    /// The command's name on the wire.
    pub name: &'static str,
    /// The first release that has it; 0.14 also for commands that are older.
    pub since: Release,
    /// The first release without it.
    pub removed: Option<Release>,
    /// Its arguments.
    pub arguments: &'static [ArgumentDesc],
    /// Whether it accepts arguments by other names, such as the properties of a device.
    pub accepts_others: bool,
}

/// An argument of a typed command, by release.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ArgumentDesc {
    /// The argument's name on the wire.
    pub name: &'static str,
    /// Whether the command fails without it, in releases before `optional_since`.
    pub mandatory: bool,
    /// The first release that does not need a mandatory argument.
    pub optional_since: Option<Release>,
    /// The first release that has it.
    pub since: Release,
    /// The first release without it.
    pub removed: Option<Release>,
}

impl CommandDesc {
    /// Whether a release has the command.
    #[must_use]
    pub fn is_in(&self, release: Release) -> bool {
        is_between(release, self.since, self.removed)
    }
}

impl ArgumentDesc {
    /// Whether a release has the argument.
    #[must_use]
    pub fn is_in(&self, release: Release) -> bool {
        is_between(release, self.since, self.removed)
    }

    /// Whether the command of a release fails without the argument.
    #[must_use]
    pub fn is_mandatory_in(&self, release: Release) -> bool {
        self.mandatory && is_between(release, self.since, self.optional_since)
    }
}

fn is_between(release: Release, since: Release, removed: Option<Release>) -> bool {
    since <= release && removed.is_none_or(|removed| release < removed)
}

impl Commander {
    /// Executes a typed command.
    ///
    /// # Errors
    ///
    /// Any [`ExecuteError`]; `Refused` with the class `CommandNotFound` if the release lacks the command.
    pub async fn run<C: TypedCommand>(&self, command: &C) -> Result<C::Reply, ExecuteError> {
        let arguments = serde_json::to_string(command)
            .map_err(|error| ExecuteError::InvalidArguments { what: error.to_string().into() })?;
        let arguments = Some(&*arguments).filter(|text| *text != "{}");
        let reply = self.execute_raw(C::NAME, arguments).await?;
        serde_json::from_str(&reply)
            .map_err(|error| ExecuteError::UnexpectedReply { what: error.to_string().into() })
    }
}

impl MonitorClient {
    /// Executes a typed command; see [`Commander::run`].
    ///
    /// # Errors
    ///
    /// Any [`ExecuteError`].
    pub async fn run<C: TypedCommand>(&self, command: &C) -> Result<C::Reply, ExecuteError> {
        self.commander().run(command).await
    }
}
