//! Rules on states: the hub raises their alerts, and the rules deliver them.

use std::sync::Arc;

use qmp_findings::{StateRule, StateRuleScope};
use qmp_wire::UnixMicros;

use super::rule::{RuleConfig, StateSelection};
use super::rules::Rules;

/// The VMs of a rule, and its silences.
#[derive(Debug)]
struct Scope {
    rule: RuleConfig,
    rules: Rules,
}

impl Rules {
    /// The rules on states among `configured`, for the hub.
    #[must_use]
    pub fn state_rules(&self, configured: &[RuleConfig]) -> Vec<StateRule> {
        let of_hub = |rule: &RuleConfig| {
            let StateSelection { states, lasts, .. } = rule.states.clone()?;
            let scope = Arc::new(Scope { rule: rule.clone(), rules: self.clone() });
            Some(StateRule { name: rule.name.clone(), states, lasts, scope })
        };
        configured.iter().filter_map(of_hub).collect()
    }
}

impl StateRuleScope for Scope {
    fn selects(&self, vm: &str) -> bool {
        self.rule.states.as_ref().is_some_and(|states| states.has_vm(vm))
    }

    fn silenced_until(&self, vm: &str, at: UnixMicros) -> Option<UnixMicros> {
        self.rules.silenced_until(&self.rule, vm, at)
    }
}
