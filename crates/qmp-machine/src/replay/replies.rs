//! Recorded replies to commands.

use std::collections::BTreeMap;

use qmp_wire::{CommandError, server::Refusal};

/// Replies by command.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Replies {
    by_command: BTreeMap<Box<str>, Result<Box<str>, CommandError>>,
}

impl Replies {
    /// Records a reply. The first reply to a command is kept: it describes the state at the start of the recording.
    pub(super) fn note(&mut self, command: &str, reply: Result<&str, CommandError>) {
        self.by_command.entry(command.into()).or_insert_with(|| reply.map(Box::from));
    }

    /// Returns the reply to a command.
    ///
    /// # Errors
    ///
    /// The recorded error; `CommandNotFound` if the command was not recorded.
    pub(super) fn find(&self, command: &str) -> Result<Vec<u8>, Refusal> {
        match self.by_command.get(command) {
            Some(Ok(value)) => Ok(one_line(value)),
            Some(Err(error)) => Err(Refusal { class: class(&error.class), desc: error.desc.to_string() }),
            None => Err(Refusal::command_not_found(format!("The command {command} has not been found"))),
        }
    }
}

/// Returns a text without the line breaks that `pretty=on` puts between tokens; a string cannot contain one.
pub(super) fn one_line(value: &str) -> Vec<u8> {
    value.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect()
}

fn class(name: &str) -> &'static str {
    const CLASSES: [&str; 5] =
        ["GenericError", "CommandNotFound", "DeviceNotActive", "DeviceNotFound", "KVMMissingCap"];
    CLASSES.into_iter().find(|class| *class == name).unwrap_or("GenericError")
}
