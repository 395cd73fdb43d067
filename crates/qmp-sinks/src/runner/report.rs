//! What a rule reports of its work: to its status, and to the log.

use std::sync::atomic::Ordering::Relaxed;

use qmp_wire::{Offset, Record};

use super::{Runner, offset};
use crate::delivery::{Delivery, Rejection};
use crate::status::{ERROR_MAX_BYTES, SinkState, cut};

impl Runner {
    /// Counts delivered records, and those among them that the receiver rejected.
    pub(super) fn arrived(&mut self, deliveries: &[Delivery], rejection: Option<&Rejection>) {
        let (Some(first), Some(last)) = (deliveries.first(), deliveries.last()) else { return };
        let count = deliveries.len() as u64;
        let rejected = rejection.map_or(0, |rejection| rejection.records.min(count));
        self.status.delivered.fetch_add(count - rejected, Relaxed);
        if let Some(Rejection { error, .. }) = rejection {
            let (Offset(from), Offset(upto)) = (offset(&first.record), offset(&last.record));
            let error = cut(error, ERROR_MAX_BYTES);
            let error = format!("{rejected} of the records {from} to {upto} are given up: {error}");
            self.status.gave_up(&last.record, rejected, &error);
            tracing::error!("rule {}: {error}", self.rule.name);
        }
        if self.rule.reports_ends() {
            let records = || deliveries.iter().map(|delivery| &delivery.record);
            records().for_each(|record| self.reported.take(record));
            self.positions.take_reported(&self.rule.name, records());
        }
        self.no_longer_waiting(count);
        self.handled(offset(&last.record));
        self.report_success();
    }

    pub(super) fn give_up(&mut self, record: &Record<'_>, error: &str) {
        let error = &*cut(error, ERROR_MAX_BYTES);
        self.status.gave_up(record, 1, error);
        self.no_longer_waiting(1);
        let Offset(at) = offset(record);
        tracing::error!("rule {}: record {at} of {} is given up: {error}", self.rule.name, record.vm);
        self.handled(Offset(at));
        self.backoff.reset();
        self.status.enter(SinkState::Delivering);
    }

    /// Reports that the receiver is available.
    pub(super) fn report_success(&mut self) {
        self.backoff.reset();
        self.report_problem();
        if self.status.enter(SinkState::Delivering) {
            tracing::info!("rule {}: delivers again", self.rule.name);
        }
    }

    /// Reports a failed attempt; `retry` says how often it is repeated.
    pub(super) fn report_failure(&self, error: &str, retry: std::fmt::Arguments<'_>) {
        let error = &*cut(error, ERROR_MAX_BYTES);
        self.status.failed(error);
        if self.status.enter(SinkState::Retrying) {
            tracing::warn!("rule {}: {error}; {retry}", self.rule.name);
        } else {
            tracing::debug!("rule {}: {error}", self.rule.name);
        }
    }

    /// Reports a fault of the receiver that does not stop the deliveries.
    pub(super) fn report_problem(&self) {
        let problem = self.sink.problem();
        if self.status.set_problem(problem.as_deref())
            && let Some(problem) = problem
        {
            tracing::warn!("rule {}: {problem}", self.rule.name);
        }
    }

    pub(super) fn no_longer_waiting(&self, records: u64) {
        let waiting = self.status.waiting.load(Relaxed).saturating_sub(records);
        // Only the task of the rule writes it.
        self.status.waiting.store(waiting, Relaxed);
    }

    pub(super) fn add_missed(&self, records: u64, why: &str) {
        if records > 0 {
            self.status.missed.fetch_add(records, Relaxed);
            tracing::error!("rule {}: missed {records} records of the journal: they {why}", self.rule.name);
        }
    }
}
