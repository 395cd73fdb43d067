//! The states that a rule has reported and whose end it has not delivered, kept with the rule's position.
//!
//! A silence does not withhold the end of such a state: the receiver would report the state for ever.

use std::collections::{BTreeMap, BTreeSet};

use qmp_wire::Record;
use serde::{Deserialize, Serialize};

use super::state_end::{StateChange, state_change};

/// The states, by VM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct ReportedStates(BTreeMap<Box<str>, BTreeSet<Box<str>>>);

impl ReportedStates {
    /// Takes a record that the receiver got. A record may be taken again after a crash.
    pub(super) fn take(&mut self, record: &Record<'_>) {
        let vm = record.vm.as_ref();
        match state_change(&record.body) {
            StateChange::Begins(state) => {
                if !self.0.get(vm).is_some_and(|states| states.contains(&*state)) {
                    self.0.entry(vm.into()).or_default().insert(state.into());
                }
            }
            StateChange::Ends(state) => {
                let Some(states) = self.0.get_mut(vm) else { return };
                states.remove(&*state);
                if states.is_empty() {
                    self.0.remove(vm);
                }
            }
            StateChange::EndsAll => drop(self.0.remove(vm)),
        }
    }

    /// Whether the record ends a state that was reported.
    pub(super) fn are_ended_by(&self, record: &Record<'_>) -> bool {
        let Some(states) = self.0.get(record.vm.as_ref()) else { return false };
        match state_change(&record.body) {
            StateChange::Begins(_) => false,
            StateChange::Ends(state) => states.contains(&*state),
            StateChange::EndsAll => true,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use qmp_wire::{Body, DetachReason, Epoch, Seq, UnixMicros};

    use super::*;

    fn record(text: &'static str) -> Record<'static> {
        let (name, data) =
            text.split_once(' ').map_or((text, None), |(name, data)| (name, Some(data.into())));
        let body = match name {
            "attached" => Body::Attached { snapshot: "{}".into() },
            "detached" => {
                Body::Detached { reason: DetachReason::PeerClosed, detail: None, certain_until: None }
            }
            event if event.chars().all(|letter| letter.is_ascii_uppercase()) => {
                Body::Event { name: event.into(), sent_name: None, timestamp: None, data }
            }
            finding => {
                Body::Finding { finding: finding.into(), summary: "".into(), causes: Vec::new(), data }
            }
        };
        let (epoch, seq, received) = (Epoch(1), Seq(1), UnixMicros(0));
        Record { offset: None, vm: "web1".into(), epoch, seq, received, body }
    }

    #[test]
    fn end_belongs_to_the_state_that_was_reported() {
        let (rtc, other) = (r#"{"event": "RTC_CHANGE"}"#, r#"{"event": "NIC_RX_FILTER_CHANGED"}"#);
        let storm = |name: &str, data: &str| -> &'static str { format!("{name} {data}").leak() };
        let cases: [(&[&'static str], &'static str, bool); 14] = [
            (&[], "RESUME", false),
            (&[], "attached", false),
            (&["STOP"], "RESUME", true),
            (&["why-paused"], "RESUME", true),
            (&["STOP", "RESUME"], "RESUME", false),
            (&["STOP"], "STOP", false),
            (&["detached"], "attached", true),
            (&["silent"], "attached", true),
            (&["silent"], "RESUME", false),
            (&["silent"], "answers-again", true),
            (&[storm("storm", rtc)], storm("storm-over", rtc), true),
            (&[storm("storm", rtc)], storm("storm-over", other), false),
            (
                &[storm("storm", rtc), storm("storm", other), storm("storm-over", rtc)],
                storm("storm-over", other),
                true,
            ),
            (&["alert"], "resolved", true),
        ];
        for (delivered, end, expected) in cases {
            let mut reported = ReportedStates::default();
            delivered.iter().for_each(|text| reported.take(&record(text)));
            assert_eq!(reported.are_ended_by(&record(end)), expected, "{delivered:?}, {end}");
        }
    }
}
