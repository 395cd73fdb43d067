//! Scripts: what happens to a machine, and when.
//!
//! A script is a TOML file: settings of the machine, timed and repeated steps, and faults of its connection. Chance is
//! drawn from a seed, so that the same script and seed give the same bytes twice. `docs/scripts.md` is the manual.
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
//! - [`Script::parse`] reads strictly: everything that is wrong is told at once, each with its line.
//! - [`Timeline`] says what is due when; time is an argument.
//! - [`Player`] plays a script on a machine, by the clock of the host or by a virtual one.
//! - [`Emulation`] is a machine with its script, faults and sockets, started again when it ends, on a thread of its own.
//! - [`ready`] has the scripts that come with the program.

mod emulation;
mod player;
mod random;
mod read;
pub mod ready;
mod settings;
mod span;
mod timeline;

use std::time::Duration;

pub use emulation::{Emulation, EmulationConfig, Told};
pub use player::{Player, Refused};
pub(crate) use random::Random;
pub use read::{Problem, ScriptError};
pub use settings::{Settings, release};
pub use timeline::{Due, Timeline};

use crate::{Action, fault::Faults};

/// A script that was read: nothing in it is wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// What it shows, in a sentence.
    pub summary: Option<Box<str>>,
    /// Where its chance comes from when nobody names another seed.
    pub seed: u64,
    /// How many times as fast as written it is played; 1 by default.
    pub speed: f64,
    /// How long after its end the machine is started again; never with `None`.
    pub restart: Option<Duration>,
    /// The machine that it wants.
    pub machine: Settings,
    /// What goes wrong between the machine and its clients.
    pub faults: Vec<crate::fault::Fault>,
    steps: Vec<Step<Action>>,
}

/// A sequence of actions that happens once or again and again.
#[derive(Clone, Debug, PartialEq)]
struct Step<A> {
    /// When it happens first, counted from the beginning.
    at: Duration,
    /// How long after its beginning it begins again.
    every: Option<Duration>,
    /// How often it happens; with `None` once, or for ever if `every` is there.
    times: Option<u64>,
    /// Up to so much later, each time anew.
    jitter: Duration,
    /// Chance that it happens, each time anew.
    probability: f64,
    /// What happens, in order; never empty.
    parts: Vec<Part<A>>,
}

/// One action of a step.
#[derive(Clone, Debug, PartialEq)]
struct Part<A> {
    line: usize,
    /// So long after the one before it.
    after: Duration,
    jitter: Duration,
    probability: f64,
    /// One of these, by chance; never empty.
    choices: Vec<A>,
}

impl Script {
    /// Reads `text`, which came from the file (or has the name) `source`.
    ///
    /// # Errors
    ///
    /// [`ScriptError`] has everything that is wrong, each with its line.
    pub fn parse(source: &str, text: &str) -> Result<Self, ScriptError> {
        read::script(source, text)
    }

    /// What is due when, with chance from that seed.
    #[must_use]
    pub fn timeline(&self, seed: u64) -> Timeline<Action> {
        Timeline::new(&self.steps, seed)
    }

    /// The faults of the connection, with chance from that seed.
    #[must_use]
    pub fn faults(&self, seed: u64) -> Faults {
        Faults { seed, rules: self.faults.clone() }
    }

    /// Every action that may happen, in the order of the script.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.steps.iter().flat_map(|step| &step.parts).flat_map(|part| &part.choices)
    }
}
