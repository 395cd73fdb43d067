//! The state of the machine: its run state, devices, timers and raised events.
//!
//! It holds no clock and no socket. The caller passes the time and takes the events.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use qmp_events::{EventKind, Release};
use qmp_server::{Refusal, RunState};
use serde_json::Value;

use crate::{
    action::{Action, ActionError},
    config::MachineConfig,
    devices::Devices,
    event::RaisedEvent,
    random::Random,
    scheduled::Panics,
    timers::{Timers, Work},
    transitions::Status,
};

/// The generator part of the machine itself among those that share the seed; scripts are numbered from 0.
const MACHINE_PART: u64 = u64::MAX;

/// The function of a command.
pub(crate) type Run = Arc<dyn Fn(&mut Vm, Value) -> Result<Value, Refusal> + Send + Sync>;

/// An emulated machine.
pub(crate) struct Vm {
    pub(crate) config: MachineConfig,
    pub(crate) release: Release,
    pub(crate) status: Status,
    pub(crate) devices: Devices,
    /// The exit status, once the process exited.
    pub(crate) exited: Option<i32>,
    /// Time since the machine was started.
    pub(crate) now: Duration,
    /// The functions of the release's commands.
    pub(crate) runs: Arc<BTreeMap<&'static str, Run>>,
    timers: Timers<Self>,
    /// The panics of scheduled calls.
    pub(crate) panics: Panics,
    raised: Vec<RaisedEvent>,
    /// The random generator for the numbers that the machine invents.
    pub(crate) random: Random,
}

impl Vm {
    pub(crate) fn new(config: MachineConfig) -> Self {
        let state = match (config.incoming, config.start_stopped) {
            (true, _) => RunState::Inmigrate,
            (false, true) => RunState::Prelaunch,
            (false, false) => RunState::Running,
        };
        Self {
            release: config.release,
            status: Status { state, policy: config.policy, asleep: false },
            devices: Devices::default(),
            exited: None,
            now: Duration::ZERO,
            runs: Arc::default(),
            timers: Timers::default(),
            panics: Panics::default(),
            raised: Vec::new(),
            random: Random::new(config.seed, MACHINE_PART),
            config,
        }
    }

    /// Raises an event of the catalogue, if the release has it; members that are `null` are left out.
    pub(crate) fn raise(&mut self, kind: EventKind, data: Value) {
        if kind.desc().exists_in(self.release) {
            self.raised.push(RaisedEvent::new(kind, data));
        }
    }

    /// Raises an event unchanged.
    pub(crate) fn raise_as_is(&mut self, event: RaisedEvent) {
        self.raised.push(event);
    }

    /// Removes the raised events and returns them.
    pub(crate) fn take_raised(&mut self) -> Vec<RaisedEvent> {
        std::mem::take(&mut self.raised)
    }

    /// Schedules work for when `after` has passed.
    pub(crate) fn later(&mut self, after: Duration, work: impl FnOnce(&mut Self) + Send + 'static) {
        let work: Work<Self> = Box::new(work);
        self.timers.enter(self.now.saturating_add(after), work);
    }

    /// Schedules work for after the reply to the current command.
    pub(crate) fn soon(&mut self, work: impl FnOnce(&mut Self) + Send + 'static) {
        self.later(Duration::ZERO, work);
    }

    /// Runs the first work that is due by `now`; `false` if there is none. The time of the machine is the work's
    /// time while it runs.
    pub(crate) fn run_due(&mut self, now: Duration) -> bool {
        let Some((at, work)) = self.timers.take_due(now) else { return false };
        self.now = self.now.max(at);
        work(self);
        true
    }

    /// Returns when the next work is due.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.timers.next_deadline()
    }

    /// Ends the machine and its timers.
    pub(crate) fn exit(&mut self, status: i32) {
        self.timers.clear();
        self.exited.get_or_insert(status);
    }

    /// Performs an action and returns the value that a client would get.
    ///
    /// # Errors
    ///
    /// The error that the client would get.
    pub(crate) fn perform(&mut self, action: &Action) -> Result<Value, ActionError> {
        let result = self.run(&action.execute, Value::Object(action.arguments.clone()));
        result.map_err(|refusal| {
            if self.runs.contains_key(&*action.execute) {
                return ActionError::Refused(refusal);
            }
            let names: Vec<_> = self.runs.keys().copied().collect();
            ActionError::Unknown {
                refusal,
                near: qmp_settings::suggest::nearest(&action.execute, names.iter().copied()),
            }
        })
    }

    /// Runs a command of the release.
    pub(crate) fn run(&mut self, name: &str, arguments: Value) -> Result<Value, Refusal> {
        let Some(run) = self.runs.get(name).map(Arc::clone) else {
            return Err(Refusal::command_not_found(format!("The command {name} has not been found")));
        };
        run(self, arguments)
    }
}

impl fmt::Debug for Vm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Vm")
            .field("status", &self.status)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}
