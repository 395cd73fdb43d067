//! Parses a script, key by key, so that every problem has its line.

mod values;
mod action;
mod fault;
mod machine;
mod step;

use std::path::Path;

pub use qmp_settings::Problem;
use qmp_settings::one_a_line;

use self::values::{ScriptReader, Value};
use super::{model::Script, settings::MachineSettings};

/// The problems of a script: at least one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", one_a_line(.problems))]
pub struct ScriptError {
    /// The problems, ordered by line.
    pub problems: Vec<Problem>,
}

const KEYS: [&str; 7] = ["summary", "seed", "speed", "restart", "machine", "step", "fault"];

impl Script {
    /// Parses `text`, read from the file (or bundled under the name) `source`.
    ///
    /// # Errors
    ///
    /// [`ScriptError`] contains all problems, each with its line.
    pub fn parse(source: &str, text: &str) -> Result<Self, ScriptError> {
        let mut reading = ScriptReader::new(text, Path::new(source));
        let script = reading.script();
        let mut problems = reading.into_problems();
        if problems.is_empty() {
            return Ok(script);
        }
        problems.sort_by_key(|problem| problem.location.as_ref().map(|location| location.line));
        Err(ScriptError { problems })
    }
}

impl<'t> ScriptReader<'t> {
    fn script(&mut self) -> Script {
        let mut script = Script {
            summary: None,
            seed: 0,
            speed: 1.0,
            restart: None,
            machine: MachineSettings::default(),
            faults: Vec::new(),
            steps: Vec::new(),
        };
        let Some(table) = self.top() else { return script };
        for (key, value) in table.get_ref() {
            match key.get_ref().as_ref() {
                "summary" => script.summary = self.string(value).map(Box::from),
                "seed" => script.seed = self.whole(value).unwrap_or(0),
                "speed" => script.speed = self.speed(value),
                "restart" => script.restart = self.span(value),
                "machine" => script.machine = self.machine(value),
                "step" => script.steps = self.each(value, "step", Self::step),
                "fault" => script.faults = self.each(value, "fault", Self::fault),
                _ => self.unknown(key, &KEYS),
            }
        }
        script
    }

    fn speed(&mut self, value: &Value<'t>) -> f64 {
        match self.number(value) {
            Some(speed) if speed > 0.0 && speed.is_finite() => speed,
            Some(_) => {
                self.problem(&value.span(), "a speed has to be more than 0; 2 is twice as fast as written");
                1.0
            }
            None => 1.0,
        }
    }
}

#[cfg(test)]
mod tests;
