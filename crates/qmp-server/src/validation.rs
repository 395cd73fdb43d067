//! What the embedder sends, compared with what the claimed release says about it.

use std::fmt;

use qmp_wire::{dialect::Value, server::Refusal};

use crate::{
    check,
    counters::{Counters, add},
    types::Type,
};

/// What a monitor does about events and return values that their description does not allow.
///
/// Events of the catalogue are described by the claimed release, those of the embedder by
/// [`MonitorBuilder::event`](crate::MonitorBuilder::event), return values by [`Command::returns`](crate::Command::returns).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// Nothing: what the embedder sends goes out as it is.
    Off,
    /// Counts them in [`Stats::invalid`](crate::Stats::invalid) and sends them. The default of release builds. Events are
    /// looked at by the monitor's loop, and only while a client listens.
    Count,
    /// Does not send them: `emit` returns [`Emitted::Invalid`](crate::Emitted::Invalid), a client gets `GenericError` in
    /// place of a return value. They are counted, too. The default of builds with debug assertions.
    Refuse,
}

impl Default for Validation {
    fn default() -> Self {
        if cfg!(debug_assertions) { Self::Refuse } else { Self::Count }
    }
}

/// An event or a return value that its description does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOutput {
    /// An event.
    #[error("event {name}: {desc}")]
    Event {
        /// Its name.
        name: Box<str>,
        /// What is wrong with it.
        desc: Box<str>,
    },
    /// A return value.
    #[error("return value of {command}: {desc}")]
    ReturnValue {
        /// The command that returned it.
        command: Box<str>,
        /// What is wrong with it.
        desc: Box<str>,
    },
}

/// Is called with each invalid event and return value.
pub(crate) type Report = Box<dyn Fn(&InvalidOutput) + Send + Sync>;

/// What a monitor does about invalid output.
pub(crate) struct Policy {
    pub(crate) validation: Validation,
    pub(crate) report: Option<Report>,
}

impl Policy {
    /// Counts and reports invalid output.
    pub(crate) fn report(&self, invalid: &InvalidOutput, counters: &Counters) {
        add(&counters.invalid, 1);
        match (&self.report, self.validation) {
            (Some(report), _) => report(invalid),
            (None, Validation::Refuse) => eprintln!("qmp-server refuses to send: {invalid}"),
            (None, _) => {}
        }
    }

    /// Passes on the text of a return value, or the refusal that takes its place.
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
        let Err(desc) = check::check_value("return", &Value::read(&text), returns) else { return Ok(text) };
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
