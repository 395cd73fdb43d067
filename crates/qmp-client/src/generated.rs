//! The typed commands, which `cargo xtask codegen` generates from the catalogue, and methods of their types.

pub mod commands;

use qmp_events::{ParseRunStateError, RunState};

use crate::typed::CommandDesc;
use commands::StatusInfo;

impl CommandDesc {
    /// The description of a typed command; `None` if the command is not typed.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        commands::COMMANDS.iter().find(|command| command.name == name)
    }
}

impl StatusInfo {
    /// The run state.
    ///
    /// # Errors
    ///
    /// [`ParseRunStateError`] for a state that the catalogue lacks; `status` has its text.
    pub fn run_state(&self) -> Result<RunState, ParseRunStateError> {
        self.status.parse()
    }
}
