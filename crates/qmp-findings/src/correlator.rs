//! A correlator: draws conclusions of one sort from the records of one VM.

use crate::conclusion::Found;
use crate::epoch::Span;
use crate::local_time::Moment;
use crate::observation::Input;
use crate::question::Asked;

/// Draws conclusions of one sort from the records of one VM.
pub(crate) trait Correlator {
    /// Takes the next record. What was due before it has been dealt with.
    fn take(&mut self, input: &Input<'_>, span: &Span, found: &mut Found);

    /// The moment after which [`Self::overdue`] is to be called, if nothing changes until then.
    fn deadline(&self) -> Option<Moment> {
        None
    }

    /// Deals with everything whose deadline is `now` or earlier; nothing received by then is missing.
    fn overdue(&mut self, _now: Moment, _span: &Span, _found: &mut Found) {}

    /// Whether the answer to this question, raised by [`Found::ask`], is waited for.
    fn is_open(&self, _asked: Asked) -> bool {
        false
    }
}
