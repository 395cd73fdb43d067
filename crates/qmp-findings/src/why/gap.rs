//! A story that goes on over a gap: the VM is found as it was, and what led there is still why it is so.
//!
//! That needs the same run state before and after. Where the process at the monitor is known to be the same, that is
//! enough; where it is not known, a VM that runs may be another one, and only a state in which a VM stays is continued.
//! What was only found when an epoch began is no story. One goes on over few gaps ([`EPOCHS_CONTINUED_MAX`]), so that
//! the epochs before these need not be read to know it.

use qmp_wire::Epoch;

use super::continued::Continued;
use super::memory::Why;
use super::run_states;
use super::standing::Standing;
use crate::epoch::Before;
use crate::limits::EPOCHS_CONTINUED_MAX;
use crate::observation::{Input, Snapshot};
use crate::process::Identity;

impl Why {
    /// Goes on from `earlier`, what was known when the epoch `before` was closed, as far as it holds in the epoch that
    /// `input` opens.
    pub(super) fn go_on(&mut self, earlier: Self, before: &Before, snapshot: &Snapshot, input: &Input<'_>) {
        let identity = before.process_is(snapshot);
        let status = snapshot.status.as_deref().unwrap_or_default();
        let is_new_enough = |from: Epoch| input.id.0.0.saturating_sub(from.0) <= EPOCHS_CONTINUED_MAX;
        if identity == Identity::Same && status == "running" && earlier.standing.is_running() {
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
        let is_as_before = earlier.standing.sure_state() == Some(status) && !run_states::of(status).passes;
        if !may_be_same || !is_as_before || earlier.standing.found {
            return;
        }
        let Standing { since, why: Some(explanation), continued, .. } = earlier.standing else { return };
        let begun = || Box::new(Continued { explanation, from: before.last.0, unseen_us: 0 });
        let mut continued = continued.unwrap_or_else(begun);
        if !is_new_enough(continued.from) {
            return;
        }
        let certain_until = before.certain_until.unwrap_or(input.received);
        continued.unseen_us += input.received.0.saturating_sub(certain_until.0).max(0).unsigned_abs();
        self.standing.set(input.now, continued.explained(identity, status, input));
        (self.standing.since, self.standing.continued) = (since, Some(continued));
    }
}
