//! A machine with its monitor, on its own thread.

use std::{
    fs::DirBuilder,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{fs::DirBuilderExt, net::UnixStream},
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
use qmp_server::{Address, Listener, Monitor, Stats};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{
    config::MachineConfig,
    fault::{FaultProxy, Faults},
    machine::Machine,
    monitored::MonitoredMachine,
};

/// A running machine. Dropping it ends the machine like a killed process: its clients see the end of the stream.
#[derive(Debug)]
pub struct RunningMachine {
    monitored: MonitoredMachine,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
    private: Mutex<Option<PathBuf>>,
    proxies: Mutex<Vec<FaultProxy>>,
}

impl Machine {
    /// Starts a machine with a monitor in this process.
    ///
    /// # Errors
    ///
    /// A system error if no descriptor or thread is available; [`io::ErrorKind::InvalidInput`] with the machine's
    /// error if a device of the configuration cannot be created.
    pub fn start(config: MachineConfig) -> io::Result<RunningMachine> {
        RunningMachine::start(config)
    }
}

impl RunningMachine {
    fn start(config: MachineConfig) -> io::Result<Self> {
        let monitored = MonitoredMachine::create(config)?;
        let descriptor = lock(&monitored.monitor).as_fd().try_clone_to_owned()?;
        let stop = Arc::new(AtomicBool::new(false));
        let machine_loop = MachineLoop { monitored: monitored.clone(), stop: Arc::clone(&stop), descriptor };
        let thread = thread::Builder::new().name("machine".into()).spawn(move || machine_loop.run())?;
        // Run the work that is due at the start, such as the events of the configured devices.
        monitored.machine.run_due();
        Ok(Self {
            monitored,
            stop,
            thread: Some(thread),
            private: Mutex::default(),
            proxies: Mutex::default(),
        })
    }

    /// Returns the machine.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.monitored.machine
    }

    /// Serves clients that connect to `listener`.
    ///
    /// # Errors
    ///
    /// A system error if the socket cannot be watched.
    pub fn listen(&self, listener: impl Into<Listener>) -> io::Result<()> {
        lock(&self.monitored.monitor).listen(listener).map(drop)
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
        let monitored = self.monitored.clone();
        proxies.push(FaultProxy::start(Listener::unix(&path)?, faults, move || monitored.connect())?);
        Ok(Address::Unix { path, listen: false })
    }

    fn private_directory(&self) -> io::Result<PathBuf> {
        static CREATED: AtomicU64 = AtomicU64::new(0);
        let mut private = lock(&self.private);
        if let Some(directory) = &*private {
            return Ok(directory.clone());
        }
        loop {
            let number = CREATED.fetch_add(1, Ordering::Relaxed);
            let name = format!("qmp-machine-{}-{number}", std::process::id());
            let directory = std::env::temp_dir().join(name);
            match DirBuilder::new().mode(0o700).create(&directory) {
                Ok(()) => return Ok(private.insert(directory).clone()),
                // A killed process of the same number left it, with its sockets.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Connects to the monitor by a private pair of sockets.
    ///
    /// # Errors
    ///
    /// A system error if the pair of sockets cannot be created.
    pub fn connect(&self) -> io::Result<UnixStream> {
        self.monitored.connect()
    }

    /// Advances a virtual clock, and stops at each time at which work is due: timers of the machine, and windows of
    /// rate limits. All events up to the new time have been sent to the clients when this returns.
    ///
    /// # Errors
    ///
    /// A system error if the monitor cannot poll its sockets. [`io::ErrorKind::InvalidInput`] if the clock reached the end
    /// of its range, 2^40 seconds after the start, and if it is the host's, which only time advances. The panics of scheduled
    /// calls since the last report, in one error, after the clock has been advanced: see [`Machine::schedule`].
    pub fn advance(&self, by: Duration) -> io::Result<()> {
        if !self.machine().clock().is_virtual() {
            let text = "the machine's clock is the host's: only a virtual clock can be advanced";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let advanced = self.monitored.advance(by);
        if self.machine().exited().is_some() {
            // This call may have consumed the wakeup of the machine's thread.
            self.machine().wake();
        }
        advanced.and_then(|()| self.machine().report_panics())
    }

    /// Returns the monitor's statistics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.monitored.stats()
    }

    /// Waits until the machine exits by itself; returns its exit status.
    ///
    /// # Errors
    ///
    /// The error that ended its thread; the panics of scheduled calls: see [`Machine::schedule`].
    pub fn wait(mut self) -> io::Result<i32> {
        self.join()?;
        self.machine().report_panics()?;
        Ok(self.machine().exited().unwrap_or_default())
    }

    /// Kills the machine: no event, the end of the stream.
    ///
    /// # Errors
    ///
    /// The error that ended its thread earlier; the panics of scheduled calls: see [`Machine::schedule`].
    pub fn stop(mut self) -> io::Result<()> {
        self.end()?;
        self.machine().report_panics()
    }

    fn end(&mut self) -> io::Result<()> {
        self.stop.store(true, Ordering::SeqCst);
        self.machine().wake();
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
    monitored: MonitoredMachine,
    stop: Arc<AtomicBool>,
    descriptor: OwnedFd,
}

impl MachineLoop {
    fn run(self) -> io::Result<()> {
        loop {
            let MonitoredMachine { machine, monitor } = &self.monitored;
            let timeout = {
                let mut monitor = lock(monitor);
                if !machine.clock().is_virtual() {
                    machine.run_due();
                }
                monitor.process()?;
                if self.stop.load(Ordering::SeqCst) || machine.exited().is_some() {
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
        if self.monitored.machine.clock().is_virtual() {
            return monitor.next_timeout().filter(Duration::is_zero);
        }
        self.monitored.time_to_work(monitor)
    }

    fn wait(&self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut [PollFd::new(&self.descriptor, PollFlags::IN)], timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
