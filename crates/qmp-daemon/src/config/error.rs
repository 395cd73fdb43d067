//! Errors of reading a configuration.

use std::path::Path;

use qmp_settings::{Problem, one_a_line};

/// Errors of reading a configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {error}", path.display())]
    Read {
        /// The file.
        path: Box<Path>,
        /// What the system said.
        error: std::io::Error,
    },
    /// The configuration is wrong; one line for each problem.
    #[error("{}", one_a_line(problems))]
    Wrong {
        /// What is wrong, at least one thing.
        problems: Vec<Problem>,
        /// What looks wrong in the file besides, and may be right.
        doubts: Vec<Problem>,
    },
}

impl ConfigError {
    /// What looks wrong in the file besides what is.
    #[must_use]
    pub fn doubts(&self) -> &[Problem] {
        match self {
            Self::Wrong { doubts, .. } => doubts,
            Self::Read { .. } => &[],
        }
    }
}
