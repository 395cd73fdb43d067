//! The document of a configuration, which the files beside this one give readers of its keys.

use std::ops::{Deref, DerefMut};
use std::path::Path;

use qmp_settings::{Document, Value};

/// A document, with the readers of the hub's own keys.
pub(in crate::config) struct Reading<'t>(pub(super) Document<'t>);

impl<'t> Reading<'t> {
    /// Doubts a path that depends on the directory in which the hub is started.
    pub(super) fn doubt_relative(&mut self, value: &Value<'t>, path: Option<&Path>) {
        if let Some(path) = path.filter(|path| path.is_relative()) {
            let shown = path.display();
            let message = format!(
                "{shown} is a relative path, taken from the directory in which the hub is started; write the whole path"
            );
            self.warn(&value.span(), &message);
        }
    }
}

impl<'t> Deref for Reading<'t> {
    type Target = Document<'t>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Reading<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}
