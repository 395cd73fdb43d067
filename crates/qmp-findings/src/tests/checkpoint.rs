//! A restored state equals the saved one.

use proptest::prelude::*;
use qmp_wire::UnixMicros;

use super::super::testing::{Step, take};
use super::super::{Correlators, Finding};
use super::{oracle, replay};

/// The findings of these steps after the given state, and the final state.
fn run(mut correlators: Correlators, steps: &[Step]) -> (Vec<Finding>, Option<Box<str>>) {
    let mut found = Vec::new();
    steps.iter().for_each(|step| take(&mut correlators, step, &mut found));
    (found, correlators.saved("vm1"))
}

/// Cuts a history in two, and compares the whole with the second part read from the state at the cut.
fn cut(steps: &[Step], cut: prop::sample::Index) -> Result<(), TestCaseError> {
    let steps = [steps, &[Step::Passes(UnixMicros(i64::MAX / 2))]].concat();
    let (before, after) = steps.split_at(1 + cut.index(steps.len() - 1));
    let whole = run(Correlators::new(), &steps);
    let (first, state) = run(Correlators::new(), before);
    let state = state.expect("a record was taken");
    let restored = Correlators::of_saved("vm1", &state).expect("a saved state can be read");
    let (rest, end) = run(restored, after);
    prop_assert_eq!((first.into_iter().chain(rest).collect::<Vec<_>>(), end), whole);
    Ok(())
}

proptest! {
    /// Reading from a checkpoint gives the same findings and state as reading everything.
    #[test]
    fn history_from_checkpoint_equals_whole_history(steps in replay::records(), at in any::<prop::sample::Index>()) {
        cut(&steps, at)?;
    }

    /// The same for VMs that change state, answer, and end.
    #[test]
    fn story_from_checkpoint_equals_whole_story(steps in oracle::histories(), at in any::<prop::sample::Index>()) {
        cut(&steps, at)?;
    }

    /// A changed state is refused or read, and never a panic.
    #[test]
    fn changed_state_never_panics(steps in replay::records(), at in any::<prop::sample::Index>(), byte in 32u8..127) {
        let (_, state) = run(Correlators::new(), &steps);
        let mut state = state.expect("a record was taken").into_string().into_bytes();
        let at = at.index(state.len());
        state[at] = byte;
        if let Some(correlators) = std::str::from_utf8(&state).ok().and_then(|state| Correlators::of_saved("vm1", state)) {
            run(correlators, &steps);
        }
    }
}
