//! A machine on the clock of a tokio runtime, with its clients in memory.

use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::Poll,
    time::{SystemTime, UNIX_EPOCH},
};

use qmp_server::Stats;
use tokio::task::AbortHandle;

use super::{
    driver::{Driver, run_timers},
    stream::MemoryStream,
};
use crate::{clock::MachineClock, config::MachineConfig, fault::Faults, machine::Machine};

/// A machine in memory, on the clock of the tokio runtime in which it was started. Dropping it ends the machine like a
/// killed process: its clients see the end of the stream.
///
/// Its clock advances with the runtime's, also if that is paused (`start_paused`). Its clients do not wait for a socket
/// or a thread but for the machine itself, so that a paused clock advances only when the machine and its clients have
/// nothing to do, and only to the next timer of either: a reply never comes too late for a timeout, and ten minutes of a
/// migration take no time. Each event has the time of its cause, to the microsecond.
///
/// ```
/// use std::time::Duration;
/// use qmp_machine::{Machine, MachineConfig};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let machine = Machine::start_in_memory(MachineConfig::default())?;
/// let (name, config) = ("unix:/in/memory".parse()?, qmp_client::ConnectConfig::default());
/// let (monitor, _events) = qmp_client::connect_stream(machine.connect()?, &name, &config).await?;
/// monitor.execute("system_powerdown", ()).await?;
/// assert_eq!(machine.wait().await?, 0);
/// // The guest took 120 ms to shut down.
/// assert_eq!(machine.machine().elapsed(), Duration::from_millis(120));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MemoryMachine {
    driver: Arc<Driver>,
    timers: AbortHandle,
}

impl Machine {
    /// Starts a machine with a monitor in memory, on the clock of the current tokio runtime.
    ///
    /// The time of the first event is that of [`MachineConfig::clock`]; from there on the runtime's clock counts.
    ///
    /// # Errors
    ///
    /// Those of [`Machine::start`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled.
    pub fn start_in_memory(mut config: MachineConfig) -> io::Result<MemoryMachine> {
        if config.clock == MachineClock::Host {
            // A host clock before 1970 has no meaningful form on the wire.
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            config.clock = MachineClock::Virtual(now);
        }
        let driver = Driver::start(config)?;
        let timers = tokio::spawn(run_timers(Arc::downgrade(&driver))).abort_handle();
        Ok(MemoryMachine { driver, timers })
    }
}

impl MemoryMachine {
    /// Returns the machine.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.driver.monitored.machine
    }

    /// Connects to the monitor.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::ConnectionRefused`] after the exit; a system error if no descriptor is available.
    pub fn connect(&self) -> io::Result<MemoryStream> {
        self.connect_with(&Faults::default())
    }

    /// Connects to the monitor, with `faults` between the machine and the client. The faults use the runtime's clock.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect).
    pub fn connect_with(&self, faults: &Faults) -> io::Result<MemoryStream> {
        if self.machine().exit_status().is_some() {
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "the machine exited"));
        }
        MemoryStream::connect(Arc::clone(&self.driver), faults)
    }

    /// Returns the monitor's statistics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.driver.stats()
    }

    /// Waits until the machine exits by itself; returns its exit status.
    ///
    /// # Errors
    ///
    /// The error that ended its monitor earlier; the panics of scheduled calls since the last
    /// report: see [`Machine::schedule`].
    pub async fn wait(&self) -> io::Result<i32> {
        poll_fn(|context| {
            self.driver.register(context.waker());
            match (self.driver.take_error(), self.driver.monitored.machine.exited()) {
                (Some(error), _) => Poll::Ready(Err(error)),
                (None, Some(status)) => Poll::Ready(Ok(status)),
                (None, None) => Poll::Pending,
            }
        })
        .await
    }
}

impl Drop for MemoryMachine {
    fn drop(&mut self) {
        self.timers.abort();
        self.driver.shut_down();
    }
}
