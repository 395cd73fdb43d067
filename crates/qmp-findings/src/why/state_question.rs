//! The open question about the run state of one VM, and when it is asked.
//!
//! The question is raised at once while there are few, and later if there are many: a VM that stops and resumes without
//! end must not get its monitor flooded. A run state that QEMU leaves without an event is asked about again.

use std::time::Duration;

use crate::conclusion::Conclusions;
use crate::finding::Id;
use crate::limits::{ASKED_AGAIN_MAX, QUESTIONS_BURST, QUESTIONS_SPAN};
use crate::local_time::Moment;
use crate::persist::persist;
use crate::question::QUERY_STATUS;

/// The wait before a transient run state is asked about again; it doubles each time.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The question to one VM; allocated with the first one.
#[derive(Debug, Default)]
pub(super) struct StateQuestion(Option<Box<Questions>>);

#[derive(Debug, Default)]
struct Questions {
    open: Option<OpenQuestion>,
    /// When the whole allowance is available again.
    free_at: Moment,
}

#[derive(Debug)]
struct OpenQuestion {
    cause: Id,
    /// When it is to be raised; `None` if it was raised.
    at: Option<Moment>,
    /// How often the VM was asked again.
    again: u32,
}

persist!(StateQuestion { 0 });
persist!(Questions { open, free_at });
persist!(OpenQuestion { cause, at, again });

impl StateQuestion {
    /// Asks for the run state after `cause`; an earlier question is dropped.
    pub(super) fn ask(&mut self, cause: Id, now: Moment, found: &mut Conclusions) {
        self.raise(OpenQuestion { cause, at: None, again: 0 }, now, found);
    }

    /// Asks again some time after the answer `cause`, which named a transient state.
    pub(super) fn ask_again(&mut self, cause: Id, again: u32, now: Moment) {
        if again > ASKED_AGAIN_MAX {
            return;
        }
        let at = Some(now.after(AGAIN_AFTER * (1 << (again - 1))));
        self.0.get_or_insert_default().open = Some(OpenQuestion { cause, at, again });
    }

    /// Drops the question, because a record answers it.
    pub(super) fn close(&mut self) {
        if let Some(questions) = &mut self.0 {
            questions.open = None;
        }
    }

    /// Takes the question to which an answer was recorded; returns how often the VM was asked again.
    pub(super) fn take_answered(&mut self, is_to: impl Fn(Id) -> bool) -> Option<u32> {
        let questions = self.0.as_mut()?;
        questions.open.take_if(|open| open.at.is_none() && is_to(open.cause)).map(|open| open.again)
    }

    pub(super) fn is_open(&self, cause: Id) -> bool {
        let open = self.0.as_ref().and_then(|questions| questions.open.as_ref());
        open.is_some_and(|open| open.cause == cause && open.at.is_none())
    }

    /// When a question is to be raised.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.0.as_ref()?.open.as_ref()?.at
    }

    /// Raises the question whose moment has come.
    pub(super) fn overdue(&mut self, now: Moment, found: &mut Conclusions) {
        let due = self
            .0
            .as_mut()
            .and_then(|questions| questions.open.take_if(|open| open.at.is_some_and(|at| at <= now)));
        if let Some(open) = due {
            self.raise(open, now, found);
        }
    }

    fn raise(&mut self, mut open: OpenQuestion, now: Moment, found: &mut Conclusions) {
        let questions = self.0.get_or_insert_default();
        let free_at = questions.free_at.max(now).after(QUESTIONS_SPAN / QUESTIONS_BURST);
        let allowed_at = free_at.before(QUESTIONS_SPAN);
        if allowed_at <= now {
            questions.free_at = free_at;
            open.at = None;
            found.ask(QUERY_STATUS, open.cause);
        } else {
            open.at = Some(allowed_at);
        }
        questions.open = Some(open);
    }
}
