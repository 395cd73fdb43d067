//! The exit codes of the program, and the error that leads to one.
//!
//! A command returns [`Exit`] when it is done, and [`Failure`] when it failed. Only `main` prints a failure, as one line
//! `qmp: …` and one line `hint: …` for each way to fix it.

use std::fmt;
use std::io;

use qmp_journal::JournalError;

/// The exit codes, the same for all commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The command succeeded.
    Done = 0,
    /// The command failed, or violations were found.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// The time limit was reached.
    TimedOut = 3,
    /// The VM is gone, or did not exist.
    Gone = 4,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed, and what the user can do about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    exit: Exit,
    messages: Vec<String>,
    hints: Vec<String>,
}

impl Failure {
    /// A general failure: exit code 1.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::with(Exit::Failed, message)
    }

    /// The command line or the configuration is wrong: exit code 2.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::with(Exit::Usage, message)
    }

    /// The time limit was reached: exit code 3.
    pub fn timed_out(message: impl fmt::Display) -> Self {
        Self::with(Exit::TimedOut, message)
    }

    /// The VM is gone or did not exist: exit code 4.
    pub fn gone(message: impl fmt::Display) -> Self {
        Self::with(Exit::Gone, message)
    }

    /// Adds a line with a way to fix it.
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hints.push(hint.to_string());
        self
    }

    /// Adds another error.
    pub fn and(mut self, message: impl fmt::Display) -> Self {
        self.messages.push(message.to_string());
        self
    }

    /// The errors, one line each.
    pub fn messages(&self) -> &[String] {
        &self.messages
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    fn with(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, messages: vec![message.to_string()], hints: Vec::new() }
    }
}

/// The lines for the standard error, each ended by a line feed; nothing when the failure is silent.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for message in &self.messages {
            writeln!(f, "qmp: {}", crate::render::escape::text(message))?;
        }
        for hint in &self.hints {
            writeln!(f, "hint: {}", crate::render::escape::text(hint))?;
        }
        Ok(())
    }
}

/// A closed pipe (`qmp log | head`) is no failure: the program ends silently, with 0.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { exit: Exit::Done, messages: Vec::new(), hints: Vec::new() };
        }
        Self::failed(format_args!("cannot write the output: {error}"))
    }
}

/// A path that is not a journal is an error of usage; any other error is a failure.
impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        match &error {
            JournalError::Directory { .. }
            | JournalError::Empty { .. }
            | JournalError::NotSqlite { .. }
            | JournalError::OtherApplication { .. }
            | JournalError::StrayWal { .. } => Self::usage(error),
            _ => Self::failed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_is_one_line_and_hints() {
        let failure = Failure::gone("web1 is not attached").hint("qmp log --vm web1").hint("see qmp serve");
        assert_eq!(
            failure.to_string(),
            "qmp: web1 is not attached\nhint: qmp log --vm web1\nhint: see qmp serve\n"
        );
        assert_eq!(failure.exit() as u8, 4);
    }

    #[test]
    fn closed_pipe_is_silent_and_other_errors_are_printed() {
        let quiet = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((quiet.exit(), quiet.to_string().as_str()), (Exit::Done, ""));
        let full = Failure::from(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(full.exit(), Exit::Failed);
        assert!(full.to_string().starts_with("qmp: cannot write the output"), "{full}");
    }

    #[test]
    fn control_characters_of_a_peer_are_escaped() {
        assert_eq!(Failure::failed("bad \x1b[2J").to_string(), "qmp: bad \\u001b[2J\n");
    }
}
