//! The alerts of a rule that are not resolved, kept with the rule's position.
//!
//! Each record of an alert sets the VM's entry, and each end removes it, so that records may be taken again after a crash.

use std::collections::BTreeMap;

use qmp_findings::{ALERT, OpenAlert};
use qmp_wire::{Body, Record, UnixMicros};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The alerts, by VM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct OpenAlerts(BTreeMap<Box<str>, State>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    state: Box<str>,
    /// Microseconds since the Unix epoch.
    since: i64,
}

impl OpenAlerts {
    /// Takes a record of the rule's selection.
    pub(super) fn take(&mut self, record: &Record<'_>) {
        let Body::Finding { finding, data, .. } = &record.body else { return };
        if *finding != ALERT {
            self.0.remove(record.vm.as_ref());
            return;
        }
        let data: Value =
            data.as_deref().and_then(|data| serde_json::from_str(data).ok()).unwrap_or_default();
        let since: Option<UnixMicros> =
            data.get("since").and_then(Value::as_str).and_then(|since| since.parse().ok());
        if let (Some(state), Some(UnixMicros(since))) = (data.get("state").and_then(Value::as_str), since) {
            self.0.insert(record.vm.as_ref().into(), State { state: state.into(), since });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The alerts, as those of this rule.
    pub(super) fn of_rule(self, rule: &str) -> impl Iterator<Item = OpenAlert> {
        self.0.into_iter().map(move |(vm, State { state, since })| OpenAlert {
            rule: rule.into(),
            vm,
            state,
            since: UnixMicros(since),
        })
    }
}
