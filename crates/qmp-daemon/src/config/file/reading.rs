//! The document of a configuration, which the files beside this one give readers of its keys.

use std::ops::{Deref, DerefMut};

use qmp_settings::Document;

/// A document, with the readers of the hub's own keys.
pub(in crate::config) struct Reading<'t>(pub(super) Document<'t>);

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
