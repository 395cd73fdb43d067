//! The next version of a rule that runs, from a reload: the VMs that it still selects under the same names keep their epochs.

use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::rule::DiscoveryRule;

/// Most updates that wait for a keeper. A reload waits for each.
pub(super) const RULE_UPDATES_MAX: usize = 4;

/// The next version of the rule of a keeper.
#[derive(Debug)]
pub(super) struct RuleUpdate {
    pub(super) rule: Arc<DiscoveryRule>,
    /// Dropped, with its copies, once the VMs are those that the rule selects.
    pub(super) done: mpsc::Sender<Infallible>,
}
