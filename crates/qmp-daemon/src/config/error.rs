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
        /// The error of the system.
        error: std::io::Error,
    },
    /// The configuration is invalid; one line for each problem.
    #[error("{}", one_a_line(problems))]
    Wrong {
        /// The problems, at least one.
        problems: Vec<Problem>,
        /// Possible faults of the file.
        warnings: Vec<Problem>,
    },
}

impl ConfigError {
    /// The possible faults of the file.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        match self {
            Self::Wrong { warnings, .. } => warnings,
            Self::Read { .. } => &[],
        }
    }
}
