//! A rule with a sink of the test.

use std::path::Path;
use std::sync::Arc;

use qmp_journal::Journal;
use qmp_sinks::{RuleAction, RuleConfig, Rules, Selection};

/// Starts a rule that delivers every record of the journal to the sink that `action` opens.
pub(crate) async fn start(action: Arc<dyn RuleAction>, journal: &Journal, path: &Path) -> Rules {
    let rule = RuleConfig {
        name: "r".into(),
        selection: Selection::default(),
        states: None,
        at_most: None,
        from_start: true,
        kind: "test",
        takes_every_record: true,
        action,
        text: "".into(),
    };
    Rules::start(vec![rule], None, journal, path).await.expect("starts")
}
