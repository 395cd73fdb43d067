//! The time for which a VM runs on its host, as far as it is known.

use qmp_wire::{Record, UnixMicros};

use crate::condition::Condition;
use crate::finding::Id;
use crate::kinds::SILENT;

/// The last time for which a VM runs, or ran, on its host, by the clock of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) since: UnixMicros,
    /// The record with which it began.
    pub(super) cause: Id,
    pub(super) end: RunEnd,
    /// Until when the run before it went on for certain.
    pub(super) earlier_until: UnixMicros,
}

/// The end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunEnd {
    /// It goes on.
    Open,
    /// It goes on or not: since then the VM is not observed.
    Unknown(UnixMicros),
    /// It ended.
    Ended(UnixMicros),
}

impl Run {
    /// Until when the VM ran for certain. `heard` is the time up to which its host was heard.
    pub(super) const fn certain_until(&self, heard: UnixMicros) -> UnixMicros {
        match self.end {
            RunEnd::Open => heard,
            RunEnd::Unknown(at) | RunEnd::Ended(at) => at,
        }
    }

    /// Updates the run after a record, with which the VM is in `condition`; `None` if its state is not known. Returns whether
    /// the run has changed.
    pub(super) fn follow(
        run: &mut Option<Self>,
        record: Option<&Record<'_>>,
        condition: Option<&Condition>,
    ) -> bool {
        let known = condition.filter(|condition| *condition.state != *SILENT);
        let end = match (&run, known) {
            (Some(run), Some(known)) if *known.state == *"running" && run.cause == known.cause => {
                RunEnd::Open
            }
            (_, Some(known)) if *known.state == *"running" => {
                let (since, cause) = (known.since, known.cause);
                let earlier_until = run.as_ref().map_or(since, |run| run.certain_until(since));
                *run = Some(Self { since, cause, end: RunEnd::Open, earlier_until });
                return true;
            }
            (Some(Self { end: RunEnd::Ended(at), .. }), _) => RunEnd::Ended(*at),
            (Some(run), Some(known)) => RunEnd::Ended(known.since.max(run.since)),
            (Some(Self { end: RunEnd::Open, .. }), None) => {
                let certain = record.map(|record| record.certain_until().unwrap_or(record.received));
                let silent = condition.map(|silent| silent.since);
                RunEnd::Unknown(silent.or(certain).unwrap_or(UnixMicros(i64::MIN)))
            }
            (Some(run), None) => run.end,
            (None, _) => return false,
        };
        run.as_mut().is_some_and(|run| std::mem::replace(&mut run.end, end) != end)
    }
}
