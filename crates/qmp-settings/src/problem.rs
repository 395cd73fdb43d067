//! Problems of a document, each with its line.

use std::fmt;
use std::path::Path;

/// One thing that is wrong with a document or the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where; `None` on the command line.
    pub place: Option<Place>,
    /// What is wrong, and what to do.
    pub message: Box<str>,
}

/// A line of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub path: Box<Path>,
    /// The line, counted from 1.
    pub line: usize,
}

/// The problems, one a line.
#[must_use]
pub fn one_a_line(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.path.display(), self.line)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(formatter, "{place}: ")?;
        }
        formatter.write_str(&self.message)
    }
}
