//! Problems of a document, each with its line.

use std::fmt;
use std::path::Path;

/// A problem of a document or the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line; `None` on the command line.
    pub location: Option<Location>,
    /// The problem, and a remedy.
    pub message: Box<str>,
}

/// A line of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The path of the file, as it was given.
    pub path: Box<Path>,
    /// The line, counted from 1.
    pub line: usize,
}

/// The problems, one a line.
#[must_use]
pub fn one_a_line(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.path.display(), self.line)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = &self.location {
            write!(formatter, "{location}: ")?;
        }
        formatter.write_str(&self.message)
    }
}
