//! The position of a rule: advances, and goes back where the receiver lacks records.

use std::sync::atomic::Ordering::Relaxed;

use qmp_host::clock;
use qmp_wire::Offset;

use super::Runner;
use crate::backlog::Backlog;
use crate::status::SinkState;

impl Runner {
    /// Updates the position after the record at `offset` was handled.
    pub(super) fn handled(&mut self, offset: Offset) {
        // A held-back record is older than the records that were read since.
        self.position = self.position.max(offset);
        self.save_position();
    }

    /// Continues after `after`, which is before the position.
    pub(super) fn go_back(&mut self, after: Offset, reason: &str) {
        let Offset(offset) = after;
        tracing::warn!("rule {}: delivers the records after {offset} again: {reason}", self.rule.name);
        (self.position, self.read_to) = (after, after);
        self.backlog = Backlog::default();
        self.queue.clear();
        self.refusals = 0;
        self.backoff.reset();
        self.save_position();
    }

    fn save_position(&mut self) {
        self.status.offset.store(self.position.0, Relaxed);
        let held = self.gate.held();
        let ahead_us = self.clock.offset_us(clock::now());
        // The next hub has only the host's clock.
        let passed = self.gate.passed().map(|at| at.saturating_add(ahead_us)).collect();
        let sink = self.sink.state();
        self.positions.change(&self.rule.name, |position| {
            (position.offset, position.passed, position.sink) = (self.position.0, passed, sink);
            (position.held_back, position.held_back_newest) = (held.records, held.newest.0);
        });
    }

    /// Updates the position after everything up to `offset` was read, and no other record of it is selected.
    pub(super) fn moved_to(&mut self, offset: Offset) {
        self.position = offset;
        self.status.waiting.store(self.backlog.records(), Relaxed);
        self.status.offset.store(offset.0, Relaxed);
        self.positions.skip_to(&self.rule.name, offset.0);
        if self.status.enter(SinkState::Delivering) {
            tracing::info!("rule {}: reads the journal again", self.rule.name);
        }
    }
}
