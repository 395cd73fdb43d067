//! The times at which the actions of a script are due.
//!
//! Time is an argument, counted from the beginning of the script. Each step has its own random generator, so that
//! its draws do not depend on the order of the steps: the same steps and seed give the same timeline, at any speed.

use std::{collections::VecDeque, time::Duration};

use super::model::{Script, Step};
use crate::{action::Action, random::Random};

/// The actions of a script in the order in which they are due.
#[derive(Debug)]
pub struct Timeline<A> {
    tracks: Vec<StepSchedule<A>>,
}

/// An action that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueAction<A> {
    /// The time, counted from the beginning of the script.
    pub at: Duration,
    /// The line of the script, counted from 1.
    pub line: usize,
    /// The action.
    pub action: A,
}

/// One step with its pending runs.
#[derive(Debug)]
struct StepSchedule<A> {
    step: Step<A>,
    random: Random,
    /// Number of runs that have begun.
    runs: u64,
    /// The rest of the current sequence: the time and the index of each part.
    pending: VecDeque<(Duration, usize)>,
    /// The time of its last part.
    last: Duration,
}

impl<A: Clone> Timeline<A> {
    /// Creates the timeline of these steps.
    pub(super) fn new(steps: &[Step<A>], seed: u64) -> Self {
        let schedule = |(part, step): (u64, &Step<A>)| StepSchedule {
            step: step.clone(),
            random: Random::new(seed, part),
            runs: 0,
            pending: VecDeque::new(),
            last: Duration::ZERO,
        };
        let mut tracks: Vec<_> = (0..).zip(steps).map(schedule).collect();
        tracks.iter_mut().for_each(StepSchedule::begin);
        Self { tracks }
    }

    /// Returns when the next action is due; `None` at the end.
    #[must_use]
    pub fn next_at(&self) -> Option<Duration> {
        self.tracks.iter().filter_map(StepSchedule::next_at).min()
    }

    /// Removes the next action and returns it. Returns `None` if its random draw skips it, or at the end:
    /// [`next_at`](Self::next_at) distinguishes the two.
    ///
    /// Of the actions due at the same time, the one of the first step in the script comes first.
    pub fn take(&mut self) -> Option<DueAction<A>> {
        let next = self.next_at()?;
        self.tracks.iter_mut().find(|schedule| schedule.next_at() == Some(next))?.take()
    }
}

impl<A: Clone> StepSchedule<A> {
    fn next_at(&self) -> Option<Duration> {
        self.pending.front().map(|(at, _)| *at)
    }

    /// Schedules the next run of the step, if there is one.
    fn begin(&mut self) {
        let Step { at, every, times, jitter, .. } = self.step;
        let limit = times.unwrap_or(if every.is_some() { u64::MAX } else { 1 });
        if self.runs >= limit {
            return;
        }
        let rounds = u32::try_from(self.runs).unwrap_or(u32::MAX);
        // Jitter does not accumulate, and a run does not begin before the previous one has ended.
        let regular = at.saturating_add(every.unwrap_or_default().saturating_mul(rounds));
        let mut time = regular.saturating_add(self.random.span(jitter)).max(self.last);
        self.runs += 1;
        for (index, part) in self.step.parts.iter().enumerate() {
            time = time.saturating_add(part.after).saturating_add(self.random.span(part.jitter));
            self.pending.push_back((time, index));
        }
        self.last = time;
        // The probability of the step covers the whole sequence: one draw.
        if !self.random.draw(self.step.probability) {
            let end = self.pending.pop_back();
            self.pending.clear();
            self.pending.extend(end.map(|(at, _)| (at, usize::MAX)));
        }
    }

    fn take(&mut self) -> Option<DueAction<A>> {
        let (at, index) = self.pending.pop_front()?;
        let due = self.step.parts.get(index).and_then(|part| {
            let included = self.random.draw(part.probability);
            let action = part.choices.get(self.random.index(part.choices.len()))?;
            included.then(|| DueAction { at, line: part.line, action: action.clone() })
        });
        if self.pending.is_empty() {
            self.begin();
        }
        due
    }
}

impl Script {
    /// Returns the timeline with random decisions from that seed.
    #[must_use]
    pub fn timeline(&self, seed: u64) -> Timeline<Action> {
        Timeline::new(&self.steps, seed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::model::Part, *};

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn part(after: u64, name: &'static str) -> Part<&'static str> {
        Part { line: 1, after: ms(after), jitter: Duration::ZERO, probability: 1.0, choices: vec![name] }
    }

    fn step(at: u64, parts: Vec<Part<&'static str>>) -> Step<&'static str> {
        Step { at: ms(at), every: None, times: None, jitter: Duration::ZERO, probability: 1.0, parts }
    }

    /// Returns the first `most` actions that are due, as `time name`.
    fn due(steps: &[Step<&'static str>], seed: u64, most: usize) -> Vec<String> {
        let mut timeline = Timeline::new(steps, seed);
        let mut due = Vec::new();
        while timeline.next_at().is_some() && due.len() < most {
            if let Some(DueAction { at, action, .. }) = timeline.take() {
                due.push(format!("{} {action}", at.as_millis()));
            }
        }
        due
    }

    #[test]
    fn steps_are_ordered_by_time() {
        let every = |every, times, step| Step { every: Some(ms(every)), times, ..step };
        type Case = (&'static str, Vec<Step<&'static str>>, &'static [&'static str]);
        let cases: [Case; 7] = [
            ("nothing", vec![], &[]),
            (
                "in order of time",
                vec![step(20, vec![part(0, "b")]), step(10, vec![part(0, "a")])],
                &["10 a", "20 b"],
            ),
            (
                "at one time as written",
                vec![step(5, vec![part(0, "a")]), step(5, vec![part(0, "b")])],
                &["5 a", "5 b"],
            ),
            (
                "sequence",
                vec![step(10, vec![part(0, "a"), part(7, "b"), part(0, "c")])],
                &["10 a", "17 b", "17 c"],
            ),
            ("repeated", vec![every(10, Some(3), step(5, vec![part(0, "a")]))], &["5 a", "15 a", "25 a"]),
            ("for ever", vec![every(1, None, step(0, vec![part(0, "a")]))], &["0 a", "1 a", "2 a", "3 a"]),
            (
                "never before it is over",
                vec![every(10, Some(3), step(0, vec![part(0, "a"), part(25, "b")]))],
                &["0 a", "25 b", "25 a", "50 b"],
            ),
        ];
        for (name, steps, expected) in cases {
            assert_eq!(due(&steps, 0, 4), expected, "{name}");
        }
    }

    #[test]
    fn probability_applies_to_sequence_and_to_each_part() {
        let whole = Step {
            every: Some(ms(10)),
            times: Some(1000),
            probability: 0.5,
            ..step(0, vec![part(0, "a"), part(1, "b")])
        };
        let actions = due(&[whole], 3, usize::MAX);
        assert!((800..1200).contains(&actions.len()) && actions.len().is_multiple_of(2), "{}", actions.len());
        let maybe = Part { probability: 0.5, ..part(1, "b") };
        let each = Step { every: Some(ms(10)), times: Some(1000), ..step(0, vec![part(0, "a"), maybe]) };
        let actions = due(&[each], 3, usize::MAX);
        assert!(actions.len() > 1400 && actions.len() < 1600, "{}", actions.len());
    }

    proptest! {
        /// The same script and seed give the same timeline, and the draws of a step do not depend on later steps.
        #[test]
        fn same_seed_gives_same_timeline(seed: u64, jitter in 0_u64..50, probability in 0.1_f64..=1.0, period in 1_u64..40) {
            let varied = Step {
                every: Some(ms(period)),
                times: Some(20),
                jitter: ms(jitter),
                probability,
                ..step(3, vec![part(0, "a"), Part { jitter: ms(jitter), choices: vec!["b", "c"], ..part(2, "") }])
            };
            let alone = due(std::slice::from_ref(&varied), seed, usize::MAX);
            prop_assert_eq!(&due(std::slice::from_ref(&varied), seed, usize::MAX), &alone);
            let other = Step { every: Some(ms(7)), times: Some(9), ..step(0, vec![part(0, "other")]) };
            let mut beside = due(&[varied, other], seed, usize::MAX);
            beside.retain(|due| !due.ends_with("other"));
            prop_assert_eq!(beside, alone);
        }

        /// Times never decrease.
        #[test]
        fn timeline_is_ordered_by_time(seed: u64, jitter in 0_u64..100, starts in prop::collection::vec(0_u64..100, 1..6)) {
            let steps: Vec<_> = starts
                .iter()
                .map(|at| Step { every: Some(ms(9)), times: Some(9), jitter: ms(jitter), ..step(*at, vec![part(1, "a")]) })
                .collect();
            let mut timeline = Timeline::new(&steps, seed);
            let mut previous = Duration::ZERO;
            while let Some(at) = timeline.next_at() {
                prop_assert!(previous <= at);
                previous = at;
                timeline.take();
            }
        }
    }
}
