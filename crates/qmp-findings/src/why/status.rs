//! The run state of a VM, and how certain it is.

use super::continued::ContinuedExplanation;
use super::run_states;
use crate::epoch::KnownState;
use crate::local_time::Moment;
use crate::persist::persist;
use crate::state::Explanation;

/// The run state of a VM, with its explanation.
#[derive(Debug, Default)]
pub(in super::super) struct Status {
    /// As `query-status` names it, or [`ENDED`](run_states::ENDED) or [`GONE`](run_states::GONE); `None` if unknown.
    pub(in super::super) run_state: Option<Box<str>>,
    pub(in super::super) since: Option<Moment>,
    /// When `why` was received.
    pub(super) explained_at: Moment,
    pub(in super::super) why: Option<Explanation>,
    /// Whether the run state is assumed: only whether the VM runs is known.
    pub(in super::super) assumed: bool,
    /// Whether the VM was in this state when the epoch began.
    pub(super) found: bool,
    /// The state with which the next epoch is compared if the monitor closed without an announcement.
    before_gone: Option<KnownState>,
    /// The explanation of an earlier epoch, if it is continued.
    pub(super) continued: Option<Box<ContinuedExplanation>>,
}

persist!(Status { run_state, since, explained_at, why, assumed, found, before_gone, continued });

impl Status {
    /// Sets run state and explanation from `now` on.
    pub(super) fn set(&mut self, now: Moment, explanation: Explanation) {
        let run_state = explanation.run_state.clone();
        if self.run_state.as_deref() != Some(&*run_state) || self.since.is_none() {
            self.since = Some(now);
        }
        self.run_state = (!run_state.is_empty()).then_some(run_state);
        self.why = Some(explanation);
        self.explained_at = now;
        (self.assumed, self.found, self.before_gone, self.continued) = (false, false, None, None);
    }

    /// Sets another explanation of the same state.
    pub(super) fn explain(&mut self, explanation: Explanation) {
        (self.why, self.found, self.continued) = (Some(explanation), false, None);
    }

    /// The known run state, to be compared with the VM's answer when the next epoch opens. `None` after the end of a
    /// QEMU: the next one starts in its own state.
    pub(in super::super) fn known(&self) -> Option<KnownState> {
        match self.run_state.as_deref()? {
            run_states::ENDED | run_states::GONE => self.before_gone.clone(),
            _ if self.assumed => (!self.is_running()).then_some(KnownState::Stopped),
            state if run_states::of(state).passes => Some(KnownState::Stopped),
            state => Some(KnownState::RunState(state.into())),
        }
    }

    /// Sets the explanation of a closed monitor; `known` is the state before, if QEMU may still run.
    pub(super) fn set_ended(&mut self, now: Moment, explanation: Explanation, known: Option<KnownState>) {
        self.set(now, explanation);
        self.before_gone = known;
    }

    /// Removes the state before, because the process ended: the next QEMU is another one.
    pub(super) fn forget_before_gone(&mut self) {
        self.before_gone = None;
    }

    /// Whether its QEMU has ended, as far as its monitor shows.
    pub(in super::super) fn is_over(&self) -> bool {
        matches!(self.run_state.as_deref(), Some(run_states::ENDED | run_states::GONE))
    }

    /// The run state, if it is certain.
    pub(super) fn sure_state(&self) -> Option<&str> {
        self.run_state.as_deref().filter(|_| !self.assumed)
    }

    /// Whether the VM was stopped, so that it runs only after RESUME. A VM that sleeps was not.
    pub(super) fn is_stopped(&self) -> bool {
        self.run_state.as_deref().is_some_and(|state| !matches!(state, "running" | "suspended"))
    }

    pub(super) fn is_running(&self) -> bool {
        self.run_state.as_deref() == Some("running")
    }
}
