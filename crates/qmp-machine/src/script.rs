//! Scripts: timed actions on a machine.
//!
//! A script is a TOML file: settings of the machine, timed and repeated steps, and faults of its connection. Random
//! decisions come from a seed: the same script and seed give the same bytes. `docs/scripts.md` is the manual.
//!
//! ```
//! use qmp_machine::script::Script;
//!
//! let script = Script::parse("watchdog.toml", r#"
//!     summary = "A guest that hangs every minute"
//!     [[step]]
//!     every = "1min"
//!     jitter = "10s"
//!     guest = "watchdog"
//! "#)?;
//! let mut timeline = script.timeline(7);
//! let first = timeline.take().unwrap();
//! assert_eq!(&*first.action.execute, "x-guest-watchdog");
//! # Ok::<(), qmp_machine::script::ScriptError>(())
//! ```
//!
//! - [`Script::parse`] reads strictly: all problems are reported at once, each with its line.
//! - [`Timeline`] returns the actions and when they are due; time is an argument.
//! - [`Player`] plays a script on a machine, by the clock of the host or by a virtual one.
//! - [`Emulation`] is a machine with its script, faults and sockets on its own thread, restarted after its exit.
//! - [`bundled`] contains the scripts that come with the program.

pub mod bundled;
mod emulation;
mod player;
mod random;
mod read;
mod settings;
mod span;
mod timeline;

use std::time::Duration;

pub use emulation::{Emulation, EmulationConfig, EmulationEvent};
pub use player::{Player, RefusedAction};
pub(crate) use random::Random;
pub use read::{Problem, ScriptError};
pub use settings::{MachineSettings, release};
pub use timeline::{DueAction, Timeline};

use crate::{Action, fault::Faults};

/// A script that was parsed without problems.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// What the script shows, in a sentence.
    pub summary: Option<Box<str>>,
    /// Default seed of its random decisions.
    pub seed: u64,
    /// Speed factor relative to the written times; 1 by default.
    pub speed: f64,
    /// Time from the machine's exit to its restart; `None` for no restart.
    pub restart: Option<Duration>,
    /// The required machine.
    pub machine: MachineSettings,
    /// The faults between the machine and its clients.
    pub faults: Vec<crate::fault::Fault>,
    steps: Vec<Step<Action>>,
}

/// A sequence of actions that runs once or repeatedly.
#[derive(Clone, Debug, PartialEq)]
struct Step<A> {
    /// Time of the first run, counted from the beginning.
    at: Duration,
    /// Time from the beginning of one run to the beginning of the next.
    every: Option<Duration>,
    /// Number of runs; `None` for one, or for no limit if `every` is set.
    times: Option<u64>,
    /// Maximum random delay, drawn for each run.
    jitter: Duration,
    /// Probability of a run, drawn for each.
    probability: f64,
    /// The actions, in order; never empty.
    parts: Vec<Part<A>>,
}

/// One action of a step.
#[derive(Clone, Debug, PartialEq)]
struct Part<A> {
    line: usize,
    /// Delay after the previous part.
    after: Duration,
    jitter: Duration,
    probability: f64,
    /// The alternatives, one of which is drawn; never empty.
    choices: Vec<A>,
}

impl Script {
    /// Parses `text`, read from the file (or bundled under the name) `source`.
    ///
    /// # Errors
    ///
    /// [`ScriptError`] contains all problems, each with its line.
    pub fn parse(source: &str, text: &str) -> Result<Self, ScriptError> {
        read::script(source, text)
    }

    /// Returns the timeline with random decisions from that seed.
    #[must_use]
    pub fn timeline(&self, seed: u64) -> Timeline<Action> {
        Timeline::new(&self.steps, seed)
    }

    /// Returns the faults of the connection with random decisions from that seed.
    #[must_use]
    pub fn faults(&self, seed: u64) -> Faults {
        Faults { seed, rules: self.faults.clone() }
    }

    /// Iterates over every action that may happen, in the order of the script.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.steps.iter().flat_map(|step| &step.parts).flat_map(|part| &part.choices)
    }
}
