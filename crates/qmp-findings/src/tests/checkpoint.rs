//! A state that was saved and read again is the state.

use proptest::prelude::*;
use qmp_wire::UnixMicros;

use super::super::testing::{Step, take};
use super::super::{Correlators, Finding};
use super::{oracle, replay};

/// What these steps lead to from there on, and the state at the end.
fn go_on(mut correlators: Correlators, steps: &[Step]) -> (Vec<Finding>, Option<Box<str>>) {
    let mut found = Vec::new();
    steps.iter().for_each(|step| take(&mut correlators, step, &mut found));
    (found, correlators.saved("vm1"))
}

/// Cuts a history in two, and compares the whole with what is read from the state at the cut on.
fn cut(steps: &[Step], cut: prop::sample::Index) -> Result<(), TestCaseError> {
    let steps = [steps, &[Step::Passes(UnixMicros(i64::MAX / 2))]].concat();
    let (before, after) = steps.split_at(1 + cut.index(steps.len() - 1));
    let whole = go_on(Correlators::new(), &steps);
    let (first, state) = go_on(Correlators::new(), before);
    let state = state.expect("a record of it was taken");
    let restored = Correlators::of_saved("vm1", &state).expect("what was saved can be read");
    let (rest, end) = go_on(restored, after);
    prop_assert_eq!((first.into_iter().chain(rest).collect::<Vec<_>>(), end), whole);
    Ok(())
}

proptest! {
    /// Reading on from a checkpoint gives the same findings as reading everything, and the same state.
    #[test]
    fn history_from_its_checkpoint_is_the_whole(steps in replay::records(), at in any::<prop::sample::Index>()) {
        cut(&steps, at)?;
    }

    /// The same, of VMs that come to states, answer, and end.
    #[test]
    fn story_from_its_checkpoint_is_the_whole(steps in oracle::histories(), at in any::<prop::sample::Index>()) {
        cut(&steps, at)?;
    }

    /// A text that is not the saved one is refused or read, and never a panic.
    #[test]
    fn changed_state_is_no_panic(steps in replay::records(), at in any::<prop::sample::Index>(), byte in 32u8..127) {
        let (_, state) = go_on(Correlators::new(), &steps);
        let mut state = state.expect("a record of it was taken").into_string().into_bytes();
        let at = at.index(state.len());
        state[at] = byte;
        if let Some(correlators) = std::str::from_utf8(&state).ok().and_then(|state| Correlators::of_saved("vm1", state)) {
            go_on(correlators, &steps);
        }
    }
}
