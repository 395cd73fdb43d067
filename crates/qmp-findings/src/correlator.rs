//! The interface of correlators.

use crate::conclusion::Conclusions;
use crate::epoch::Span;
use crate::local_time::Moment;
use crate::observation::Observation;
use crate::question::QuestionId;

/// Draws conclusions of one kind from the records of one VM.
pub(crate) trait Correlator {
    /// Takes the next record. Deadlines before it have been handled.
    fn take(&mut self, input: &Observation<'_>, span: &Span, found: &mut Conclusions);

    /// The moment after which [`Self::overdue`] must be called if no record is taken before.
    fn deadline(&self) -> Option<Moment> {
        None
    }

    /// Handles everything whose deadline is `now` or earlier; all records received by then have been taken.
    fn overdue(&mut self, _now: Moment, _span: &Span, _found: &mut Conclusions) {}

    /// Whether an answer to this question, raised by [`Conclusions::ask`], is still needed.
    fn is_open(&self, _asked: QuestionId) -> bool {
        false
    }
}
