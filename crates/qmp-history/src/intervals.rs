//! Intervals that are drawn as one where they are narrower than a bucket: none is dropped.

/// A value that held for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) from: i64,
    /// `None` if it had not ended by the end of the window.
    pub(crate) to: Option<i64>,
    /// The value: a word of an interner.
    pub(crate) word: u32,
    /// The intervals that are drawn as this one.
    pub(crate) count: u32,
}

/// Intervals in the order of their beginning, merged as they are added.
#[derive(Clone, Debug)]
pub(crate) struct Intervals {
    /// Shorter ones are merged with their neighbours.
    bucket: i64,
    /// The end of the window.
    until: i64,
    /// Whether neighbours are merged only if their value is the same.
    by_word: bool,
    all: Vec<Interval>,
}

impl Intervals {
    pub(crate) fn new(bucket: i64, until: i64, by_word: bool) -> Self {
        Self { bucket, until, by_word, all: Vec::new() }
    }

    /// Adds the next interval. One that is shorter than a bucket is joined to the one before it if that is short, too, or
    /// consists of short ones, and less than a bucket is between them. The joined interval has the later value.
    pub(crate) fn push(&mut self, from: i64, to: Option<i64>, word: u32) {
        let (bucket, by_word) = (self.bucket, self.by_word);
        let is_short = self.is_short(from, to);
        let until = self.until;
        let joined = self.all.last_mut().filter(|before| {
            let end = before.to.unwrap_or(until);
            let before_is_short = before.count > 1 || end.saturating_sub(before.from) < bucket;
            is_short
                && before_is_short
                && before.to.is_some()
                && from.saturating_sub(end) < bucket
                && (!by_word || before.word == word)
        });
        match joined {
            Some(before) => {
                before.to = to.map(|to| to.max(before.to.unwrap_or(to)));
                before.word = word;
                before.count = before.count.saturating_add(1);
            }
            None => self.all.push(Interval { from, to, word, count: 1 }),
        }
    }

    fn is_short(&self, from: i64, to: Option<i64>) -> bool {
        to.unwrap_or(self.until).saturating_sub(from) < self.bucket
    }

    /// The last interval with this value alone.
    pub(crate) fn last_of(&mut self, word: u32) -> Option<&mut Interval> {
        self.all.iter_mut().rev().find(|interval| interval.word == word && interval.count == 1)
    }

    pub(crate) fn into_vec(self) -> Vec<Interval> {
        self.all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Every interval is in one that is drawn, as many are drawn as there are columns for them, and their number is kept.
        #[test]
        fn no_interval_is_dropped(lengths in prop::collection::vec((1_i64..300, 0_u32..3), 1..200)) {
            let until: i64 = lengths.iter().map(|(length, _)| length).sum();
            let mut intervals = Intervals::new(100, until, false);
            let (mut at, mut added) = (0, Vec::new());
            for (length, word) in lengths {
                let to = (at + length < until).then_some(at + length);
                intervals.push(at, to, word);
                added.push((at, at + length));
                at += length;
            }
            let drawn = intervals.into_vec();
            prop_assert_eq!(drawn.iter().map(|interval| interval.count).sum::<u32>() as usize, added.len());
            for (from, to) in added {
                prop_assert!(drawn.iter().any(|drawn| drawn.from <= from && drawn.to.unwrap_or(until) >= to));
            }
            let long = drawn.iter().filter(|drawn| drawn.to.unwrap_or(until) - drawn.from >= 100).count();
            prop_assert!(drawn.len() <= 2 * long + 1, "two short ones are joined: {:?}", drawn);
        }
    }
}
