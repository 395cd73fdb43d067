//! Finds clocks that were set: this host's, by the times of receipt; the VM's host's, by the times of its events.
//!
//! A time of receipt before the last one shows that this host's clock went back. An event older than an earlier one by
//! more than the rate limit explains shows the same of the VM's host. An event further ahead of its receipt than ever
//! before in the epoch shows that the VM's host was set ahead, or this one back; an event further behind shows nothing:
//! it may have been read late.

use std::time::Duration;

use serde_json::json;

use crate::conclusion::Conclusions;
use crate::correlator::Correlator;
use crate::epoch::Span;
use crate::finding::Id;
use crate::limits::CLOCK_STEP_MIN;
use crate::local_time::micros;
use crate::observation::{Event, Observation, ObservationKind};
use crate::persist::persist;
use crate::text;

pub(super) const CLOCK_STEP: &str = "clock-step";

/// The last times of both clocks.
#[derive(Debug, Default)]
pub(super) struct ClockSteps {
    last: Option<Id>,
    /// The newest event time of the epoch, in microseconds.
    newest: Option<i64>,
    /// The most by which event time was ahead of the time of receipt, in microseconds.
    ahead: Option<i64>,
}

persist!(ClockSteps { last, newest, ahead });

impl Correlator for ClockSteps {
    fn take(&mut self, input: &Observation<'_>, _span: &Span, found: &mut Conclusions) {
        if let ObservationKind::Attached(_) = input.kind {
            (self.newest, self.ahead) = (None, None);
        }
        let back = input.clock_back.filter(|back| *back >= CLOCK_STEP_MIN);
        if back.is_some() {
            // The difference between the two clocks has changed.
            self.ahead = None;
        }
        let of_vm = match input.kind {
            ObservationKind::Event(event) => self.event(event, input),
            _ => None,
        };
        self.report(input.id, back, of_vm, found);
        self.last = Some(input.id);
    }
}

impl ClockSteps {
    /// By how much the VM's host was set ahead or back, in microseconds.
    fn event(&mut self, event: &Event<'_>, input: &Observation<'_>) -> Option<i64> {
        let at = event.at?;
        let limit = micros(CLOCK_STEP_MIN);
        let back = self.newest.and_then(|newest| at.checked_sub(newest)).filter(|step| *step <= -limit);
        let ahead = at.checked_sub(input.received.0)?;
        let jump = self.ahead.and_then(|most| ahead.checked_sub(most)).filter(|step| *step >= limit);
        let step = back.or(jump);
        if step.is_some() {
            (self.newest, self.ahead) = (Some(at), Some(ahead));
        } else {
            self.newest = self.newest.max(Some(at));
            self.ahead = self.ahead.max(Some(ahead));
        }
        step
    }

    fn report(&self, id: Id, back: Option<Duration>, of_vm: Option<i64>, found: &mut Conclusions) {
        let vm = |step: i64| {
            let span = text::span(Duration::from_micros(step.unsigned_abs()));
            format!("the clock of the VM's host went {} by {span}", if step < 0 { "back" } else { "ahead" })
        };
        let summary = match (back, of_vm) {
            (None, None) => return,
            (Some(back), None) => format!("This host's clock went back by {}.", text::span(back)),
            (None, Some(step)) => {
                let sentence = vm(step);
                format!("T{}.", &sentence[1..])
            }
            (Some(back), Some(step)) => {
                format!("This host's clock went back by {}, and {}.", text::span(back), vm(step))
            }
        };
        let data = json!({
            "this_host_microseconds": back.map(|back| -micros(back)),
            "vm_host_microseconds": of_vm,
        });
        let causes = self.last.into_iter().chain([id]).collect();
        found.push(CLOCK_STEP, summary, causes, data);
    }
}
