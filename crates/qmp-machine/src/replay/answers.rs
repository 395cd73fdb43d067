//! What commands are answered with, as far as that is known.

use std::collections::BTreeMap;

use qmp_wire::{CommandError, server::Refusal};

/// Answers by the command that they answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answers {
    known: BTreeMap<Box<str>, Result<Box<str>, CommandError>>,
}

impl Answers {
    /// Notes an answer. Of several, the first stays: it tells how things stood when the recording began.
    pub(super) fn note(&mut self, command: &str, answer: Result<&str, CommandError>) {
        self.known.entry(command.into()).or_insert_with(|| answer.map(Box::from));
    }

    /// The answer to a command.
    ///
    /// # Errors
    ///
    /// What was recorded; `CommandNotFound` if nothing was.
    pub(super) fn find(&self, command: &str) -> Result<Vec<u8>, Refusal> {
        match self.known.get(command) {
            Some(Ok(value)) => Ok(one_line(value)),
            Some(Err(error)) => Err(Refusal { class: class(&error.class), desc: error.desc.to_string() }),
            None => Err(Refusal::command_not_found(format!("The command {command} has not been found"))),
        }
    }
}

/// A text without the line breaks that `pretty=on` puts between tokens; a string cannot hold one.
pub(super) fn one_line(value: &str) -> Vec<u8> {
    value.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect()
}

fn class(name: &str) -> &'static str {
    const CLASSES: [&str; 5] =
        ["GenericError", "CommandNotFound", "DeviceNotActive", "DeviceNotFound", "KVMMissingCap"];
    CLASSES.into_iter().find(|class| *class == name).unwrap_or("GenericError")
}
