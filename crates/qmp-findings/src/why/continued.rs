//! Explanations that are continued over gaps.

use std::time::Duration;

use qmp_wire::Epoch;
use serde_json::json;

use crate::observation::Observation;
use crate::persist::persist;
use crate::process::Identity;
use crate::state::Explanation;
use crate::text;

/// An explanation that is continued from an earlier epoch.
#[derive(Clone, Debug)]
pub(super) struct ContinuedExplanation {
    pub(super) explanation: Explanation,
    /// The epoch in which it began.
    pub(super) from: Epoch,
    /// The total length of the gaps since, in microseconds.
    pub(super) unseen_us: u64,
}

persist!(ContinuedExplanation { explanation, from, unseen_us });

impl ContinuedExplanation {
    /// The explanation of this run state in the epoch that `input` opens.
    pub(super) fn explained(&self, identity: Identity, status: &str, input: &Observation<'_>) -> Explanation {
        let mut explained = self.explanation.clone();
        let (from, to) = (self.from.0, input.id.0.0);
        let unseen = Duration::from_micros(self.unseen_us);
        let in_all = if to - from > 1 { " in all" } else { "" };
        let same = if identity == Identity::Same {
            "its process and its run state were the same"
        } else {
            "its run state was the same"
        };
        explained.summary = format!(
            "{} Nothing was recorded for {}{in_all} between epochs {from} and {to}; {same} before and after.",
            self.explanation.summary,
            text::span(unseen),
        );
        explained.run_state = status.into();
        explained.causes.push(input.id);
        let gap = json!({"epochs": [from, to], "seconds": text::seconds(unseen)});
        explained.details.insert("gap".to_owned(), gap);
        explained
    }
}
