//! A machine with its monitor, on its own thread.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use qmp_host::lock;
use qmp_server::{Address, Listener, Monitor, Stats, Validation};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{
    config::MachineConfig,
    fault::{FaultProxy, Faults},
    machine::Machine,
};

/// A running machine. Dropping it ends the machine like a killed process: its clients see the end of the stream.
#[derive(Debug)]
pub struct RunningMachine {
    machine: Machine,
    monitor: Arc<Mutex<Monitor>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
    private: Mutex<Option<PathBuf>>,
    proxies: Mutex<Vec<FaultProxy>>,
}

impl RunningMachine {
    pub(crate) fn start(config: MachineConfig) -> io::Result<Self> {
        let (major, minor, micro) = config.release;
        let mut builder = Monitor::builder(major, minor, micro)
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
        let descriptor = monitor.as_fd().try_clone_to_owned()?;
        let monitor = Arc::new(Mutex::new(monitor));
        let stop = Arc::new(AtomicBool::new(false));
        let machine_loop = MachineLoop {
            machine: machine.clone(),
            monitor: Arc::clone(&monitor),
            stop: Arc::clone(&stop),
            descriptor,
        };
        let thread = thread::Builder::new().name("machine".into()).spawn(move || machine_loop.run())?;
        // Run the work that is due at the start, such as the events of the configured devices.
        machine.run_due();
        Ok(Self {
            machine,
            monitor,
            stop,
            thread: Some(thread),
            private: Mutex::default(),
            proxies: Mutex::default(),
        })
    }

    /// Returns the machine.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Serves clients that connect to `listener`.
    ///
    /// # Errors
    ///
    /// A system error if the socket cannot be watched.
    pub fn listen(&self, listener: impl Into<Listener>) -> io::Result<()> {
        lock(&self.monitor).listen(listener).map(drop)
    }

    /// Returns an address to connect to: a unix socket in a private directory, created by the first call.
    ///
    /// # Errors
    ///
    /// A system error if the directory or the socket cannot be created.
    pub fn address(&self) -> io::Result<Address> {
        let directory = self.private_directory()?;
        let path = directory.join("monitor");
        if !path.exists() {
            self.listen(Listener::unix(&path)?)?;
        }
        Ok(Address::Unix { path, listen: false })
    }

    /// Like [`address`](Self::address), with `faults` between the machine and its clients. Each call creates
    /// another socket.
    ///
    /// The faults use the host's clock, also when the machine's clock is virtual.
    ///
    /// # Errors
    ///
    /// A system error if the directory, the socket or a thread cannot be created.
    pub fn address_with(&self, faults: Faults) -> io::Result<Address> {
        let mut proxies = lock(&self.proxies);
        let path = self.private_directory()?.join(format!("faulty-{}", proxies.len()));
        let monitor = Arc::clone(&self.monitor);
        let dial = move || {
            let (ours, theirs) = UnixStream::pair()?;
            lock(&monitor).attach(theirs)?;
            Ok(ours)
        };
        proxies.push(FaultProxy::start(Listener::unix(&path)?, faults, dial)?);
        Ok(Address::Unix { path, listen: false })
    }

    fn private_directory(&self) -> io::Result<PathBuf> {
        static CREATED: AtomicU64 = AtomicU64::new(0);
        let mut private = lock(&self.private);
        if let Some(directory) = &*private {
            return Ok(directory.clone());
        }
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        let name = format!("qmp-machine-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory)?;
        Ok(private.insert(directory).clone())
    }

    /// Connects to the monitor by a private pair of sockets.
    ///
    /// # Errors
    ///
    /// A system error if the pair of sockets cannot be created.
    pub fn connect(&self) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        lock(&self.monitor).attach(theirs)?;
        Ok(ours)
    }

    /// Advances a virtual clock, and stops at each time at which work is due: timers of the machine, and windows of
    /// rate limits. All events up to the new time have been sent to the clients when this returns.
    ///
    /// # Errors
    ///
    /// A system error if the monitor cannot poll its sockets.
    pub fn advance(&self, by: Duration) -> io::Result<()> {
        let advanced = self.advance_clock(by);
        if self.machine.exit_status().is_some() {
            // This call may have consumed the wakeup of the machine's thread.
            self.machine.wake();
        }
        advanced
    }

    fn advance_clock(&self, by: Duration) -> io::Result<()> {
        let clock = self.machine.clock();
        let until = clock.now().saturating_add(by);
        let mut monitor = lock(&self.monitor);
        loop {
            monitor.process()?;
            if self.machine.exit_status().is_some() {
                monitor.shutdown();
                return Ok(());
            }
            let remaining = until.saturating_sub(clock.now());
            let timers = self.machine.next_deadline().map(|at| at.saturating_sub(clock.now()));
            let next = [timers, monitor.next_timeout()].into_iter().flatten().min();
            let is_last = next.is_none_or(|step| step > remaining);
            clock.advance(if is_last { remaining } else { next.unwrap_or_default() });
            // Rate-limit windows that close at this time close before the machine's timers run.
            monitor.process()?;
            self.machine.run_due();
            if is_last && remaining.is_zero() {
                return monitor.process();
            }
        }
    }

    /// Returns the monitor's statistics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        lock(&self.monitor).stats()
    }

    /// Waits until the machine exits by itself; returns its exit status.
    ///
    /// # Errors
    ///
    /// The error that ended its thread.
    pub fn wait(mut self) -> io::Result<i32> {
        self.join()?;
        Ok(self.machine.exit_status().unwrap_or_default())
    }

    /// Kills the machine: no event, the end of the stream.
    ///
    /// # Errors
    ///
    /// The error that ended its thread earlier.
    pub fn stop(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        self.stop.store(true, Ordering::SeqCst);
        self.machine.wake();
        self.join()
    }

    fn join(&mut self) -> io::Result<()> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("the machine's thread panicked")),
            None => Ok(()),
        }
    }
}

impl Drop for RunningMachine {
    fn drop(&mut self) {
        // The result is reported by `stop`.
        let _ = self.end();
        if let Some(directory) = lock(&self.private).take() {
            // Remaining files do no harm.
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

/// The loop of a machine's thread.
struct MachineLoop {
    machine: Machine,
    monitor: Arc<Mutex<Monitor>>,
    stop: Arc<AtomicBool>,
    descriptor: OwnedFd,
}

impl MachineLoop {
    fn run(self) -> io::Result<()> {
        loop {
            let timeout = {
                let mut monitor = lock(&self.monitor);
                if !self.machine.clock().is_virtual() {
                    self.machine.run_due();
                }
                monitor.process()?;
                if self.stop.load(Ordering::SeqCst) || self.machine.exit_status().is_some() {
                    monitor.shutdown();
                    return Ok(());
                }
                self.timeout(&monitor)
            };
            self.wait(timeout)?;
        }
    }

    /// Returns the time until the next work; `None`, forever, on a virtual clock.
    fn timeout(&self, monitor: &Monitor) -> Option<Duration> {
        let clock = self.machine.clock();
        let monitors = monitor.next_timeout();
        if clock.is_virtual() {
            return monitors.filter(Duration::is_zero);
        }
        let machines = self.machine.next_deadline().map(|at| at.saturating_sub(clock.now()));
        monitors.into_iter().chain(machines).min()
    }

    fn wait(&self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut [PollFd::new(&self.descriptor, PollFlags::IN)], timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
