//! How many findings of one kind a VM may cause: what a guest does must not fill the journal with conclusions.
//!
//! [`FINDINGS_BURST`] of a kind pass at once, and so many again in each [`FINDINGS_SPAN`]. The others are counted,
//! and when a finding of that kind may pass again, or the epoch ends, the count is told first.

use serde_json::json;

use crate::conclusion::Concluded;
use crate::finding::Id;
use crate::limits::{FINDINGS_BURST, FINDINGS_SPAN};
use crate::local_time::{Moment, micros};
use crate::saved::saved;

pub(super) const FINDINGS_WITHHELD: &str = "findings-withheld";

/// What was spent, by kind.
#[derive(Debug, Default)]
pub(super) struct Budget {
    kinds: Vec<Spent>,
}

#[derive(Debug)]
struct Spent {
    kind: &'static str,
    /// When all of it is earned back.
    free_at: Moment,
    withheld: Option<Withheld>,
}

#[derive(Debug)]
struct Withheld {
    count: u64,
    first: Id,
    last: Id,
}

saved!(Budget { kinds });
saved!(Spent { kind, free_at, withheld });
saved!(Withheld { count, first, last });

impl Budget {
    /// Gives the finding back if it may pass, and counts it otherwise.
    pub(super) fn offer(&mut self, concluded: Concluded, now: Moment) -> Option<Concluded> {
        let index = self.kinds.iter().position(|spent| spent.kind == concluded.kind).unwrap_or_else(|| {
            self.kinds.push(Spent { kind: concluded.kind, free_at: now, withheld: None });
            self.kinds.len() - 1
        });
        let spent = &mut self.kinds[index];
        if let Some(withheld) = &mut spent.withheld {
            withheld.count += 1;
            withheld.last = last(&concluded);
            return None;
        }
        let price = FINDINGS_SPAN / FINDINGS_BURST;
        let free_at = spent.free_at.max(now).after(price);
        if free_at.since(now) > FINDINGS_SPAN {
            let first = concluded.causes.first().copied().unwrap_or_default();
            spent.withheld = Some(Withheld { count: 1, first, last: last(&concluded) });
            return None;
        }
        spent.free_at = free_at;
        Some(concluded)
    }

    /// When something that was withheld is to be told.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.kinds.iter().filter(|spent| spent.withheld.is_some()).map(|spent| spent.free_at).min()
    }

    /// Tells what was withheld of the kinds whose budget is whole again.
    pub(super) fn overdue(&mut self, now: Moment, told: &mut Vec<Concluded>) {
        for spent in self.kinds.iter_mut().filter(|spent| spent.free_at <= now) {
            told.extend(spent.withheld.take().map(|withheld| withheld.told(spent.kind)));
        }
        self.kinds.retain(|spent| spent.free_at > now || spent.withheld.is_some());
    }

    /// Tells everything that was withheld, and starts afresh.
    pub(super) fn close(&mut self) -> Vec<Concluded> {
        let kinds = std::mem::take(&mut self.kinds);
        kinds
            .into_iter()
            .filter_map(|spent| spent.withheld.map(|withheld| withheld.told(spent.kind)))
            .collect()
    }
}

impl Withheld {
    fn told(self, kind: &'static str) -> Concluded {
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
        Concluded { kind: FINDINGS_WITHHELD, summary, causes, data }
    }
}

fn last(concluded: &Concluded) -> Id {
    concluded.causes.last().copied().unwrap_or_default()
}

/// An identity as it stands in JSON: `[epoch, seq]`.
pub(super) fn pair((epoch, seq): Id) -> serde_json::Value {
    json!([epoch.0, seq.0])
}
