//! How often a rule may act: so many times within any span of so long.
//!
//! A record that may not pass is held back and counted, and the newest of them is kept. As soon as the limit allows it,
//! that one passes, with the number of those that it stands for: what was held back is told after one span at most,
//! also if nothing comes any more.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use qmp_settings::span::{self, SpanError};
use qmp_wire::{Offset, UnixMicros};

/// How many deliveries a limit may allow in its span. Their times are kept; a limit that allows more is none that a
/// person would notice.
const AT_MOST_COUNT_MAX: u32 = 1_000;

/// A limit, written `1 per 10m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtMost {
    count: u32,
    span: Duration,
}

/// Errors of reading a limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AtMostError {
    /// It is not of the form.
    #[error("expected how often, such as \"1 per 10m\" or \"5 per 1h\"")]
    Form,
    /// The number is 0, or larger than makes sense.
    #[error("expected a number from 1 to {AT_MOST_COUNT_MAX} before \"per\"")]
    Count,
    /// The span cannot be read.
    #[error("{0}")]
    Span(SpanError),
    /// The span is no time at all.
    #[error("a span of no time limits nothing; leave `at-most` out")]
    NoTime,
}

impl FromStr for AtMost {
    type Err = AtMostError;

    fn from_str(text: &str) -> Result<Self, AtMostError> {
        let (count, span) = text.split_once(" per ").ok_or(AtMostError::Form)?;
        let count: u32 = count.trim().parse().map_err(|_| AtMostError::Form)?;
        if !(1..=AT_MOST_COUNT_MAX).contains(&count) {
            return Err(AtMostError::Count);
        }
        let span = span.trim();
        // "5 per hour" is how people say it.
        let span = match span::parse(span) {
            Err(SpanError::NotASpan) => span::parse(&format!("1{span}")),
            other => other,
        };
        let span = span.map_err(AtMostError::Span)?;
        if span.is_zero() {
            return Err(AtMostError::NoTime);
        }
        Ok(Self { count, span })
    }
}

impl fmt::Display for AtMost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span_us = u64::try_from(self.span.as_micros()).unwrap_or(u64::MAX);
        write!(f, "{} per {}", self.count, span::describe(span_us))
    }
}

/// Decides which records pass. Holds no clock; every time is an argument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Gate {
    limit: Option<AtMost>,
    /// When the last records passed, oldest first; no more of them than the limit allows.
    passed: VecDeque<i64>,
    held: Held,
}

/// What was held back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// How many, the newest included.
    pub(super) records: u64,
    /// The newest; `Offset(0)` if there is none.
    pub(super) newest: Offset,
}

impl Gate {
    /// A gate that goes on where another one stopped.
    pub(super) fn new(limit: Option<AtMost>, passed: impl IntoIterator<Item = i64>, held: Held) -> Self {
        let most = limit.map_or(0, |limit| limit.count as usize);
        let mut passed: VecDeque<i64> = passed.into_iter().collect();
        while passed.len() > most {
            passed.pop_front();
        }
        Self { limit, passed, held }
    }

    /// When a record may pass: `now`, or later.
    pub(super) fn opens_at(&mut self, now: UnixMicros) -> UnixMicros {
        let Some(limit) = self.limit else { return now };
        // A clock that was set back must not close the gate for longer than a span.
        self.passed.iter_mut().for_each(|at| *at = (*at).min(now.0));
        if self.passed.len() < limit.count as usize {
            return now;
        }
        let span_us = i64::try_from(limit.span.as_micros()).unwrap_or(i64::MAX);
        let oldest = self.passed.front().copied().unwrap_or(i64::MIN);
        UnixMicros(oldest.saturating_add(span_us).max(now.0))
    }

    /// Lets one record pass at `now`, at which the gate is open.
    pub(super) fn pass(&mut self, now: UnixMicros) {
        let Some(limit) = self.limit else { return };
        if self.passed.len() >= limit.count as usize {
            self.passed.pop_front();
        }
        self.passed.push_back(now.0);
    }

    /// Holds a record back.
    pub(super) fn hold(&mut self, offset: Offset) {
        self.held = Held { records: self.held.records + 1, newest: offset };
    }

    /// What is held back.
    pub(super) fn held(&self) -> Held {
        self.held
    }

    /// The newest record that was held back passes now, and tells of the others: how many.
    pub(super) fn release(&mut self, now: UnixMicros) -> u64 {
        self.pass(now);
        std::mem::take(&mut self.held).records.saturating_sub(1)
    }

    /// When the last records passed.
    pub(super) fn passed(&self) -> impl Iterator<Item = i64> + '_ {
        self.passed.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_limits() {
        let cases = [
            ("1 per 10m", "1 per 10 min"),
            ("5 per 1h30m", "5 per 1 h 30 min"),
            ("20 per hour", "20 per 1 h"),
            ("2 per  500ms ", "2 per 500 ms"),
            ("1", "expected how often, such as \"1 per 10m\" or \"5 per 1h\""),
            ("often per 1h", "expected how often, such as \"1 per 10m\" or \"5 per 1h\""),
            ("0 per 1h", "expected a number from 1 to 1000 before \"per\""),
            ("1001 per 1h", "expected a number from 1 to 1000 before \"per\""),
            ("1 per 10", "expected a unit after the number: ms, s, min, h, d or w"),
            ("1 per fortnight", "unknown unit \"fortnight\": expected ms, s, min, h, d or w"),
            ("1 per 0s", "a span of no time limits nothing; leave `at-most` out"),
        ];
        for (text, expected) in cases {
            let shown = match text.parse::<AtMost>() {
                Ok(limit) => limit.to_string(),
                Err(error) => error.to_string(),
            };
            assert_eq!(shown, expected, "{text}");
        }
    }

    /// What a rule does with records that come at these times (ms): when one passes, and of how many others it tells.
    fn acted(limit: &str, offered: &[i64], mut gate: Gate, until: i64) -> (Vec<(i64, u64)>, Gate) {
        gate.limit = Some(limit.parse().expect("a limit"));
        let mut acts = Vec::new();
        let mut last = offered.first().copied().unwrap_or(until);
        let mut release_by = |gate: &mut Gate, now: i64| {
            // The rule's timer, which fires in time.
            while gate.held().records > 0 {
                let at = gate.opens_at(UnixMicros(last)).0;
                if at > now {
                    break;
                }
                acts.push((at, gate.release(UnixMicros(at))));
                last = at;
            }
            last = now;
        };
        let mut passed = Vec::new();
        for (index, &at) in offered.iter().enumerate() {
            release_by(&mut gate, at);
            if gate.opens_at(UnixMicros(at)).0 == at {
                gate.pass(UnixMicros(at));
                passed.push((at, 0));
            } else {
                gate.hold(Offset(index as u64 + 1));
            }
        }
        release_by(&mut gate, until);
        acts.extend(passed);
        acts.sort_unstable();
        (acts, gate)
    }

    #[test]
    fn what_is_held_back_is_told() {
        type Case<'a> = (&'a str, &'a str, &'a [i64], &'a [(i64, u64)]);
        let cases: [Case<'_>; 5] = [
            // name           limit          offered (µs)         passed at, telling of
            ("one", "1 per 10us", &[5], &[(5, 0)]),
            ("a pair", "1 per 10us", &[5, 6], &[(5, 0), (15, 0)]),
            ("a burst", "1 per 10us", &[5, 6, 7, 8], &[(5, 0), (15, 2)]),
            ("two pass", "2 per 10us", &[0, 1, 2, 3], &[(0, 0), (1, 0), (10, 1)]),
            ("slow", "1 per 10us", &[0, 10, 20], &[(0, 0), (10, 0), (20, 0)]),
        ];
        for (name, limit, offered, expected) in cases {
            let late = offered.last().copied().unwrap_or(0) + 10;
            assert_eq!(acted(limit, offered, Gate::default(), late).0, expected, "{name}");
        }
    }

    proptest! {
        /// Within any span no more records pass than the limit allows, and each that was offered passes, is told of by
        /// one that passes, or is still held back; also when the hub is killed in between.
        #[test]
        fn never_exceeds_the_limit_nor_forgets(
            count in 1u32..5,
            mut offered in prop::collection::vec(0i64..1_000, 1..80),
            cut in 0usize..80,
        ) {
            offered.sort_unstable();
            let limit = format!("{count} per 100us");
            let cut = cut.min(offered.len());
            let killed = offered[..cut].last().copied().unwrap_or(0);
            let (mut acts, gate) = acted(&limit, &offered[..cut], Gate::default(), killed);
            let gate = Gate::new(gate.limit, gate.passed().collect::<Vec<_>>(), gate.held());
            let (more, gate) = acted(&limit, &offered[cut..], gate, 1_050);
            acts.extend(more);
            for window in acts.windows(count as usize + 1) {
                prop_assert!(window[count as usize].0 - window[0].0 >= 100, "{:?}", acts);
            }
            let told: u64 = acts.iter().map(|(_, held)| held + 1).sum();
            prop_assert_eq!(told + gate.held().records, offered.len() as u64);
        }

        /// A clock that is set back closes the gate for a span at most.
        #[test]
        fn survives_a_clock_that_is_set_back(passed in prop::collection::vec(any::<i64>(), 0..8), now in 0i64..1_000) {
            let limit = "3 per 100us".parse().expect("a limit");
            let mut gate = Gate::new(Some(limit), passed, Held::default());
            let opens = gate.opens_at(UnixMicros(now)).0;
            prop_assert!(opens >= now && opens <= now + 100);
        }
    }
}
