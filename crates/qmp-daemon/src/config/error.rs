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
    /// The configuration is wrong; one line for each problem, at least one.
    #[error("{}", one_a_line(.0))]
    Wrong(Vec<Problem>),
}
