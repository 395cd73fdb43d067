//! A machine with its monitor, on a thread of its own.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use qmp_server::{Address, Listener, Monitor, Stats, Validation};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{
    config::MachineConfig,
    fault::{FaultProxy, Faults},
    machine::Machine,
};

/// A running machine. It ends when this is dropped, as a process that is killed: its clients see the end of the stream.
#[derive(Debug)]
pub struct Running {
    machine: Machine,
    monitor: Arc<Mutex<Monitor>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
    private: Mutex<Option<PathBuf>>,
    proxies: Mutex<Vec<FaultProxy>>,
}

impl Running {
    pub(crate) fn start(config: MachineConfig) -> io::Result<Self> {
        let (major, minor, micro) = config.release;
        let mut builder = Monitor::builder(major, minor, micro)
            .package(&config.package)
            .uuid(&config.uuid)
            // Which events the release has, the machine knows; `x-emit` is for all others.
            .any_event(true)
            // Captures are replayed and events emitted as they are, right or wrong.
            .validation(Validation::Off)
            .lose_held_at_shutdown(true);
        if let Some(name) = &config.name {
            builder = builder.name(name);
        }
        let (machine, entries) = Machine::make(config)?;
        builder = builder.clock(machine.clock().clone());
        for entry in entries {
            let machine = machine.clone();
            builder = builder.command(entry.command().hand_over(move |pending| machine.serve(pending)));
        }
        let monitor = builder.build()?;
        machine.speak_to(monitor.emitter());
        let descriptor = monitor.as_fd().try_clone_to_owned()?;
        let monitor = Arc::new(Mutex::new(monitor));
        let stop = Arc::new(AtomicBool::new(false));
        let serving = Serving {
            machine: machine.clone(),
            monitor: Arc::clone(&monitor),
            stop: Arc::clone(&stop),
            descriptor,
        };
        let thread = thread::Builder::new().name("machine".into()).spawn(move || serving.run())?;
        // What is due at the start, such as what the devices of the configuration have to say, is done.
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

    /// The machine itself.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Serves clients that connect to `listener`.
    ///
    /// # Errors
    ///
    /// That of the system if the socket cannot be watched.
    pub fn listen(&self, listener: impl Into<Listener>) -> io::Result<()> {
        lock(&self.monitor).listen(listener).map(drop)
    }

    /// An address to connect to: a unix socket in a directory of its own, made at the first call.
    ///
    /// # Errors
    ///
    /// That of the system if the directory or the socket cannot be made.
    pub fn address(&self) -> io::Result<Address> {
        let directory = self.private_directory()?;
        let path = directory.join("monitor");
        if !path.exists() {
            self.listen(Listener::unix(&path)?)?;
        }
        Ok(Address::Unix { path, listen: false })
    }

    /// As [`address`](Self::address), with `faults` between the machine and those that connect there. Each call makes a socket
    /// of its own.
    ///
    /// The faults are timed by the host's clock, also when the machine's is virtual.
    ///
    /// # Errors
    ///
    /// That of the system if the directory, the socket or a thread cannot be made.
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
        static MADE: AtomicU64 = AtomicU64::new(0);
        let mut private = lock(&self.private);
        if let Some(directory) = &*private {
            return Ok(directory.clone());
        }
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("qmp-machine-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory)?;
        Ok(private.insert(directory).clone())
    }

    /// Connects to the monitor, by a socket that nobody else can reach.
    ///
    /// # Errors
    ///
    /// That of the system if the pair of sockets cannot be made.
    pub fn connect(&self) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        lock(&self.monitor).attach(theirs)?;
        Ok(ours)
    }

    /// Moves a virtual clock on, stopping at each moment at which something is due: timers of the machine, and windows of
    /// rate limits. All that happens by then is on its way to the clients when this returns.
    ///
    /// # Errors
    ///
    /// That of the system if the monitor cannot tell which sockets are ready.
    pub fn advance(&self, by: Duration) -> io::Result<()> {
        let advanced = self.advance_clock(by);
        if self.machine.exit_status().is_some() {
            // The machine's thread is to see it, and what woke it may have been taken here.
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
            let left = until.saturating_sub(clock.now());
            let timers = self.machine.next_deadline().map(|at| at.saturating_sub(clock.now()));
            let next = [timers, monitor.next_timeout()].into_iter().flatten().min();
            let is_last = next.is_none_or(|step| step > left);
            clock.advance(if is_last { left } else { next.unwrap_or_default() });
            // Windows of rate limits that close here close before what happens here.
            monitor.process()?;
            self.machine.run_due();
            if is_last && left.is_zero() {
                return monitor.process();
            }
        }
    }

    /// What the monitor did so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        lock(&self.monitor).stats()
    }

    /// Waits until the machine exited by itself.
    ///
    /// # Errors
    ///
    /// That which ended its thread.
    pub fn wait(mut self) -> io::Result<i32> {
        self.join()?;
        Ok(self.machine.exit_status().unwrap_or_default())
    }

    /// Ends the machine, as a process that is killed: no event, the end of the stream.
    ///
    /// # Errors
    ///
    /// That which ended its thread earlier.
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

impl Drop for Running {
    fn drop(&mut self) {
        // Whoever wants to know calls `stop`.
        let _ = self.end();
        if let Some(directory) = lock(&self.private).take() {
            // What is left of it does no harm.
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

/// The loop of a machine's thread.
struct Serving {
    machine: Machine,
    monitor: Arc<Mutex<Monitor>>,
    stop: Arc<AtomicBool>,
    descriptor: OwnedFd,
}

impl Serving {
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

    /// How long nothing happens by itself; on a virtual clock that is for ever.
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
