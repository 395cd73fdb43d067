//! The state of a VM for rules on states: its run state with the time at which that began, or its silence.
//!
//! A run state continues over a gap if the VM is in it again when the next epoch opens, and its process is not another
//! one: a restart of the hub does not begin it anew.

use qmp_wire::UnixMicros;

use crate::finding::Id;
use crate::kinds::SILENT;
use crate::persist::persist;
use crate::state::Silence;

/// A state of a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The run state as in [`VmState`](crate::state::VmState), or `silent`.
    pub state: Box<str>,
    /// When it began.
    pub since: UnixMicros,
    /// The record with which it began.
    pub cause: Id,
    /// Why the VM is in it, in a sentence; empty if that is not known.
    pub reason: Box<str>,
}

// The explanation of the state is saved by its correlator, and the next record copies it.
persist!(Condition { state, since, cause } without reason);

impl Condition {
    /// Replaces `current` by another state. A state that lasts may get another reason.
    pub(crate) fn follow(
        current: &mut Option<Self>,
        state: &str,
        since: UnixMicros,
        cause: Id,
        reason: &str,
    ) {
        match current {
            Some(condition) if *condition.state == *state => {
                if *condition.reason != *reason {
                    condition.reason = reason.into();
                }
            }
            _ => *current = Some(Self { state: state.into(), since, cause, reason: reason.into() }),
        }
    }

    /// The state of a VM whose monitor does not answer.
    pub(crate) fn silent(silence: &Silence) -> Self {
        Self { state: SILENT.into(), since: silence.since, cause: silence.record, reason: Box::default() }
    }
}
