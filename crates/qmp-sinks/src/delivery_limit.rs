//! The limit of a rule's deliveries: at most so many within any span of a given length.
//!
//! A record beyond the limit is held back and counted, and the newest of these is kept. As soon as the limit allows it,
//! the newest is delivered with the number of the others: so held-back records are reported after one span at most,
//! even if no further record follows.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use qmp_settings::span::{self, SpanError};
use qmp_wire::{Offset, UnixMicros};

/// How many deliveries a limit may allow in its span. Their times are kept; a higher limit would make no difference to
/// a person.
const AT_MOST_COUNT_MAX: u32 = 1_000;

/// A limit, written `1 per 10m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryLimit {
    count: u32,
    span: Duration,
}

/// Errors of reading a limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryLimitError {
    /// The text does not have the form `COUNT per SPAN`.
    #[error("expected how often, such as \"1 per 10m\" or \"5 per 1h\"")]
    Form,
    /// The number is 0, or too large.
    #[error("expected a number from 1 to {AT_MOST_COUNT_MAX} before \"per\"")]
    Count,
    /// The span is invalid.
    #[error("{0}")]
    Span(SpanError),
    /// The span is zero.
    #[error("a span of no time limits nothing; leave `at-most` out")]
    NoTime,
}

impl FromStr for DeliveryLimit {
    type Err = DeliveryLimitError;

    fn from_str(text: &str) -> Result<Self, DeliveryLimitError> {
        let (count, span) = text.split_once(" per ").ok_or(DeliveryLimitError::Form)?;
        let count: u32 = count.trim().parse().map_err(|_| DeliveryLimitError::Form)?;
        if !(1..=AT_MOST_COUNT_MAX).contains(&count) {
            return Err(DeliveryLimitError::Count);
        }
        let span = span.trim();
        // "5 per hour" is a usual spelling.
        let span = match span::parse(span) {
            Err(SpanError::NotASpan) => span::parse(&format!("1{span}")),
            other => other,
        };
        let span = span.map_err(DeliveryLimitError::Span)?;
        if span.is_zero() {
            return Err(DeliveryLimitError::NoTime);
        }
        Ok(Self { count, span })
    }
}

impl fmt::Display for DeliveryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span_us = u64::try_from(self.span.as_micros()).unwrap_or(u64::MAX);
        write!(f, "{} per {}", self.count, span::describe(span_us))
    }
}

/// Decides which records pass. Has no clock; every time is an argument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Gate {
    limit: Option<DeliveryLimit>,
    /// When the last records passed, oldest first; no more of them than the limit allows.
    passed: VecDeque<i64>,
    held: HeldRecords,
}

/// The records that were held back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HeldRecords {
    /// The number of records, the newest included.
    pub(super) records: u64,
    /// The newest record; `Offset(0)` if there is none.
    pub(super) newest: Offset,
}

impl Gate {
    /// Creates a gate with the state of an earlier one.
    pub(super) fn new(
        limit: Option<DeliveryLimit>,
        passed: impl IntoIterator<Item = i64>,
        held: HeldRecords,
    ) -> Self {
        let most = limit.map_or(0, |limit| limit.count as usize);
        let mut passed: VecDeque<i64> = passed.into_iter().collect();
        while passed.len() > most {
            passed.pop_front();
        }
        Self { limit, passed, held }
    }

    /// The time from which a record may pass: `now`, or later.
    pub(super) fn opens_at(&mut self, now: UnixMicros) -> UnixMicros {
        let Some(limit) = self.limit else { return now };
        // A clock that was set back must not close the gate for longer than one span.
        self.passed.iter_mut().for_each(|at| *at = (*at).min(now.0));
        if self.passed.len() < limit.count as usize {
            return now;
        }
        let span_us = i64::try_from(limit.span.as_micros()).unwrap_or(i64::MAX);
        let oldest = self.passed.front().copied().unwrap_or(i64::MIN);
        UnixMicros(oldest.saturating_add(span_us).max(now.0))
    }

    /// Counts a record that passes at `now`, when the gate is open.
    pub(super) fn pass(&mut self, now: UnixMicros) {
        let Some(limit) = self.limit else { return };
        if self.passed.len() >= limit.count as usize {
            self.passed.pop_front();
        }
        self.passed.push_back(now.0);
    }

    /// Holds a record back.
    pub(super) fn hold(&mut self, offset: Offset) {
        self.held = HeldRecords { records: self.held.records + 1, newest: offset };
    }

    /// The records that are held back.
    pub(super) fn held(&self) -> HeldRecords {
        self.held
    }

    /// Counts the newest held-back record as passed, and returns the number of the others.
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
    fn limit_is_parsed_or_refused() {
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
            let shown = match text.parse::<DeliveryLimit>() {
                Ok(limit) => limit.to_string(),
                Err(error) => error.to_string(),
            };
            assert_eq!(shown, expected, "{text}");
        }
    }

    /// The deliveries of a rule for records at these times (µs): when one passes, and the number of held-back records
    /// that it reports.
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
    fn held_back_records_are_reported_after_one_span() {
        type Case<'a> = (&'a str, &'a str, &'a [i64], &'a [(i64, u64)]);
        let cases: [Case<'_>; 5] = [
            // name           limit          offered (µs)         passed at, reporting
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
        /// Within any span no more records pass than the limit allows, and each record passes, is reported by one that
        /// passes, or is still held back; also if the hub is killed in between.
        #[test]
        fn limit_is_kept_and_every_record_is_counted(
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
            let counted: u64 = acts.iter().map(|(_, held)| held + 1).sum();
            prop_assert_eq!(counted + gate.held().records, offered.len() as u64);
        }

        /// A clock that is set back closes the gate for at most one span.
        #[test]
        fn gate_opens_within_a_span_after_clock_is_set_back(passed in prop::collection::vec(any::<i64>(), 0..8), now in 0i64..1_000) {
            let limit = "3 per 100us".parse().expect("a limit");
            let mut gate = Gate::new(Some(limit), passed, HeldRecords::default());
            let opens = gate.opens_at(UnixMicros(now)).0;
            prop_assert!(opens >= now && opens <= now + 100);
        }
    }
}
