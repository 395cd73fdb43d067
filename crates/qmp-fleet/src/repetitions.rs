//! Repetitions among the messages of a reader whose filter hides parts of the chains: it knows the offsets of the records that
//! it is sent, and not which ones are between them.

use std::collections::{BTreeSet, HashMap};

use qmp_wire::Offset;

use super::link::Link;
use super::publisher::PUBLISH_WINDOW;

/// Offsets of a journal that are remembered: several times the window of a publisher, in which a hole may be filled late.
const REMEMBERED_MAX_RECORDS: usize = 4 * PUBLISH_WINDOW;

/// The records that were returned.
#[derive(Debug)]
pub(crate) struct Repetitions {
    journals: HashMap<Box<str>, ReturnedRecords>,
    /// Whether records before the first one of a journal count as returned.
    from_first: bool,
}

#[derive(Debug)]
struct ReturnedRecords {
    /// All records up to this one count as returned.
    upto: Offset,
    later: BTreeSet<Offset>,
}

impl Repetitions {
    /// Without any record. With `from_first`, what a journal has before the first record that is received is not new.
    pub(crate) fn new(from_first: bool) -> Self {
        Self { journals: HashMap::new(), from_first }
    }

    /// Whether the record was not returned before. It counts as returned then.
    pub(crate) fn is_new(&mut self, journal: &str, link: Link) -> bool {
        if !self.journals.contains_key(journal) {
            let upto = if self.from_first { link.previous } else { Offset(0) };
            self.journals.insert(journal.into(), ReturnedRecords { upto, later: BTreeSet::new() });
        }
        self.journals.get_mut(journal).is_some_and(|returned| returned.insert(link))
    }
}

impl ReturnedRecords {
    fn insert(&mut self, link: Link) -> bool {
        if link.offset <= self.upto || !self.later.insert(link.offset) {
            return false;
        }
        if link.previous <= self.upto {
            // None is between them, and the later ones that were returned stay.
            self.later.remove(&link.offset);
            self.upto = link.offset;
        } else if self.later.len() > REMEMBERED_MAX_RECORDS {
            self.upto = self.later.pop_first().unwrap_or(self.upto);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link((previous, offset): (u64, u64)) -> Link {
        Link { previous: Offset(previous), offset: Offset(offset) }
    }

    #[test]
    fn repeated_record_is_recognized() {
        //  case                   from the first   received                                  new
        type Case<'a> = (&'a str, bool, &'a [(u64, u64)], &'a [u64]);
        let cases: [Case<'_>; 6] = [
            ("in order", true, &[(1, 3), (4, 5), (8, 9)], &[3, 5, 9]),
            (
                "published again",
                true,
                &[(1, 3), (4, 5), (8, 9), (1, 3), (4, 5), (8, 9), (9, 10)],
                &[3, 5, 9, 10],
            ),
            ("a hole is filled", true, &[(1, 3), (8, 9), (1, 3), (4, 5), (8, 9)], &[3, 9, 5]),
            ("chain after a hole", true, &[(1, 3), (4, 5), (3, 4), (4, 5), (5, 6)], &[3, 5, 4, 6]),
            ("earlier than the first", true, &[(2, 3), (0, 1), (1, 2), (2, 3), (3, 4)], &[3, 4]),
            ("from a time on", false, &[(2, 3), (0, 1), (1, 2), (2, 3), (3, 4)], &[3, 1, 2, 4]),
        ];
        for (case, from_first, received, expected) in cases {
            let mut repetitions = Repetitions::new(from_first);
            let new = received.iter().filter(|one| repetitions.is_new("j", link(**one)));
            let new: Vec<u64> = new.map(|(_, offset)| *offset).collect();
            assert_eq!(new, expected, "{case}");
        }
        let mut of_two = Repetitions::new(true);
        assert!(of_two.is_new("a", link((6, 7))) && of_two.is_new("b", link((6, 7))));
    }

    #[test]
    fn memory_is_bounded() {
        let last = 3 * REMEMBERED_MAX_RECORDS as u64;
        let mut repetitions = Repetitions::new(true);
        let mut all = |step: u64| {
            (1..=last)
                .filter(|number| repetitions.is_new("j", link((number * step - 1, number * step))))
                .count()
        };
        assert_eq!((all(2), all(2)), (3 * REMEMBERED_MAX_RECORDS, 0));
        assert_eq!(repetitions.journals["j"].later.len(), REMEMBERED_MAX_RECORDS);
        let mut whole = Repetitions::new(true);
        assert!((1..=last).all(|number| whole.is_new("j", link((number - 1, number)))));
        assert_eq!(whole.journals["j"].later.len(), 0);
    }
}
