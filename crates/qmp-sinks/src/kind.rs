//! The description of a kind of sink.

use std::sync::Arc;

use qmp_settings::Settings;
use qmp_settings::schema::Variant;

use super::delivery::RuleAction;

/// A kind of sink: its keys in the configuration.
#[derive(Debug)]
pub struct SinkKind {
    /// The key of the action, whose name is also that of the kind, and its options.
    pub variant: &'static Variant,
    /// Whether `at-most` is allowed.
    pub may_hold_back: bool,
    /// Reads its keys; `None` after a problem.
    pub read: fn(&mut Settings<'_, '_>) -> Option<Arc<dyn RuleAction>>,
}

impl SinkKind {
    /// The key of the action, which is also the name of the kind.
    #[must_use]
    pub fn key(&self) -> &'static str {
        self.variant.key.name
    }
}
