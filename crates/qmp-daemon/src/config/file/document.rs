//! The document of a configuration. The sibling modules extend it with readers of its keys.

use std::ops::{Deref, DerefMut};
use std::path::Path;

use qmp_settings::{Document, TomlValue};

/// A document with readers for the hub's keys.
pub(in crate::config) struct ConfigDocument<'t>(pub(super) Document<'t>);

impl<'t> ConfigDocument<'t> {
    /// Warns about a path that depends on the working directory of the hub.
    pub(super) fn warn_relative(&mut self, value: &TomlValue<'t>, path: Option<&Path>) {
        if let Some(path) = path.filter(|path| path.is_relative()) {
            let shown = path.display();
            let message = format!(
                "{shown} is a relative path, resolved against the working directory of the hub; write the absolute path"
            );
            self.warn(&value.span(), &message);
        }
    }
}

impl<'t> Deref for ConfigDocument<'t> {
    type Target = Document<'t>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for ConfigDocument<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}
