//! Limits how many findings of one kind a VM may cause: a guest must not fill the journal with conclusions.
//!
//! [`FINDINGS_BURST`] findings of a kind pass at once, and as many again in each [`FINDINGS_SPAN`]. The others are
//! counted, and the count is reported when a finding of that kind may pass again, or when the epoch ends.

use serde_json::json;

use crate::conclusion::Conclusion;
use crate::finding::Id;
use crate::limits::{FINDINGS_BURST, FINDINGS_SPAN};
use crate::local_time::{Moment, micros};
use crate::persist::persist;

pub(super) const FINDINGS_WITHHELD: &str = "findings-withheld";

/// The budgets of a VM, by kind.
#[derive(Debug, Default)]
pub(super) struct Budget {
    kinds: Vec<KindBudget>,
}

#[derive(Debug)]
struct KindBudget {
    kind: &'static str,
    /// When the whole allowance is available again.
    free_at: Moment,
    withheld: Option<WithheldFindings>,
}

/// Findings that were counted and not recorded.
#[derive(Debug)]
struct WithheldFindings {
    count: u64,
    first: Id,
    last: Id,
}

persist!(Budget { kinds });
persist!(KindBudget { kind, free_at, withheld });
persist!(WithheldFindings { count, first, last });

impl Budget {
    /// Returns the conclusion if it may pass, and counts it otherwise.
    pub(super) fn offer(&mut self, conclusion: Conclusion, now: Moment) -> Option<Conclusion> {
        let index =
            self.kinds.iter().position(|budget| budget.kind == conclusion.kind).unwrap_or_else(|| {
                self.kinds.push(KindBudget { kind: conclusion.kind, free_at: now, withheld: None });
                self.kinds.len() - 1
            });
        let budget = &mut self.kinds[index];
        if let Some(withheld) = &mut budget.withheld {
            withheld.count += 1;
            withheld.last = last(&conclusion);
            return None;
        }
        let price = FINDINGS_SPAN / FINDINGS_BURST;
        let free_at = budget.free_at.max(now).after(price);
        if free_at.since(now) > FINDINGS_SPAN {
            let first = conclusion.causes.first().copied().unwrap_or_default();
            budget.withheld = Some(WithheldFindings { count: 1, first, last: last(&conclusion) });
            return None;
        }
        budget.free_at = free_at;
        Some(conclusion)
    }

    /// When a count of withheld findings is to be reported.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.kinds.iter().filter(|budget| budget.withheld.is_some()).map(|budget| budget.free_at).min()
    }

    /// Reports the counts of the kinds whose whole allowance is available again.
    pub(super) fn overdue(&mut self, now: Moment, out: &mut Vec<Conclusion>) {
        for budget in self.kinds.iter_mut().filter(|budget| budget.free_at <= now) {
            out.extend(budget.withheld.take().map(|withheld| withheld.conclusion(budget.kind)));
        }
        self.kinds.retain(|budget| budget.free_at > now || budget.withheld.is_some());
    }

    /// Returns all counts of withheld findings, and resets the budgets.
    pub(super) fn close(&mut self) -> Vec<Conclusion> {
        let kinds = std::mem::take(&mut self.kinds);
        kinds
            .into_iter()
            .filter_map(|budget| budget.withheld.map(|withheld| withheld.conclusion(budget.kind)))
            .collect()
    }
}

impl WithheldFindings {
    fn conclusion(self, kind: &'static str) -> Conclusion {
        let Self { count, first, last } = self;
        let plural = if count == 1 { "" } else { "s" };
        let seconds = micros(FINDINGS_SPAN) / 1_000_000;
        let summary = format!(
            "{count} more finding{plural} of kind {kind} came and {} not recorded: {FINDINGS_BURST} in {seconds} s is \
             the most of one kind.",
            if count == 1 { "was" } else { "were" }
        );
        let data = json!({"kind": kind, "count": count, "first": pair(first), "last": pair(last)});
        let data = data.as_object().cloned().unwrap_or_default();
        let mut causes = vec![first, last];
        causes.dedup();
        Conclusion { kind: FINDINGS_WITHHELD, summary, causes, data }
    }
}

fn last(conclusion: &Conclusion) -> Id {
    conclusion.causes.last().copied().unwrap_or_default()
}

/// An identity as JSON: `[epoch, seq]`.
pub(super) fn pair((epoch, seq): Id) -> serde_json::Value {
    json!([epoch.0, seq.0])
}
