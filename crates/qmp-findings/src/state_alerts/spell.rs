//! A rule on states, and the time that a VM is in its states.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use qmp_wire::UnixMicros;

use crate::condition::Condition;
use crate::finding::Id;
use crate::kinds::SILENT;

/// A rule on states.
#[derive(Clone, Debug)]
pub struct StateRule {
    /// Its name.
    pub name: Box<str>,
    /// Run states as in [`VmState`](crate::state::VmState), and `silent`.
    pub states: Vec<Box<str>>,
    /// How long a VM is in one of them before the alert.
    pub lasts: Duration,
    /// The VMs, and when the rule is silenced.
    pub scope: Arc<dyn StateRuleScope>,
}

/// The VMs of a rule, and when it is silenced.
pub trait StateRuleScope: fmt::Debug + Send + Sync {
    /// Whether the rule is about this VM.
    fn selects(&self, vm: &str) -> bool;

    /// Until when the rule is silenced for this VM, if it is silenced at `at`.
    fn silenced_until(&self, vm: &str, at: UnixMicros) -> Option<UnixMicros>;
}

/// A time in the states of a rule.
#[derive(Debug)]
pub(super) struct Spell {
    pub(super) state: Box<str>,
    pub(super) since: UnixMicros,
    /// The record with which the state began; `None` for a restored alert.
    pub(super) cause: Option<Id>,
    /// Why the VM is in the state, in a sentence; empty if that is not known.
    pub(super) reason: Box<str>,
    pub(super) progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The alert is due at this time.
    Waits(UnixMicros),
    /// The alert is due, and the state is not known.
    OnHold(UnixMicros),
    Raised,
}

impl StateRule {
    /// Whether a condition says whether the VM is in a state of the rule: a silent VM is in a state that is not known, unless
    /// the rule is about silence.
    pub(super) fn knows(&self, condition: &Condition) -> bool {
        *condition.state != *SILENT || self.states.contains(&condition.state)
    }
}

impl Spell {
    pub(super) fn begin(rule: &StateRule, condition: &Condition, now: UnixMicros) -> Self {
        let due = later(condition.since, rule.lasts).max(now);
        Self {
            state: condition.state.clone(),
            since: condition.since,
            cause: Some(condition.cause),
            reason: condition.reason.clone(),
            progress: Progress::Waits(due),
        }
    }

    pub(super) fn is(&self, condition: &Condition) -> bool {
        (&self.state, self.since) == (&condition.state, condition.since)
    }

    pub(super) fn deadline(&self) -> Option<UnixMicros> {
        match self.progress {
            Progress::Waits(at) => Some(at),
            Progress::OnHold(_) | Progress::Raised => None,
        }
    }

    pub(super) fn hold(&mut self) {
        if let Progress::Waits(at) = self.progress {
            self.progress = Progress::OnHold(at);
        }
    }

    /// The state lasts. Its reason may have been found out meanwhile.
    pub(super) fn go_on(&mut self, condition: &Condition, now: UnixMicros) {
        if self.reason != condition.reason {
            self.reason = condition.reason.clone();
        }
        if let Progress::OnHold(at) = self.progress {
            self.progress = Progress::Waits(at.max(now));
        }
    }
}

pub(super) fn later(at: UnixMicros, span: Duration) -> UnixMicros {
    UnixMicros(at.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
}
