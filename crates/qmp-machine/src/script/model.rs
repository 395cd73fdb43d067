//! A script that was parsed: its machine, its faults and its steps.

use std::time::Duration;

use super::settings::MachineSettings;
use crate::{
    action::Action,
    fault::{Fault, Faults},
};

/// A script that was parsed without problems.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// The purpose of the script, in a sentence.
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
    pub faults: Vec<Fault>,
    pub(super) steps: Vec<Step<Action>>,
}

/// A sequence of actions that runs once or repeatedly.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step<A> {
    /// Time of the first run, counted from the beginning.
    pub(super) at: Duration,
    /// Time from the beginning of one run to the beginning of the next.
    pub(super) every: Option<Duration>,
    /// Number of runs; `None` for one, or for no limit if `every` is set.
    pub(super) times: Option<u64>,
    /// Maximum random delay, drawn for each run.
    pub(super) jitter: Duration,
    /// Probability of a run, drawn for each.
    pub(super) probability: f64,
    /// The actions, in order; never empty.
    pub(super) parts: Vec<Part<A>>,
}

/// One action of a step.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part<A> {
    pub(super) line: usize,
    /// Delay after the previous part.
    pub(super) after: Duration,
    pub(super) jitter: Duration,
    pub(super) probability: f64,
    /// The alternatives, one of which is drawn; never empty.
    pub(super) choices: Vec<A>,
}

impl Script {
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
