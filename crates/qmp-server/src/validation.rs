//! Compares the embedder's output with the description of the claimed release.

use std::fmt;

use qmp_wire::{dialect::Value, server::Refusal};

use crate::{
    check,
    counters::{Counters, add},
    panics::{self, Hook},
    types::{ObjectType, Type},
};

/// The policy of a monitor for events and return values that violate their description.
///
/// Events of the catalogue are described by the claimed release, those of the embedder by
/// [`MonitorBuilder::event`](crate::MonitorBuilder::event), return values by
/// [`Command::returns`](crate::Command::returns).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Validation {
    /// Sends all output unchecked.
    Off,
    /// Counts violations in [`Stats::invalid`](crate::Stats::invalid) and sends the output. The default of release
    /// builds. The monitor's loop checks events, and only while a client listens.
    Count,
    /// Does not send violating output: `emit` returns [`EmitOutcome::Invalid`](crate::EmitOutcome::Invalid), a
    /// client gets `GenericError` in place of a return value. Violations are counted, too. The default of builds
    /// with debug assertions.
    Refuse,
}

impl Default for Validation {
    fn default() -> Self {
        if cfg!(debug_assertions) { Self::Refuse } else { Self::Count }
    }
}

/// An event or a return value that violates its description.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOutput {
    /// An event.
    #[error("event {name}: {desc}")]
    Event {
        /// Its name.
        name: Box<str>,
        /// The violation.
        desc: Box<str>,
    },
    /// A return value.
    #[error("return value of {command}: {desc}")]
    ReturnValue {
        /// The command that returned it.
        command: Box<str>,
        /// The violation.
        desc: Box<str>,
    },
}

/// Called with each invalid event and return value.
pub(crate) type Report = Hook<dyn Fn(&InvalidOutput) + Send + Sync>;

/// The policy for invalid output, with its report function.
pub(crate) struct Policy {
    pub(crate) validation: Validation,
    pub(crate) report: Option<Report>,
}

impl Policy {
    /// Counts and reports invalid output.
    pub(crate) fn report(&self, invalid: &InvalidOutput, counters: &Counters) {
        add(&counters.invalid, 1);
        match (&self.report, self.validation) {
            (Some(report), _) => {
                // A panic is counted, and has no other effect.
                let _ = panics::catch(counters, || report(invalid));
            }
            (None, Validation::Refuse) => eprintln!("qmp-server refuses to send: {invalid}"),
            (None, _) => {}
        }
    }

    /// Returns the text of a return value, or the refusal that replaces it.
    pub(crate) fn check_return(
        &self,
        command: &str,
        returns: &Type,
        text: Vec<u8>,
        counters: &Counters,
    ) -> Result<Vec<u8>, Refusal> {
        if self.validation == Validation::Off {
            return Ok(text);
        }
        let Err(mut desc) = check::check_value("return", &Value::read(&text), returns) else {
            return Ok(text);
        };
        if *returns == Type::Object(ObjectType::default()) {
            desc.push_str("; describe the value with `Command::returns`");
        }
        let invalid = InvalidOutput::ReturnValue { command: command.into(), desc: desc.into() };
        self.report(&invalid, counters);
        if self.validation == Validation::Refuse {
            return Err(Refusal::generic(format!("Invalid {invalid}")));
        }
        Ok(text)
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Policy").field("validation", &self.validation).finish_non_exhaustive()
    }
}
