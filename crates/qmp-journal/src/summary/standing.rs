//! The changes of all VMs that hold after a segment.
//!
//! A reader of a window needs the values at its beginning, which may be years old. So every 64th summary has those that
//! hold after it, in the form of changes: reading them, and the changes after them, gives the values at any moment.

use std::borrow::Cow;
use std::collections::HashMap;

use qmp_wire::UnixMicros;

use super::changes::{ChangeOf, are_changes, read_changes, write_changes};
use crate::digest::{Change, ChangeKind, Track};
use crate::limits::{OPEN_WORDS_MAX, STANDING_VMS_MAX};

/// The conditions of each VM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StandingConditions {
    vms: HashMap<u32, VmStanding>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct VmStanding {
    tracks: [Option<Since>; Track::COUNT as usize],
    /// The conditions that last, the oldest first.
    open: Vec<Since>,
}

/// A word, and the record since which it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Since {
    offset: u64,
    at: UnixMicros,
    word: Box<str>,
}

impl StandingConditions {
    /// Reads what [`Self::write`] wrote; `None` if the bytes are nothing of that kind.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut standing = Self::default();
        read_changes(bytes, 0, |_| true, |change| standing.apply(&change))?;
        Some(standing)
    }

    /// Applies the next change.
    pub(crate) fn apply(&mut self, change: &ChangeOf<'_>) {
        let ChangeOf { vm, offset, change: Change { at, kind } } = change;
        let vm = self.vms.entry(*vm).or_default();
        let since = |word: &str| Since { offset: *offset, at: *at, word: word.into() };
        match kind {
            ChangeKind::Set { track, word } => vm.tracks[usize::from(track.number())] = Some(since(word)),
            ChangeKind::Open { word } => {
                vm.open.retain(|open| *open.word != **word);
                if vm.open.len() >= OPEN_WORDS_MAX {
                    vm.open.remove(0);
                }
                vm.open.push(since(word));
            }
            ChangeKind::Close { word } => vm.open.retain(|open| *open.word != **word),
            ChangeKind::CloseAll => vm.open.clear(),
            ChangeKind::Span { .. } => {}
        }
    }

    /// Encodes what holds.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut changes: Vec<ChangeOf<'_>> = Vec::new();
        for (vm, standing) in &self.vms {
            let begin = changes.len();
            let mut push = |since: &'_ Since, kind| {
                changes.push(ChangeOf {
                    vm: *vm,
                    offset: since.offset,
                    change: Change { at: since.at, kind },
                });
            };
            for (number, since) in (0..).zip(&standing.tracks) {
                let Some(since) = since else { continue };
                push(
                    since,
                    ChangeKind::Set { track: Track::new(number), word: since.word.to_string().into() },
                );
            }
            for since in &standing.open {
                push(since, ChangeKind::Open { word: Cow::Owned(since.word.to_string()) });
            }
            changes[begin..].sort_by_key(|change| change.offset);
        }
        write_changes(&mut changes, 0)
    }

    /// Drops the VMs with the oldest changes if there are more than [`STANDING_VMS_MAX`].
    pub(crate) fn trim(&mut self) {
        let excess = self.vms.len().saturating_sub(STANDING_VMS_MAX);
        if excess == 0 {
            return;
        }
        let last =
            |vm: &VmStanding| vm.tracks.iter().flatten().chain(&vm.open).map(|since| since.offset).max();
        let mut by_age: Vec<(Option<u64>, u32)> = self.vms.iter().map(|(id, vm)| (last(vm), *id)).collect();
        by_age.sort_unstable();
        for (_, id) in &by_age[..excess] {
            self.vms.remove(id);
        }
    }
}

/// Whether [`StandingConditions::read`] can read the bytes.
pub(crate) fn is_standing(bytes: &[u8]) -> bool {
    are_changes(bytes, 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::changes::tests::changes;
    use super::*;

    proptest! {
        /// The conditions are the same when they are read, and after further changes.
        #[test]
        fn standing_continues_as_without_a_break(before in changes(), after in changes()) {
            let mut whole = StandingConditions::default();
            before.iter().for_each(|change| whole.apply(change));
            let mut continued = StandingConditions::read(&whole.write()).expect("what was written");
            after.iter().for_each(|change| {
                whole.apply(change);
                continued.apply(change);
            });
            prop_assert_eq!(continued.write(), whole.write());
        }
    }

    #[test]
    fn words_and_vms_are_bounded() {
        let mut standing = StandingConditions::default();
        for (offset, vm) in (1..).zip(0..u32::try_from(STANDING_VMS_MAX).expect("small") + 10) {
            let kind = ChangeKind::Set { track: Track::new(0), word: "running".into() };
            standing.apply(&ChangeOf { vm, offset, change: Change { at: UnixMicros(0), kind } });
        }
        for offset in 0..100 {
            let kind = ChangeKind::Open { word: format!("storm E{offset}").into() };
            standing.apply(&ChangeOf { vm: 50_000, offset, change: Change { at: UnixMicros(0), kind } });
        }
        assert_eq!(standing.vms[&50_000].open.len(), OPEN_WORDS_MAX);
        assert_eq!(&*standing.vms[&50_000].open[0].word, "storm E36");
        standing.trim();
        assert_eq!(standing.vms.len(), STANDING_VMS_MAX);
        assert!(!standing.vms.contains_key(&0), "the oldest are dropped");
    }
}
