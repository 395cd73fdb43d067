//! Parses a `[[step]]`.

use std::{ops::Range, time::Duration};

use toml::de::DeTable;

use super::values::{Key, ScriptReader, Value};
use crate::{
    action::Action,
    script::model::{Part, Step},
};

pub(super) const TIMES: [&str; 6] = ["at", "every", "repeat", "jitter", "probability", "sequence"];
const PART_TIMES: [&str; 3] = ["after", "jitter", "probability"];

impl<'t> ScriptReader<'t> {
    /// Returns a step; `None`, with a problem, if it is not valid.
    pub(super) fn step(&mut self, table: &DeTable<'t>, span: Range<usize>) -> Option<Step<Action>> {
        let problems_before = self.problems.len();
        let mut step = Step {
            at: Duration::ZERO,
            every: None,
            times: None,
            jitter: Duration::ZERO,
            probability: 1.0,
            parts: Vec::new(),
        };
        let mut sequence: Option<(&Key<'t>, &Value<'t>)> = None;
        let mut repeat: Option<&Key<'t>> = None;
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "at" => step.at = self.span(value).unwrap_or_default(),
                "every" => step.every = self.period(value),
                "repeat" => {
                    repeat = Some(key);
                    step.times = self.count(value);
                }
                "jitter" => step.jitter = self.span(value).unwrap_or_default(),
                "probability" => step.probability = self.probability(value).unwrap_or(1.0),
                "sequence" => sequence = Some((key, value)),
                _ => {}
            }
        }
        if let (Some(key), false) = (repeat, table.contains_key("every")) {
            self.problem(&key.span(), "\"repeat\" needs \"every\", the time between two runs");
        }
        match sequence {
            Some((key, value)) => {
                self.reject_action_with(table, key);
                let parts = self.list(value)?;
                if parts.is_empty() {
                    self.problem(&value.span(), "a sequence needs at least one part");
                }
                for part in parts {
                    step.parts.extend(self.part(part));
                }
            }
            None => {
                let choices = self.choices(table, &span, &TIMES);
                let line = self.location(&span).line;
                step.parts.push(Part {
                    line,
                    after: Duration::ZERO,
                    jitter: Duration::ZERO,
                    probability: 1.0,
                    choices,
                });
            }
        }
        (self.problems.len() == problems_before).then_some(step)
    }

    fn period(&mut self, value: &Value<'t>) -> Option<Duration> {
        let period = self.span(value)?;
        if period.is_zero() {
            self.problem(
                &value.span(),
                "\"every\" has to be more than 0; leave it out for a step that runs once",
            );
            return None;
        }
        Some(period)
    }

    fn part(&mut self, value: &Value<'t>) -> Option<Part<Action>> {
        let table = self.table(value)?;
        let mut part = Part {
            line: self.location(&value.span()).line,
            after: Duration::ZERO,
            jitter: Duration::ZERO,
            probability: 1.0,
            choices: Vec::new(),
        };
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "after" => part.after = self.span(value).unwrap_or_default(),
                "jitter" => part.jitter = self.span(value).unwrap_or_default(),
                "probability" => part.probability = self.probability(value).unwrap_or(1.0),
                _ => {}
            }
        }
        part.choices = self.choices(table, &value.span(), &PART_TIMES);
        Some(part)
    }

    /// Reports the keys that a sequence excludes, and unknown keys.
    fn reject_action_with(&mut self, table: &DeTable<'t>, sequence: &Key<'t>) {
        for key in table.keys() {
            let name = key.get_ref().as_ref();
            if super::action::KEYS.contains(&name) {
                self.only_one(&[sequence, key]);
            } else if !TIMES.contains(&name) {
                self.unknown(key, &TIMES);
            }
        }
    }
}
