//! How a VM stands, and how much of that is known.

use super::continued::Continued;
use super::run_states;
use crate::epoch::Known;
use crate::local_time::Moment;
use crate::saved::saved;
use crate::state::Why as Explanation;

/// How a VM stands.
#[derive(Debug, Default)]
pub(in super::super) struct Standing {
    /// As `query-status` names it, or [`ENDED`](run_states::ENDED) or [`GONE`](run_states::GONE); `None` if that is not known.
    pub(in super::super) run_state: Option<Box<str>>,
    pub(in super::super) since: Option<Moment>,
    /// When `why` was seen.
    pub(super) explained_at: Moment,
    pub(in super::super) why: Option<Explanation>,
    /// The name of the run state is the usual one: all that is known is whether the VM runs.
    pub(in super::super) assumed: bool,
    /// It stood so when the epoch began.
    pub(super) found: bool,
    /// What the next epoch is compared with if the VM has gone without a word.
    before_gone: Option<Known>,
    /// What led there, if that was seen in an epoch before.
    pub(super) continued: Option<Box<Continued>>,
}

saved!(Standing { run_state, since, explained_at, why, assumed, found, before_gone, continued });
impl Standing {
    /// From this moment on it stands so.
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

    /// Another reason than before for the state in which it stands.
    pub(super) fn explain(&mut self, explanation: Explanation) {
        (self.why, self.found, self.continued) = (Some(explanation), false, None);
    }

    /// What is known of it, to be compared with what the VM says when the next epoch opens. A QEMU that has ended
    /// leaves nothing to compare: the next one starts in a state of its own.
    pub(in super::super) fn known(&self) -> Option<Known> {
        match self.run_state.as_deref()? {
            run_states::ENDED | run_states::GONE => self.before_gone.clone(),
            _ if self.assumed => (!self.is_running()).then_some(Known::Stopped),
            state if run_states::of(state).passes => Some(Known::Stopped),
            state => Some(Known::RunState(state.into())),
        }
    }

    /// The monitor closed; `known` is what was known before, if QEMU may live on.
    pub(super) fn went(&mut self, now: Moment, explanation: Explanation, known: Option<Known>) {
        self.set(now, explanation);
        self.before_gone = known;
    }

    /// The process ended: what comes next is another one.
    pub(super) fn has_ended(&mut self) {
        self.before_gone = None;
    }

    /// Its QEMU has ended, as far as its monitor tells.
    pub(in super::super) fn is_over(&self) -> bool {
        matches!(self.run_state.as_deref(), Some(run_states::ENDED | run_states::GONE))
    }

    /// The run state, if it is known by name.
    pub(super) fn sure_state(&self) -> Option<&str> {
        self.run_state.as_deref().filter(|_| !self.assumed)
    }

    pub(super) fn is_running(&self) -> bool {
        self.run_state.as_deref() == Some("running")
    }
}
