//! A machine that lives through a script, at a socket, by the clock of the host.
//!
//! When the machine exits, its socket goes with it; a script with `restart` starts it again after a while, as whoever
//! supervises a QEMU does, with chance from the next seed.

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

use super::{Player, Refused, Script};
use crate::{Machine, MachineClock, MachineConfig, Running, fault::FaultProxy};

/// How long the exit of a machine stays unnoticed at most; its clients see it at once.
const EXIT_POLL: Duration = Duration::from_millis(50);

/// How long the last messages of a machine that exited may be delayed by faults before they are lost.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);

/// What is to be emulated.
#[derive(Clone, Debug)]
pub struct EmulationConfig {
    /// The machine; its clock is that of the host, whatever this says.
    pub machine: MachineConfig,
    /// What happens to it.
    pub script: Option<Script>,
    /// Where chance comes from, instead of from the seed of the script.
    pub seed: Option<u64>,
    /// How many times as fast as it says the script is played.
    pub factor: f64,
}

/// What an emulation tells of itself.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Told {
    /// The machine runs and can be connected to.
    Started,
    /// The machine refused an action of the script.
    Refused(Refused),
    /// The machine exited with this status.
    Exited {
        /// As a QEMU's process would.
        status: i32,
        /// In how long it is started again; `None` if it is not.
        restart_in: Option<Duration>,
    },
}

/// An emulation that runs. Dropping it ends it, as a process that is killed.
#[derive(Debug)]
pub struct Emulation {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<io::Result<i32>>>,
}

impl EmulationConfig {
    /// A machine to which nothing happens by itself.
    #[must_use]
    pub fn new(machine: MachineConfig) -> Self {
        Self { machine, script: None, seed: None, factor: 1.0 }
    }

    /// Starts the machine; `listen` makes its socket, each time that it is started.
    ///
    /// # Errors
    ///
    /// That of `listen`, and those of [`Machine::start`].
    pub fn start(
        mut self,
        listen: impl FnMut() -> io::Result<Listener> + Send + 'static,
        told: impl FnMut(Told) + Send + 'static,
    ) -> io::Result<Emulation> {
        self.machine.clock = MachineClock::Host;
        if let Some(script) = &self.script {
            script.machine.apply(&mut self.machine);
        }
        let (stop, stopped) = mpsc::channel();
        let mut lives = Lives { config: self, listen: Box::new(listen), told: Box::new(told), stopped };
        // The first start fails here, where somebody hears of it.
        let first = lives.start(0)?;
        let thread = thread::Builder::new().name("emulation".into()).spawn(move || lives.run(first))?;
        Ok(Emulation { stop: Some(stop), thread: Some(thread) })
    }
}

impl Emulation {
    /// Waits until the machine exited and is not started again, or another thread stopped it. Returns its last exit
    /// status, 0 if it was stopped.
    ///
    /// # Errors
    ///
    /// That of starting it again.
    pub fn wait(mut self) -> io::Result<i32> {
        self.join()
    }

    /// A handle that stops it from another thread. It stops by itself when all of these and the emulation are dropped.
    pub fn stopper(&self) -> impl Fn() + Send + 'static {
        let stop = self.stop.clone();
        move || {
            if let Some(stop) = &stop {
                // One that ended already needs no stop.
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
            // Whoever wants to know calls `wait`.
            let _ = self.join();
        }
    }
}

/// The lives of a machine, one after another.
struct Lives {
    config: EmulationConfig,
    listen: Box<dyn FnMut() -> io::Result<Listener> + Send>,
    told: Box<dyn FnMut(Told) + Send>,
    stopped: Receiver<()>,
}

/// One life.
struct Life {
    running: Arc<Running>,
    player: Option<Player>,
    begin: Instant,
    faults: Option<FaultProxy>,
}

impl Lives {
    fn run(&mut self, first: Life) -> io::Result<i32> {
        let mut life = first;
        for number in 1.. {
            let Some(status) = self.live(&mut life) else { return Ok(0) };
            if let Some(faults) = life.faults.take() {
                faults.finish(LAST_WORDS_MAX);
            }
            drop(life);
            let restart_in = self.config.script.as_ref().and_then(|script| script.restart);
            (self.told)(Told::Exited { status, restart_in });
            let Some(restart_in) = restart_in else { return Ok(status) };
            if self.stops_within(restart_in) {
                return Ok(0);
            }
            life = self.start(number)?;
        }
        Ok(0)
    }

    fn start(&mut self, number: u64) -> io::Result<Life> {
        let EmulationConfig { machine, script, seed, factor } = &self.config;
        let seed = seed.or(script.as_ref().map(|script| script.seed)).unwrap_or(machine.seed);
        let seed = seed.wrapping_add(number);
        let listener = (self.listen)()?;
        let running = Arc::new(Machine::start(MachineConfig { seed, ..machine.clone() })?);
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
        (self.told)(Told::Started);
        Ok(Life { running, player, begin: Instant::now(), faults })
    }

    /// Lives to the end; `None` if it is stopped before.
    fn live(&mut self, life: &mut Life) -> Option<i32> {
        let machine = life.running.machine().clone();
        loop {
            if let Some(player) = &mut life.player {
                let told = &mut self.told;
                player.perform_due(&machine, life.begin.elapsed(), |refused| told(Told::Refused(refused)));
            }
            if let Some(status) = machine.exit_status() {
                return Some(status);
            }
            let next = life.player.as_ref().and_then(Player::next_at);
            let wait = next.map_or(EXIT_POLL, |at| at.saturating_sub(life.begin.elapsed()).min(EXIT_POLL));
            if self.stops_within(wait) {
                return None;
            }
        }
    }

    fn stops_within(&self, span: Duration) -> bool {
        !matches!(self.stopped.recv_timeout(span), Err(RecvTimeoutError::Timeout))
    }
}
