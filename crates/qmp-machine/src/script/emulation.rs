//! A machine that runs a script, at a socket, by the clock of the host.
//!
//! When the machine exits, its socket closes with it; a script with `restart` restarts the machine after a delay,
//! as a supervisor of QEMU does, with random decisions from the next seed.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use qmp_server::Listener;

use super::{
    model::Script,
    player::{Player, RefusedAction},
};
use crate::{
    clock::MachineClock, config::MachineConfig, fault::FaultProxy, machine::Machine, running::RunningMachine,
};

/// Maximum delay until the exit of a machine is noticed; its clients see it at once.
const EXIT_POLL: Duration = Duration::from_millis(50);

/// Maximum time that faults may delay the last messages of an exited machine before they are lost.
const LAST_MESSAGES_MAX: Duration = Duration::from_secs(2);

/// Configuration of an emulation.
#[derive(Clone, Debug)]
pub struct EmulationConfig {
    /// The machine; it uses the host's clock whatever `clock` is.
    pub machine: MachineConfig,
    /// The script.
    pub script: Option<Script>,
    /// Seed of the random decisions, in place of the script's.
    pub seed: Option<u64>,
    /// Speed factor relative to the script's own speed.
    pub factor: f64,
}

/// A report of an emulation.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum EmulationEvent {
    /// The machine runs and accepts connections.
    Started,
    /// The machine refused an action of the script.
    Refused(RefusedAction),
    /// The machine exited.
    Exited {
        /// The exit status, as of a QEMU process.
        status: i32,
        /// Time until the restart; `None` for no restart.
        restart_in: Option<Duration>,
    },
}

/// A running emulation. Dropping it ends the machine like a killed process.
#[derive(Debug)]
pub struct Emulation {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<io::Result<i32>>>,
}

impl EmulationConfig {
    /// Creates the configuration of a machine without a script.
    #[must_use]
    pub fn new(machine: MachineConfig) -> Self {
        Self { machine, script: None, seed: None, factor: 1.0 }
    }

    /// Starts the machine; `listen` creates its socket at each start, and `report` receives the reports.
    ///
    /// # Errors
    ///
    /// An error of `listen`, or an error of [`Machine::start`].
    pub fn start(
        mut self,
        listen: impl FnMut() -> io::Result<Listener> + Send + 'static,
        report: impl FnMut(EmulationEvent) + Send + 'static,
    ) -> io::Result<Emulation> {
        self.machine.clock = MachineClock::Host;
        if let Some(script) = &self.script {
            script.machine.apply(&mut self.machine);
        }
        let (stop, stopped) = mpsc::channel();
        let mut supervisor =
            Supervisor { config: self, listen: Box::new(listen), report: Box::new(report), stopped };
        // An error of the first start is returned here, to the caller.
        let first = supervisor.start(0)?;
        let thread = thread::Builder::new().name("emulation".into()).spawn(move || supervisor.run(first))?;
        Ok(Emulation { stop: Some(stop), thread: Some(thread) })
    }
}

impl Emulation {
    /// Waits until the machine exited without a restart, or another thread stopped it. Returns its last exit
    /// status, 0 if it was stopped.
    ///
    /// # Errors
    ///
    /// The error of a restart.
    pub fn wait(mut self) -> io::Result<i32> {
        self.join()
    }

    /// Returns a function that stops the emulation from another thread. The emulation also stops when it and all
    /// these functions are dropped.
    pub fn stopper(&self) -> impl Fn() + Send + 'static {
        let stop = self.stop.clone();
        move || {
            if let Some(stop) = &stop {
                // An emulation that has ended needs no stop.
                let _ = stop.send(());
            }
        }
    }

    fn join(&mut self) -> io::Result<i32> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("the thread of the emulation panicked")),
            None => Ok(0),
        }
    }
}

impl Drop for Emulation {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stopper()();
            // The result is reported by `wait`.
            let _ = self.join();
        }
    }
}

/// Runs the machine and restarts it.
struct Supervisor {
    config: EmulationConfig,
    listen: Box<dyn FnMut() -> io::Result<Listener> + Send>,
    report: Box<dyn FnMut(EmulationEvent) + Send>,
    stopped: Receiver<()>,
}

/// One run of the machine, from start to exit.
struct MachineRun {
    running: Arc<RunningMachine>,
    player: Option<Player>,
    begin: Instant,
    faults: Option<FaultProxy>,
}

impl Supervisor {
    fn run(&mut self, first: MachineRun) -> io::Result<i32> {
        let mut run = first;
        for number in 1.. {
            let Some(status) = self.run_to_exit(&mut run) else { return Ok(0) };
            if let Some(faults) = run.faults.take() {
                faults.finish(LAST_MESSAGES_MAX);
            }
            drop(run);
            let restart_in = self.config.script.as_ref().and_then(|script| script.restart);
            (self.report)(EmulationEvent::Exited { status, restart_in });
            let Some(restart_in) = restart_in else { return Ok(status) };
            if self.stops_within(restart_in) {
                return Ok(0);
            }
            run = self.start(number)?;
        }
        Ok(0)
    }

    fn start(&mut self, number: u64) -> io::Result<MachineRun> {
        let EmulationConfig { machine, script, seed, factor } = &self.config;
        let seed = seed.or(script.as_ref().map(|script| script.seed)).unwrap_or(machine.seed);
        let seed = seed.wrapping_add(number);
        let listener = (self.listen)()?;
        let running = Arc::new(Machine::start(machine.clone().with_seed(seed))?);
        let faults = script.as_ref().map(|script| script.faults(seed)).filter(|faults| !faults.is_empty());
        let faults = match faults {
            Some(faults) => {
                let machine = Arc::clone(&running);
                Some(FaultProxy::start(listener, faults, move || machine.connect())?)
            }
            None => {
                running.listen(listener)?;
                None
            }
        };
        let player = script.as_ref().map(|script| Player::new(script, seed, *factor));
        (self.report)(EmulationEvent::Started);
        Ok(MachineRun { running, player, begin: Instant::now(), faults })
    }

    /// Runs the script until the machine exits; returns `None` if it is stopped before.
    fn run_to_exit(&mut self, run: &mut MachineRun) -> Option<i32> {
        let machine = run.running.machine().clone();
        loop {
            if let Some(player) = &mut run.player {
                let report = &mut self.report;
                player.perform_due(&machine, run.begin.elapsed(), |refused| {
                    report(EmulationEvent::Refused(refused));
                });
            }
            if let Some(status) = machine.exit_status() {
                return Some(status);
            }
            let next = run.player.as_ref().and_then(Player::next_at);
            let wait = next.map_or(EXIT_POLL, |at| at.saturating_sub(run.begin.elapsed()).min(EXIT_POLL));
            if self.stops_within(wait) {
                return None;
            }
        }
    }

    fn stops_within(&self, span: Duration) -> bool {
        !matches!(self.stopped.recv_timeout(span), Err(RecvTimeoutError::Timeout))
    }
}
