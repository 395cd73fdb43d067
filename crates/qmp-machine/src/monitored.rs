//! A machine and its monitor, without a thread and without a clock that moves by itself.

use std::{
    io,
    os::unix::net::UnixStream,
    sync::{Arc, Mutex},
    time::Duration,
};

use qmp_events::Release;
use qmp_host::lock;
use qmp_server::{Monitor, Stats, Validation};

use crate::{config::MachineConfig, machine::Machine};

/// A machine and its monitor. Cheap to clone; all clones refer to one machine.
#[derive(Clone, Debug)]
pub(crate) struct MonitoredMachine {
    pub(crate) machine: Machine,
    pub(crate) monitor: Arc<Mutex<Monitor>>,
}

impl MonitoredMachine {
    /// Creates the machine and connects it to its monitor.
    ///
    /// # Errors
    ///
    /// Those of [`Machine::start`].
    pub(crate) fn create(config: MachineConfig) -> io::Result<Self> {
        let Release { major, minor, micro } = config.release;
        let mut builder = Monitor::builder(major.into(), minor.into(), micro.unwrap_or(0).into())
            .package(&config.package)
            .uuid(&config.uuid)
            // The machine filters events by release; `x-emit` may send any event.
            .any_event(true)
            // Captures are replayed and events emitted unchanged, valid or not.
            .validation(Validation::Off)
            .lose_held_at_shutdown(true);
        if let Some(name) = &config.name {
            builder = builder.name(name);
        }
        let (machine, entries) = Machine::create(config)?;
        builder = builder.clock(machine.clock().clone());
        for entry in entries {
            let machine = machine.clone();
            builder = builder.command(entry.command().hand_over(move |pending| machine.serve(pending)));
        }
        let monitor = builder.build()?;
        machine.connect_emitter(monitor.emitter());
        Ok(Self { machine, monitor: Arc::new(Mutex::new(monitor)) })
    }

    /// Connects a client by a private pair of sockets; returns the client's end.
    ///
    /// # Errors
    ///
    /// A system error if the pair of sockets cannot be created.
    pub(crate) fn connect(&self) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        lock(&self.monitor).attach(theirs)?;
        Ok(ours)
    }

    /// Advances a virtual clock, and stops at each time at which work is due: timers of the machine, and windows of
    /// rate limits. All events up to the new time have been sent to the clients when this returns.
    ///
    /// # Errors
    ///
    /// A system error if the monitor cannot poll its sockets; [`io::ErrorKind::InvalidInput`] at the end of the clock's
    /// range.
    pub(crate) fn advance(&self, by: Duration) -> io::Result<()> {
        let until = self.machine.clock().now().saturating_add(by);
        self.advance_to(until)
    }

    /// Like [`advance`](Self::advance), to a time since the start; returns at once if it has passed.
    pub(crate) fn advance_to(&self, until: Duration) -> io::Result<()> {
        let clock = self.machine.clock();
        let mut monitor = lock(&self.monitor);
        loop {
            monitor.process()?;
            if self.machine.exited().is_some() {
                monitor.shutdown();
                return Ok(());
            }
            let remaining = until.saturating_sub(clock.now());
            let next = self.time_to_work(&monitor);
            let is_last = next.is_none_or(|step| step > remaining);
            let (step, before) = (if is_last { remaining } else { next.unwrap_or_default() }, clock.now());
            clock.advance(step);
            if !step.is_zero() && clock.now() == before {
                let text = "the clock of a machine ends 2^40 seconds after its start";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
            // Rate-limit windows that close at this time close before the machine's timers run.
            monitor.process()?;
            self.machine.run_due();
            if is_last && remaining.is_zero() {
                return monitor.process();
            }
        }
    }

    /// Returns the monitor's statistics, with the panics of scheduled calls.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = lock(&self.monitor).stats();
        stats.panics += self.machine.panics();
        stats
    }

    /// Returns the time until the next work; `None` if only a client or an action can cause work.
    pub(crate) fn time_to_work(&self, monitor: &Monitor) -> Option<Duration> {
        let now = self.machine.clock().now();
        let timers = self.machine.next_deadline().map(|at| at.saturating_sub(now));
        [timers, monitor.next_timeout()].into_iter().flatten().min()
    }
}
