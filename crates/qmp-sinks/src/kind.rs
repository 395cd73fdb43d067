//! The kinds of sinks.

use std::sync::Arc;

use qmp_settings::Settings;

use super::delivery::Action;
use super::{file, journald, run, webhook};

/// A kind of sink: how it stands in the configuration.
#[derive(Debug)]
pub struct Kind {
    /// The key that says what to do, which is also its name.
    pub key: &'static str,
    /// Further keys that go with it.
    pub options: &'static [&'static str],
    /// How it is written, for whoever wrote none.
    pub example: &'static str,
    /// Whether it makes sense to hold records back.
    pub may_hold_back: bool,
    /// Reads its keys; `None` after a problem.
    pub read: fn(&mut Settings<'_, '_>) -> Option<Arc<dyn Action>>,
}

/// Every kind. A new one is a file and its line here.
pub static KINDS: [&Kind; 4] = [&run::KIND, &webhook::KIND, &journald::KIND, &file::KIND];
