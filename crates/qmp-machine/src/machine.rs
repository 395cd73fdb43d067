//! The machine as others see it: things are done to it, from any thread.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use qmp_events::EventKind;
use qmp_server::{CommandError, Emitter, PendingCommand, RunState};
use serde_json::Value;

use crate::{
    action::{Action, ActionError},
    clock::SharedClock,
    config::MachineConfig,
    devices,
    raised::printable,
    running::Running,
    table::{Entry, generic},
    vm::Vm,
};

/// Events whose sources fall silent after one. The parts of the machine know when; the monitor need not.
const LIMIT_THEMSELVES: [EventKind; 3] =
    [EventKind::NicRxFilterChanged, EventKind::BlockWriteThreshold, EventKind::BlockImageCorrupted];

/// An emulated machine. Cheap to clone; all clones are one machine.
#[derive(Clone)]
pub struct Machine {
    shared: Arc<Shared>,
}

struct Shared {
    vm: Mutex<Vm>,
    clock: SharedClock,
    /// Where its events go, once it has a monitor.
    emitter: OnceLock<Emitter>,
    /// Commands that came after the exit: nobody answers them.
    unanswered: Mutex<Vec<PendingCommand>>,
}

impl Machine {
    /// Starts a machine with a monitor in this process.
    ///
    /// # Errors
    ///
    /// That of the system if it has no descriptors or threads left; [`io::ErrorKind::InvalidInput`] if a device of the
    /// configuration cannot be made, with the machine's complaint.
    pub fn start(config: MachineConfig) -> io::Result<Running> {
        Running::start(config)
    }

    /// Makes the machine and what its monitor needs to know of it.
    pub(crate) fn make(config: MachineConfig) -> io::Result<(Self, Vec<Entry>)> {
        let clock = SharedClock::new(config.clock);
        let mut vm = Vm::new(config);
        let release = vm.release;
        let entries: Vec<_> =
            devices::tables().into_iter().filter(|entry| entry.exists_in(release)).collect();
        for Action { execute, arguments } in vm.config.devices.clone() {
            let made = match devices::maker(&execute) {
                Some(run) => run(&mut vm, Value::Object(arguments)),
                None => Err(generic(format!("{execute} makes no device"))),
            };
            let told = |error: CommandError| {
                io::Error::new(io::ErrorKind::InvalidInput, format!("{execute}: {}", error.desc))
            };
            made.map_err(told)?;
        }
        vm.runs = Arc::new(entries.iter().map(|entry| (entry.name, entry.checked())).collect());
        // Nobody was there to hear of the devices that the machine starts with.
        vm.take_raised();
        let shared =
            Shared { vm: Mutex::new(vm), clock, emitter: OnceLock::new(), unanswered: Mutex::default() };
        Ok((Self { shared: Arc::new(shared) }, entries))
    }

    /// Does something to the machine: a command, or what its guest or host does. Returns what a client would get.
    ///
    /// Events that follow at once are on their way when this returns; what takes time needs the clock to move on.
    ///
    /// # Errors
    ///
    /// [`ActionError::Refused`] with the machine's complaint; [`ActionError::Unknown`] if no command has that name;
    /// [`ActionError::Exited`] after its end.
    pub fn perform(&self, action: &Action) -> Result<Value, ActionError> {
        let mut vm = self.lock();
        if let Some(status) = vm.exited {
            return Err(ActionError::Exited { status });
        }
        vm.now = vm.now.max(self.shared.clock.now());
        let result = vm.perform(action);
        self.catch_up(&mut vm);
        result
    }

    /// Lets `then` do something to the machine when `after` has passed on its clock, such as a step of a script.
    ///
    /// What is entered first is done first when two things are due at one time. Nothing is done after the exit.
    pub fn schedule(&self, after: Duration, then: impl FnOnce(&mut Moment<'_>) + Send + 'static) {
        let mut vm = self.lock();
        vm.now = vm.now.max(self.shared.clock.now());
        vm.later(after, move |vm| then(&mut Moment { vm }));
        self.catch_up(&mut vm);
    }

    /// Time since the start, on the machine's clock.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.shared.clock.now()
    }

    /// What it is doing.
    #[must_use]
    pub fn run_state(&self) -> RunState {
        self.lock().status.state
    }

    /// The status with which it exited; `None` while it has not.
    #[must_use]
    pub fn exit_status(&self) -> Option<i32> {
        self.lock().exited
    }

    /// Runs a command of a client and answers it. Events that it raises stand before the answer, those of what it
    /// set off behind it.
    pub(crate) fn serve(&self, pending: PendingCommand) {
        let mut vm = self.lock();
        if vm.exited.is_some() {
            lock(&self.shared.unanswered).push(pending);
            return;
        }
        vm.now = vm.now.max(self.shared.clock.now());
        let arguments = serde_json::to_value(pending.arguments()).map_err(generic);
        let result = arguments.and_then(|arguments| vm.run(pending.name(), arguments));
        self.say(&mut vm);
        if vm.exited.is_some() {
            lock(&self.shared.unanswered).push(pending);
        } else {
            pending.answer(result.map(|value| printable(&value)));
        }
        self.catch_up(&mut vm);
    }

    /// Does what is due by now.
    pub(crate) fn run_due(&self) {
        let mut vm = self.lock();
        self.catch_up(&mut vm);
    }

    /// Time since the start at which something is due next.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.lock().next_deadline()
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        &self.shared.clock
    }

    /// Lets its events go to a monitor.
    pub(crate) fn speak_to(&self, emitter: Emitter) {
        // It is called once, by whoever made the machine.
        let _ = self.shared.emitter.set(emitter);
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
        self.say(vm);
        // The loop learns of a new deadline, or of the end.
        self.wake();
    }

    fn say(&self, vm: &mut Vm) {
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

/// A moment at which something scheduled is done: what can be done to the machine then.
#[derive(Debug)]
pub struct Moment<'a> {
    vm: &'a mut Vm,
}

impl Moment<'_> {
    /// As [`Machine::perform`].
    ///
    /// # Errors
    ///
    /// [`ActionError::Refused`] with the machine's complaint.
    pub fn perform(&mut self, action: &Action) -> Result<Value, ActionError> {
        self.vm.perform(action)
    }

    /// As [`Machine::schedule`].
    pub fn schedule(&mut self, after: Duration, then: impl FnOnce(&mut Moment<'_>) + Send + 'static) {
        self.vm.later(after, move |vm| then(&mut Moment { vm }));
    }

    /// Time since the start at which this is done.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.vm.now
    }

    /// What the machine is doing.
    #[must_use]
    pub fn run_state(&self) -> RunState {
        self.vm.status.state
    }
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Machine").field("run_state", &self.run_state()).finish_non_exhaustive()
    }
}

/// Locks, also after a panic elsewhere: the machine of a test that failed may still be asked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
