//! Threads that wait until a listener has accepted a client.

use std::{
    collections::BTreeMap,
    io,
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use qmp_host::lock;

use crate::caller::ListenerId;

/// The listeners of a monitor, and whether each has accepted a client.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    accepted: Mutex<BTreeMap<ListenerId, bool>>,
    changed: Condvar,
}

impl Arrivals {
    /// Adds a listener.
    pub(crate) fn add(&self, id: ListenerId) {
        lock(&self.accepted).insert(id, false);
    }

    /// Removes a listener: threads that wait for its first client get an error.
    pub(crate) fn remove(&self, id: ListenerId) {
        lock(&self.accepted).remove(&id);
        self.changed.notify_all();
    }

    /// Removes all listeners.
    pub(crate) fn clear(&self) {
        lock(&self.accepted).clear();
        self.changed.notify_all();
    }

    /// Records that a listener has accepted a client, which the embedder did not refuse.
    pub(crate) fn record(&self, id: ListenerId) {
        if lock(&self.accepted).insert(id, true) == Some(false) {
            self.changed.notify_all();
        }
    }

    /// Returns whether a listener has accepted a client.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if it was removed.
    pub(crate) fn has_client(&self, id: ListenerId) -> io::Result<bool> {
        lock(&self.accepted).get(&id).copied().ok_or_else(removed)
    }

    /// Waits until a listener has accepted a client.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if it was removed, [`io::ErrorKind::TimedOut`] after `timeout`.
    pub(crate) fn wait(&self, id: ListenerId, timeout: Option<Duration>) -> io::Result<()> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut accepted = lock(&self.accepted);
        loop {
            if *accepted.get(&id).ok_or_else(removed)? {
                return Ok(());
            }
            accepted = match deadline {
                None => self.changed.wait(accepted).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.checked_duration_since(Instant::now()).ok_or_else(timed_out)?;
                    let waited = self.changed.wait_timeout(accepted, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

fn removed() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the listener was removed, or the monitor has ended")
}

/// Returns the error of a wait that took too long.
pub(crate) fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no client has connected")
}
