//! Values with their lines.

use qmp_settings::Location;

/// A value and its line.
#[derive(Clone, Debug)]
pub(in crate::config) struct Located<T> {
    pub(in crate::config) value: T,
    /// `None` for a value of the command line or a default.
    pub(in crate::config) location: Option<Location>,
}

impl<T> Located<T> {
    /// A value of the command line, or a default.
    pub(in crate::config) fn nowhere(value: T) -> Self {
        Self { value, location: None }
    }
}
