//! A machine that the tasks of a runtime drive: each action, request and timer runs it to the current time.

use std::{
    io,
    os::fd::AsFd,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
    time::Duration,
};

use qmp_host::lock;
use qmp_server::Stats;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{Instant, timeout_at},
};

use crate::{config::MachineConfig, monitored::MonitoredMachine};

/// A time that no runtime waits for: thirty years, as in tokio.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// A machine on the clock of a runtime.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) monitored: MonitoredMachine,
    runtime: Handle,
    begin: Instant,
    /// Permits the task of [`run_timers`] to look for the next timer.
    changed: Notify,
    /// The tasks that wait for output of the monitor, or for the exit.
    waiting: Mutex<Vec<Waker>>,
    connections: AtomicU64,
    /// The error that ended the monitor.
    error: Mutex<Option<io::Error>>,
}

impl Driver {
    pub(super) fn start(config: MachineConfig) -> io::Result<Arc<Self>> {
        let driver = Arc::new(Self {
            monitored: MonitoredMachine::create(config)?,
            runtime: Handle::current(),
            begin: Instant::now(),
            changed: Notify::new(),
            waiting: Mutex::default(),
            connections: AtomicU64::new(0),
            error: Mutex::default(),
        });
        let weak = Arc::downgrade(&driver);
        driver.monitored.machine.set_update(move || {
            if let Some(driver) = weak.upgrade() {
                driver.update();
            }
        });
        driver.update();
        Ok(driver)
    }

    /// Runs the machine to the current time: timers, requests and events, each at its own time.
    pub(super) fn update(&self) {
        self.run_to_now();
        self.changed.notify_one();
    }

    /// Returns the number of a new connection, counted from 1.
    pub(super) fn next_connection(&self) -> u64 {
        1 + self.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// Registers a task that [`update`](Self::update) wakes, once.
    pub(super) fn register(&self, waker: &Waker) {
        let mut waiting = lock(&self.waiting);
        if !waiting.iter().any(|other| other.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }

    /// Closes the connections.
    pub(super) fn shut_down(&self) {
        lock(&self.monitored.monitor).shutdown();
        self.wake_waiting();
    }

    /// Returns the monitor's statistics.
    pub(super) fn stats(&self) -> Stats {
        self.monitored.stats()
    }

    /// Removes the error that ended the monitor, or that of scheduled calls that panicked.
    pub(super) fn take_error(&self) -> Option<io::Error> {
        lock(&self.error).take().or_else(|| self.monitored.machine.report_panics().err())
    }

    /// Returns the time since the start, on the clock of the runtime.
    pub(super) fn elapsed(&self) -> Duration {
        // A paused clock is visible only inside its runtime.
        let _inside = self.runtime.enter();
        self.begin.elapsed()
    }

    /// Returns the moment at this time since the start; one in the far future for a time that no clock reaches.
    pub(super) fn moment(&self, since_start: Duration) -> Instant {
        self.begin.checked_add(since_start).unwrap_or_else(|| self.begin + FAR)
    }

    fn run_to_now(&self) {
        if let Err(error) = self.monitored.advance_to(self.elapsed()) {
            lock(&self.error).get_or_insert(error);
            lock(&self.monitored.monitor).shutdown();
        }
        self.wake_waiting();
    }

    fn wake_waiting(&self) {
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Returns when the machine has work next; `None` if only a client or an action can cause work.
    fn next_work(&self) -> Option<Instant> {
        let MonitoredMachine { machine, monitor } = &self.monitored;
        if machine.exited().is_some() {
            return None;
        }
        let monitor = lock(monitor);
        // A client's input is read in pieces.
        let has_input = poll(&mut [PollFd::new(&monitor.as_fd(), PollFlags::IN)], Some(&Timespec::default()));
        let step = match has_input {
            Ok(1..) => Duration::ZERO,
            _ => self.monitored.time_to_work(&monitor)?,
        };
        Some(self.moment(machine.clock().now().saturating_add(step)))
    }
}

/// Runs a machine at each time at which it has work, until it is dropped.
pub(super) async fn run_timers(driver: Weak<Driver>) {
    loop {
        let Some(strong) = driver.upgrade() else { return };
        strong.run_to_now();
        match strong.next_work() {
            // After the time or the change, the next turn looks again.
            Some(at) => _ = timeout_at(at, strong.changed.notified()).await,
            None => strong.changed.notified().await,
        }
    }
}
