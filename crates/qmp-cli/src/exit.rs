//! How the program ends: the exit codes, and the error that leads to one.
//!
//! Every command returns [`Exit`] when it did what it is for, and [`Failure`] when it could not. Only
//! `main` prints a failure, as one line `qmp: …` and one line `hint: …` for each way out.

use std::fmt;
use std::io;

use qmp_journal::JournalError;

/// The exit codes, the same for all commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Did what was asked.
    Done = 0,
    /// It failed, or violations were found.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// The time allowed ran out.
    TimedOut = 3,
    /// The VM is gone, or was not there.
    Gone = 4,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command could not do what was asked, and what a person can do about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    exit: Exit,
    messages: Vec<String>,
    hints: Vec<String>,
}

impl Failure {
    /// Something failed: exit code 1.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::with(Exit::Failed, message)
    }

    /// The command line or the configuration is wrong: exit code 2.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::with(Exit::Usage, message)
    }

    /// Time ran out: exit code 3.
    pub fn timed_out(message: impl fmt::Display) -> Self {
        Self::with(Exit::TimedOut, message)
    }

    /// The VM is gone or was not there: exit code 4.
    pub fn gone(message: impl fmt::Display) -> Self {
        Self::with(Exit::Gone, message)
    }

    /// Adds a line that says what to do.
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hints.push(hint.to_string());
        self
    }

    /// Adds another thing that is wrong.
    pub fn and(mut self, message: impl fmt::Display) -> Self {
        self.messages.push(message.to_string());
        self
    }

    /// What is wrong, one line each.
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

/// A reader that went away (`qmp log | head`) has what it wanted: that ends the program quietly, with 0.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { exit: Exit::Done, messages: Vec::new(), hints: Vec::new() };
        }
        Self::failed(format_args!("cannot write the output: {error}"))
    }
}

/// A path that is no journal is a wrong path; anything else is trouble with a right one.
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
    fn prints_one_line_and_hints() {
        let failure = Failure::gone("web1 is not attached").hint("qmp log --vm web1").hint("see qmp serve");
        assert_eq!(
            failure.to_string(),
            "qmp: web1 is not attached\nhint: qmp log --vm web1\nhint: see qmp serve\n"
        );
        assert_eq!(failure.exit() as u8, 4);
    }

    #[test]
    fn a_closed_pipe_is_quiet_and_other_errors_are_not() {
        let quiet = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((quiet.exit(), quiet.to_string().as_str()), (Exit::Done, ""));
        let full = Failure::from(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(full.exit(), Exit::Failed);
        assert!(full.to_string().starts_with("qmp: cannot write the output"), "{full}");
    }

    #[test]
    fn what_a_peer_said_cannot_drive_the_terminal() {
        assert_eq!(Failure::failed("bad \x1b[2J").to_string(), "qmp: bad \\u001b[2J\n");
    }
}
