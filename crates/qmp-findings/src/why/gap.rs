//! Continues an explanation over a gap: if the VM is in the same state as before, the cause of that state is still its
//! cause.
//!
//! The run state must be the same before and after. If the process at the monitor is known to be the same, that is
//! enough; if the process is unknown, a VM that runs may be another one, and only a state in which a VM stays is
//! continued. A state that was only found when an epoch began has no explanation to continue. An explanation is
//! continued over few gaps ([`EPOCHS_CONTINUED_MAX`]), so that earlier epochs need not be read.

use qmp_wire::Epoch;

use super::continued::ContinuedExplanation;
use super::memory::Explainer;
use super::run_states;
use super::status::Status;
use crate::epoch::PreviousEpoch;
use crate::limits::EPOCHS_CONTINUED_MAX;
use crate::observation::{Observation, Snapshot};
use crate::process::Identity;

impl Explainer {
    /// Continues from `earlier`, the state when the epoch `before` was closed, as far as it holds in the epoch that
    /// `input` opens.
    pub(super) fn continue_from(
        &mut self,
        earlier: Self,
        before: &PreviousEpoch,
        snapshot: &Snapshot,
        input: &Observation<'_>,
    ) {
        let identity = before.process_is(snapshot);
        let status = snapshot.status.as_deref().unwrap_or_default();
        let is_new_enough = |from: Epoch| input.id.0.0.saturating_sub(from.0) <= EPOCHS_CONTINUED_MAX;
        if identity == Identity::Same && status == "running" && earlier.status.is_running() {
            let left_running = earlier.evidence.left_running.as_ref().filter(|it| is_new_enough(it.0.id.0));
            if let Some(left_running) = left_running {
                self.evidence.left_running = Some(left_running.clone());
            }
        }
        let may_be_same = match identity {
            Identity::Another => false,
            Identity::Same => true,
            Identity::Unknown => status != "running",
        };
        let is_as_before = earlier.status.sure_state() == Some(status) && !run_states::of(status).passes;
        if !may_be_same || !is_as_before || earlier.status.found {
            return;
        }
        let Status { since, why: Some(explanation), continued, .. } = earlier.status else { return };
        let begun = || Box::new(ContinuedExplanation { explanation, from: before.last.0, unseen_us: 0 });
        let mut continued = continued.unwrap_or_else(begun);
        if !is_new_enough(continued.from) {
            return;
        }
        let certain_until = before.certain_until.unwrap_or(input.received);
        continued.unseen_us += input.received.0.saturating_sub(certain_until.0).max(0).unsigned_abs();
        self.status.set(input.now, continued.explained(identity, status, input));
        (self.status.since, self.status.continued) = (since, Some(continued));
    }
}
