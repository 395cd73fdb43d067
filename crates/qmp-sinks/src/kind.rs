//! The description of a kind of sink.

use std::sync::Arc;

use qmp_settings::Settings;

use super::delivery::RuleAction;

/// A kind of sink: its keys in the configuration.
#[derive(Debug)]
pub struct SinkKind {
    /// The key of the action, which is also the name of the kind.
    pub key: &'static str,
    /// Optional keys.
    pub options: &'static [&'static str],
    /// An example, for messages about a rule without an action.
    pub example: &'static str,
    /// Whether `at-most` is allowed.
    pub may_hold_back: bool,
    /// Reads its keys; `None` after a problem.
    pub read: fn(&mut Settings<'_, '_>) -> Option<Arc<dyn RuleAction>>,
}
