//! The machine as its users see it: actions from any thread.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    time::Duration,
};

use qmp_events::EventKind;
use qmp_host::lock;
use qmp_server::{Emitter, PendingCommand, Refusal, RunState};
use serde_json::Value;

use crate::{
    action::{Action, ActionError},
    clock::SharedClock,
    commands::Entry,
    config::MachineConfig,
    devices,
    event::printable,
    refusals::generic,
    scheduled::{self, UserValue},
    vm::Vm,
};

/// Events whose sources suppress repetitions by themselves, so that the monitor does not limit them.
const LIMIT_THEMSELVES: [EventKind; 3] =
    [EventKind::NicRxFilterChanged, EventKind::BlockWriteThreshold, EventKind::BlockImageCorrupted];

/// An emulated machine. Cheap to clone; all clones refer to one machine.
#[derive(Clone)]
pub struct Machine {
    shared: Arc<SharedState>,
}

struct SharedState {
    vm: Mutex<Vm>,
    clock: SharedClock,
    /// The emitter of its events, once it has a monitor.
    emitter: OnceLock<Emitter>,
    /// Commands that arrived after the exit; they get no reply.
    unsent: Mutex<Vec<PendingCommand>>,
    /// Brings the clock and the clients up to date, for a machine without a thread that does so.
    update: OnceLock<Update>,
}

/// Brings a machine's clock and clients up to date. Must not be called with the machine's lock held.
type Update = Box<dyn Fn() + Send + Sync>;

impl Machine {
    /// Creates the machine and the commands that its monitor registers.
    pub(crate) fn create(config: MachineConfig) -> io::Result<(Self, Vec<Entry>)> {
        let clock = SharedClock::new(config.clock);
        let mut vm = Vm::new(config);
        let release = vm.release;
        let entries: Vec<_> =
            devices::tables().into_iter().filter(|entry| entry.exists_in(release)).collect();
        for Action { execute, arguments } in vm.config.devices.clone() {
            let result = match devices::maker(&execute) {
                Some(run) => run(&mut vm, Value::Object(arguments)),
                None => Err(generic(format!("{execute} makes no device"))),
            };
            let invalid_input = |error: Refusal| {
                io::Error::new(io::ErrorKind::InvalidInput, format!("{execute}: {}", error.desc))
            };
            result.map_err(invalid_input)?;
        }
        vm.runs = Arc::new(entries.iter().map(|entry| (entry.name, entry.checked())).collect());
        // No client was connected when the initial devices were added.
        vm.take_raised();
        let shared = SharedState {
            vm: Mutex::new(vm),
            clock,
            emitter: OnceLock::new(),
            unsent: Mutex::default(),
            update: OnceLock::new(),
        };
        Ok((Self { shared: Arc::new(shared) }, entries))
    }

    /// Performs an action: a command, or an act of the guest or the host. Returns the value that a client would
    /// get.
    ///
    /// The immediate events have been emitted when this returns; later ones need the clock to advance.
    ///
    /// # Errors
    ///
    /// [`ActionError::Refused`] with the machine's error; [`ActionError::Unknown`] if no command has that name;
    /// [`ActionError::Exited`] after its end.
    pub fn perform(&self, action: &Action) -> Result<Value, ActionError> {
        self.update();
        let result = self.perform_now(action);
        self.update();
        result
    }

    fn perform_now(&self, action: &Action) -> Result<Value, ActionError> {
        let mut vm = self.lock();
        if let Some(status) = vm.exited {
            return Err(ActionError::Exited { status });
        }
        vm.now = vm.now.max(self.shared.clock.now());
        let result = vm.perform(action);
        self.catch_up(&mut vm);
        result
    }

    /// Schedules `then` for when `after` has passed on the machine's clock, such as a step of a script.
    ///
    /// Of two calls due at the same time, the one scheduled first runs first. After the exit no call runs.
    ///
    /// A panic in the call is caught: the machine goes on, [`Stats::panics`](crate::Stats::panics) counts it, and
    /// [`RunningMachine::advance`], [`wait`](crate::RunningMachine::wait) and [`stop`](crate::RunningMachine::stop), or
    /// `MemoryMachine::wait`, report it as their error. One error reports all panics since the last report: the text of the
    /// first, and the number of the others.
    ///
    /// The call runs under the locks of the machine and its monitor. Use only its argument: a captured handle of the same
    /// machine, such as a [`Machine`] or a [`RunningMachine`](crate::RunningMachine), waits for itself for ever.
    ///
    /// [`RunningMachine::advance`]: crate::RunningMachine::advance
    pub fn schedule(&self, after: Duration, then: impl FnOnce(&mut MachineAccess<'_>) + Send + 'static) {
        self.update();
        {
            let mut vm = self.lock();
            vm.now = vm.now.max(self.shared.clock.now());
            later(&mut vm, after, then);
            self.catch_up(&mut vm);
        }
        self.update();
    }

    /// Returns the time since the start, on the machine's clock.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.update();
        self.shared.clock.now()
    }

    /// Returns the run state.
    #[must_use]
    pub fn run_state(&self) -> RunState {
        self.update();
        self.lock().status.state
    }

    /// Returns the exit status; `None` while the machine runs.
    #[must_use]
    pub fn exit_status(&self) -> Option<i32> {
        self.update();
        self.exited()
    }

    /// Like [`exit_status`](Self::exit_status), at the last time that the clock showed.
    pub(crate) fn exited(&self) -> Option<i32> {
        self.lock().exited
    }

    /// Runs a client's command and replies to it. Events of the command precede the reply; events of its
    /// consequences follow it.
    pub(crate) fn serve(&self, pending: PendingCommand) {
        let mut vm = self.lock();
        if vm.exited.is_some() {
            lock(&self.shared.unsent).push(pending);
            return;
        }
        vm.now = vm.now.max(self.shared.clock.now());
        let arguments = serde_json::to_value(pending.arguments()).map_err(generic);
        let result = arguments.and_then(|arguments| vm.run(pending.name(), arguments));
        self.emit_raised(&mut vm);
        if vm.exited.is_some() {
            lock(&self.shared.unsent).push(pending);
        } else {
            pending.reply(result.map(|value| printable(&value)));
        }
        self.catch_up(&mut vm);
    }

    /// Runs the timers that are due.
    pub(crate) fn run_due(&self) {
        let mut vm = self.lock();
        self.catch_up(&mut vm);
    }

    /// Returns the time since the start at which the next timer is due.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.lock().next_deadline()
    }

    /// Returns the number of panics in scheduled calls.
    pub(crate) fn panics(&self) -> u64 {
        self.lock().panics.count
    }

    /// Returns the error that reports the panics in scheduled calls since the last report.
    ///
    /// # Errors
    ///
    /// The text of the first panic, and the number of the others.
    pub(crate) fn report_panics(&self) -> io::Result<()> {
        self.lock().panics.report().map_or(Ok(()), Err)
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        &self.shared.clock
    }

    /// Connects its events to a monitor.
    pub(crate) fn connect_emitter(&self, emitter: Emitter) {
        // Called once, when the machine is created.
        let _ = self.shared.emitter.set(emitter);
    }

    /// Sets the function that brings the clock and the clients up to date.
    #[cfg(feature = "tokio")]
    pub(crate) fn set_update(&self, update: impl Fn() + Send + Sync + 'static) {
        // Called once, when the machine is started.
        let _ = self.shared.update.set(Box::new(update));
    }

    fn update(&self) {
        if let Some(update) = self.shared.update.get() {
            update();
        }
    }

    /// Wakes the monitor's loop, if there is one.
    pub(crate) fn wake(&self) {
        if let Some(emitter) = self.shared.emitter.get() {
            emitter.wake();
        }
    }

    fn catch_up(&self, vm: &mut Vm) {
        let now = self.shared.clock.now();
        while vm.exited.is_none() && vm.run_due(now) {}
        vm.now = vm.now.max(now);
        self.emit_raised(vm);
        // The loop has to see a new deadline, or the end.
        self.wake();
    }

    fn emit_raised(&self, vm: &mut Vm) {
        for event in vm.take_raised() {
            let Some(emitter) = self.shared.emitter.get() else { continue };
            if let Some(kind) =
                EventKind::from_name(&event.name).filter(|kind| LIMIT_THEMSELVES.contains(kind))
            {
                emitter.arm(kind, None);
            }
            emitter.emit(&event);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vm> {
        lock(&self.shared.vm)
    }
}

/// Schedules a call of the user.
fn later(vm: &mut Vm, after: Duration, then: impl FnOnce(&mut MachineAccess<'_>) + Send + 'static) {
    let then = UserValue::new(then);
    vm.later(after, move |vm| {
        let then = then.into_inner();
        if let Err(payload) = scheduled::call(|| then(&mut MachineAccess { vm: &mut *vm })) {
            vm.panics.add(payload);
        }
    });
}

/// Access to the machine for a scheduled call.
#[derive(Debug)]
pub struct MachineAccess<'a> {
    vm: &'a mut Vm,
}

impl MachineAccess<'_> {
    /// Like [`Machine::perform`].
    ///
    /// # Errors
    ///
    /// [`ActionError::Refused`] with the machine's error.
    pub fn perform(&mut self, action: &Action) -> Result<Value, ActionError> {
        self.vm.perform(action)
    }

    /// Like [`Machine::schedule`].
    pub fn schedule(&mut self, after: Duration, then: impl FnOnce(&mut MachineAccess<'_>) + Send + 'static) {
        later(self.vm, after, then);
    }

    /// Returns the time since the start at which the call is due.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.vm.now
    }

    /// Returns the run state.
    #[must_use]
    pub fn run_state(&self) -> RunState {
        self.vm.status.state
    }
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Machine")
            .field("run_state", &self.lock().status.state)
            .finish_non_exhaustive()
    }
}
