//! The changes of a summary.
//!
//! ```text
//! form, number of words, then for each word: length, text
//! time of the first change, then for each VM: difference of its id, length of what follows, then for each change:
//!   difference of the offset, difference of the time, word × 8 + kind [, until − time]
//! ```
//!
//! Offsets ascend; times may go back. The differences of both begin anew at each VM. Kinds 0 to 3 set the track of that
//! number, 4 opens, 5 closes, 6 closes all, 7 is a span.

use std::borrow::Cow;
use std::collections::HashMap;

use qmp_wire::UnixMicros;

use crate::digest::{Change, ChangeKind, Track};
use crate::varint::{push_signed, push_varint, take_bytes, take_signed, take_varint};

/// The form of the blob.
const FORM: u8 = 1;

const OPEN: u8 = 4;
const CLOSE: u8 = 5;
const CLOSE_ALL: u8 = 6;
const SPAN: u8 = 7;

/// A change with the record that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChangeOf<'a> {
    pub(crate) vm: u32,
    pub(crate) offset: u64,
    pub(crate) change: Change<'a>,
}

/// Encodes changes, which are in the order of the journal for each VM.
pub(crate) fn write_changes(changes: &mut [ChangeOf<'_>], first: u64) -> Vec<u8> {
    changes.sort_by_key(|change| change.vm);
    let mut words: HashMap<&str, u64> = HashMap::new();
    let mut texts = Vec::new();
    for word in changes.iter().filter_map(|change| change.change.kind.word()) {
        words.entry(word).or_insert_with(|| {
            texts.push(word);
            texts.len() as u64 - 1
        });
    }
    let mut out = vec![FORM];
    push_varint(&mut out, texts.len() as u64);
    for text in texts {
        push_varint(&mut out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    }
    let base = changes.first().map_or(0, |change| change.change.at.0);
    push_signed(&mut out, base);
    let (mut vm, mut run) = (0, Vec::new());
    for own in changes.chunk_by(|one, next| one.vm == next.vm) {
        run.clear();
        let (mut offset, mut at) = (first.saturating_sub(1), base);
        for ChangeOf { offset: next, change, .. } in own {
            push_varint(&mut run, next.saturating_sub(offset));
            push_signed(&mut run, change.at.0.wrapping_sub(at));
            (offset, at) = (*next, change.at.0);
            let (kind, until) = match &change.kind {
                ChangeKind::Set { track, .. } => (track.number(), None),
                ChangeKind::Open { .. } => (OPEN, None),
                ChangeKind::Close { .. } => (CLOSE, None),
                ChangeKind::CloseAll => (CLOSE_ALL, None),
                ChangeKind::Span { until, .. } => (SPAN, Some(until.0)),
            };
            let word = change.kind.word().and_then(|word| words.get(word)).copied().unwrap_or(0);
            push_varint(&mut run, word << 3 | u64::from(kind));
            if let Some(until) = until {
                push_signed(&mut run, until.wrapping_sub(at));
            }
        }
        push_varint(&mut out, u64::from(own[0].vm - vm));
        push_varint(&mut out, run.len() as u64);
        out.extend_from_slice(&run);
        vm = own[0].vm;
    }
    out
}

/// Passes the changes of the wanted VMs to `each`, by VM and in the order of the journal; `first` is that of the segment.
/// `None` if the bytes are no changes; some may have been passed then.
pub(crate) fn read_changes(
    bytes: &[u8],
    first: u64,
    mut is_wanted: impl FnMut(u32) -> bool,
    mut each: impl FnMut(ChangeOf<'_>),
) -> Option<()> {
    let mut rest = bytes.strip_prefix(&[FORM])?;
    let count = usize::try_from(take_varint(&mut rest)?).ok().filter(|count| *count <= rest.len())?;
    let mut words = Vec::with_capacity(count);
    for _ in 0..count {
        words.push(std::str::from_utf8(take_bytes(&mut rest)?).ok()?);
    }
    let base = take_signed(&mut rest)?;
    let mut vm = 0_u32;
    while !rest.is_empty() {
        vm = vm.checked_add(u32::try_from(take_varint(&mut rest)?).ok()?)?;
        let mut run = take_bytes(&mut rest)?;
        if !is_wanted(vm) {
            continue;
        }
        let (mut offset, mut at) = (first.saturating_sub(1), base);
        while !run.is_empty() {
            offset = offset.checked_add(take_varint(&mut run)?)?;
            at = at.wrapping_add(take_signed(&mut run)?);
            let code = take_varint(&mut run)?;
            let word = usize::try_from(code >> 3).ok().and_then(|word| words.get(word));
            let word = || word.map(|word| Cow::Borrowed(*word));
            let kind = match (code & 7) as u8 {
                OPEN => ChangeKind::Open { word: word()? },
                CLOSE => ChangeKind::Close { word: word()? },
                CLOSE_ALL => ChangeKind::CloseAll,
                SPAN => {
                    let until = UnixMicros(at.wrapping_add(take_signed(&mut run)?));
                    ChangeKind::Span { word: word()?, until }
                }
                track => ChangeKind::Set { track: Track::new(track), word: word()? },
            };
            each(ChangeOf { vm, offset, change: Change { at: UnixMicros(at), kind } });
        }
    }
    Some(())
}

/// Whether the bytes are changes, of every VM: [`read_changes`] passes all of them then.
pub(crate) fn are_changes(bytes: &[u8], first: u64) -> bool {
    read_changes(bytes, first, |_| true, |_| ()).is_some()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Changes of a few VMs, in the order of the journal.
    pub(in crate::summary) fn changes() -> impl Strategy<Value = Vec<ChangeOf<'static>>> {
        let word = prop_oneof!["[a-c]{0,2}", "\\PC{0,3}"].prop_map(Cow::<'static, str>::Owned);
        let at = prop_oneof![0_i64..1_000_000, any::<i64>()].prop_map(UnixMicros);
        let kind = (0_u8..8, word, at.clone()).prop_map(|(kind, word, until)| match kind {
            OPEN => ChangeKind::Open { word },
            CLOSE => ChangeKind::Close { word },
            CLOSE_ALL => ChangeKind::CloseAll,
            SPAN => ChangeKind::Span { word, until },
            track => ChangeKind::Set { track: Track::new(track), word },
        });
        let one = (1_u32..4, 0_u64..3, at, kind);
        prop::collection::vec(one, 0..60).prop_map(|all| {
            let mut offset = 100;
            let in_order = all.into_iter().map(|(vm, step, at, kind)| {
                offset += step;
                ChangeOf { vm, offset, change: Change { at, kind } }
            });
            in_order.collect()
        })
    }

    fn read(bytes: &[u8], first: u64, is_wanted: impl Fn(u32) -> bool) -> Option<Vec<ChangeOf<'static>>> {
        let mut found = Vec::new();
        let each = |ChangeOf { vm, offset, change }: ChangeOf<'_>| {
            found.push(ChangeOf { vm, offset, change: change.into_owned() });
        };
        read_changes(bytes, first, is_wanted, each).map(|()| found)
    }

    proptest! {
        /// Changes are read as they were written, by VM and in their order.
        #[test]
        fn changes_round_trip(changes in changes(), wanted in 0_u32..5) {
            let bytes = write_changes(&mut changes.clone(), 100);
            let mut expected = changes;
            expected.sort_by_key(|change| change.vm);
            prop_assert_eq!(read(&bytes, 100, |_| true), Some(expected.clone()));
            expected.retain(|change| change.vm == wanted);
            prop_assert_eq!(read(&bytes, 100, |vm| vm == wanted), Some(expected));
        }

        /// Bytes that are no changes never panic.
        #[test]
        fn hostile_bytes_never_panic(
            changes in changes(),
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
        ) {
            let _ = read(&bytes, 1, |_| true);
            let _ = read(&[&[FORM], bytes.as_slice()].concat(), u64::MAX, |_| true);
            let mut damaged = write_changes(&mut changes.clone(), 100);
            let at = at.index(damaged.len());
            let _ = read(&damaged[..at], 1, |_| true);
            damaged[at] = bytes.first().copied().unwrap_or(0xff);
            let _ = read(&damaged, 1, |_| true);
        }
    }
}
