//! Unseen ends of QEMU, while no epoch was open: concluded from the state afterwards.
//!
//! Another process at the monitor shows it when the next epoch opens. If none opens, the hub records that the process
//! of the last epoch does not exist any more, or that nothing listens at its monitor; or how the process ended, if the hub
//! watched it although its events were not received, as while libvirtd is away.

use std::time::Duration;

use qmp_wire::UnixMicros;
use serde_json::json;

use super::kinds::WHY_ENDED;
use super::memory::Explainer;
use super::run_states::{self, GONE};
use super::{after, ending, exit, explanation};
use crate::conclusion::Conclusions;
use crate::epoch::{PreviousEpoch, Span};
use crate::finding::Id;
use crate::local_time::Moment;
use crate::observation::{Observation, ProcessEnd, Snapshot};
use crate::process::Process;
use crate::state::Explanation;
use crate::text;

/// When and how the end of QEMU was noticed.
struct UnseenEnd {
    /// The end of what is certain before.
    certain_until: Option<UnixMicros>,
    at: UnixMicros,
    now: Moment,
    /// The evidence, as the end of a sentence.
    evidence: String,
    causes: Vec<Id>,
}

impl Explainer {
    /// Handles an epoch that `input` opens with another process than the one before. Returns the explanation of its
    /// state.
    pub(super) fn replaced(
        &mut self,
        before: &PreviousEpoch,
        snapshot: &Snapshot,
        input: &Observation<'_>,
        found: &mut Conclusions,
    ) -> Option<Explanation> {
        found.has_qemu_ended = true;
        let pid = |process: &Option<Process>| process.as_ref().map_or(0, |process| process.pid);
        let (old, fresh) = (pid(&before.snapshot.process), pid(&snapshot.process));
        let causes: Vec<Id> = before.opened.into_iter().chain([before.last, input.id]).collect();
        if !before.is_end_seen {
            let end = UnseenEnd {
                certain_until: before.certain_until,
                at: input.received,
                now: input.now,
                evidence: format!("process {old} was at its monitor, and process {fresh} is"),
                causes: causes.clone(),
            };
            self.end_unseen(end, found);
        }
        let status = snapshot.status.as_deref()?;
        let state = run_states::of(status);
        let (cause, clause) = state.found;
        let epoch = before.last.0.0;
        let rest =
            format!("; QEMU was started again since epoch {epoch}: it is process {fresh}, and was {old}");
        let mut explained = explanation::new_explanation((cause, state.by, status), clause, &rest, causes);
        explained.details.insert("process".to_owned(), json!({"before": old, "after": fresh}));
        Some(explained)
    }

    /// Takes the record that QEMU does not exist any more.
    pub(super) fn take_absence(
        &mut self,
        end: &ProcessEnd<'_>,
        evidence: &str,
        input: &Observation<'_>,
        span: &Span,
        found: &mut Conclusions,
    ) {
        let is_of_span = span.opened.is_some_and(|opened| end.causes.contains(&opened));
        if span.open || !is_of_span || self.status.is_over() {
            return;
        }
        let evidence = match (evidence, end.pid()) {
            ("no-such-process", Some(pid)) => format!("its process {pid} does not exist any more"),
            ("host-restarted", _) => "its host was started again since".to_owned(),
            ("connection-refused", _) => "nothing listens at its monitor".to_owned(),
            (other, _) => text::shown(other),
        };
        let causes = end.causes.iter().copied().chain([input.id]).collect();
        let certain_until = span.certain_until;
        self.end_unseen(
            UnseenEnd { certain_until, at: input.received, now: input.now, evidence, causes },
            found,
        );
        found.has_qemu_ended = true;
    }

    fn end_unseen(&mut self, end: UnseenEnd, found: &mut Conclusions) {
        let UnseenEnd { certain_until, at, now, evidence, causes } = end;
        let gap_us = certain_until.map(|until| at.0.saturating_sub(until.0).max(0).unsigned_abs());
        let gap = gap_us.map(|micros| format!(" ({})", text::span(Duration::from_micros(micros))));
        let clause = format!("QEMU ended while nothing was recorded{}", gap.unwrap_or_default());
        let rest = format!(", and it is not known how: {evidence}");
        let mut own = explanation::new_explanation(("unknown", "unknown", GONE), clause, &rest, causes);
        let until = certain_until.map(|until| until.to_string());
        own.details.insert("ended_after".to_owned(), json!(until));
        own.details.insert("ended_before".to_owned(), json!(at.to_string()));
        self.report_unseen(&own, now, found);
    }

    /// Takes the exit status of a QEMU whose events were not received when it ended.
    pub(super) fn take_unheard_end(
        &mut self,
        end: &ProcessEnd<'_>,
        input: &Observation<'_>,
        span: &Span,
        found: &mut Conclusions,
    ) {
        if span.open || self.status.is_over() {
            return;
        }
        let name = span.snapshot.process.as_ref().map_or("", |process| &process.name);
        let guess = ending::unexplained(input.id);
        let mut own = exit::explained(&guess, name, end.data, input.id);
        if own.cause == "exited" {
            let code = &own.details["exit_code"];
            own.clause = format!("QEMU exited with status {code}, while its events were not received");
            own.summary = format!("{}.", own.clause);
        }
        own.causes = span.opened.into_iter().chain([input.id]).collect();
        self.report_unseen(&own, input.now, found);
    }

    fn report_unseen(&mut self, own: &Explanation, now: Moment, found: &mut Conclusions) {
        let prior = after::prior(&self.status, &self.evidence, own, now);
        self.status.set_ended(now, after::unseen(prior.as_deref(), own), None);
        self.report_status(WHY_ENDED, found);
    }
}
