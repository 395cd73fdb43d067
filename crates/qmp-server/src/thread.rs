//! A monitor on a thread of its own.

use std::{
    io,
    os::fd::OwnedFd,
    sync::Arc,
    thread::{self, JoinHandle},
};

use crate::{
    counters::Stats,
    emitter::{Emitter, Shared},
    listener::Listener,
    monitor::Monitor,
    queue::Order,
};

/// A monitor that runs on its own thread. Dropping it stops the monitor, as [`stop`](Self::stop) does.
#[derive(Debug)]
pub struct MonitorThread {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl MonitorThread {
    pub(crate) fn start(mut monitor: Monitor, shared: Arc<Shared>) -> io::Result<Self> {
        monitor.lingers = true;
        let thread = thread::Builder::new().name("qmp".into()).spawn(move || {
            while !monitor.is_stopped() {
                let timeout = monitor.next_timeout();
                monitor.turn(timeout)?;
            }
            monitor.shutdown();
            Ok(())
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// A handle by which any thread emits events.
    #[must_use]
    pub fn emitter(&self) -> Emitter {
        Emitter::new(Arc::clone(&self.shared))
    }

    /// Serves clients that connect to `listener`, too.
    pub fn listen(&self, listener: impl Into<Listener>) {
        self.shared.order(Order::Listen(listener.into()));
    }

    /// Serves a client that is connected already.
    pub fn attach(&self, stream: impl Into<OwnedFd>) {
        self.shared.order(Order::Attach(stream.into()));
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.emitter().stats()
    }

    /// Says what is left to say, closes everything and ends the thread: see [`Monitor::shutdown`].
    ///
    /// # Errors
    ///
    /// That which ended the thread earlier.
    pub fn stop(mut self) -> io::Result<()> {
        self.join()
    }

    fn join(&mut self) -> io::Result<()> {
        self.shared.order(Order::Stop);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => {
                Err(io::Error::other("the monitor's thread panicked in a command of the embedder"))
            }
            None => Ok(()),
        }
    }
}

impl Drop for MonitorThread {
    fn drop(&mut self) {
        // Whoever wants to know calls `stop`.
        let _ = self.join();
    }
}
