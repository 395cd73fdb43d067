//! Unauthenticated connections.
//!
//! Any peer can open these, so their number and duration are limited: one connection over the limit evicts the oldest.
//! A legitimate client sends its token within a few round trips and is removed from the set; a connection that never
//! authenticates blocks no other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use qmp_host::lock;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a connection may take from its first byte to its first authorized request. A handshake over a satellite
/// takes two seconds.
const UNAUTHENTICATED_MAX: Duration = Duration::from_secs(10);

/// Unauthenticated connections at one endpoint at a time. A handshake costs a millisecond, so a host that receives as
/// many within the round trip of a legitimate client is overloaded anyway; each holds some 50 kB.
const UNAUTHENTICATED_CONNECTIONS_MAX: usize = 256;

/// A limited set of connections, ordered by age.
#[derive(Debug)]
pub(crate) struct EvictionQueue {
    max: usize,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    by_age: BTreeMap<u64, Arc<Notify>>,
}

/// One connection of the set, until it is authenticated or the entry is dropped.
#[derive(Debug)]
pub(crate) struct EvictionEntry {
    queue: Arc<EvictionQueue>,
    number: u64,
    evicted: Arc<Notify>,
    deadline: Instant,
}

impl Default for EvictionQueue {
    fn default() -> Self {
        Self::new(UNAUTHENTICATED_CONNECTIONS_MAX)
    }
}

impl EvictionQueue {
    /// A set of at most `max` connections.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, entries: Mutex::default() }
    }

    /// Adds a connection; evicts the oldest if the set is over its limit.
    pub(crate) fn add(self: &Arc<Self>) -> EvictionEntry {
        let evicted = Arc::new(Notify::new());
        let mut entries = self.lock();
        let number = entries.next;
        entries.next += 1;
        entries.by_age.insert(number, Arc::clone(&evicted));
        if entries.by_age.len() > self.max
            && let Some((_, oldest)) = entries.by_age.pop_first()
        {
            oldest.notify_one();
        }
        drop(entries);
        EvictionEntry {
            queue: Arc::clone(self),
            number,
            evicted,
            deadline: Instant::now() + UNAUTHENTICATED_MAX,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        lock(&self.entries)
    }
}

impl EvictionEntry {
    /// Takes the connection out of the set: it is authenticated.
    pub(crate) fn release(&self) {
        self.queue.lock().by_age.remove(&self.number);
    }

    /// Waits until the connection is evicted, or its time is over; for ever once it is authenticated.
    pub(crate) async fn evicted(&self) {
        tokio::select! {
            () = self.evicted.notified() => {}
            () = tokio::time::sleep_until(self.deadline) => if self.is_released() {
                std::future::pending::<()>().await;
            },
        }
    }

    fn is_released(&self) -> bool {
        !self.queue.lock().by_age.contains_key(&self.number)
    }
}

impl Drop for EvictionEntry {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// The paused clock advances only while every task waits for it, so this takes no time.
    #[tokio::test(start_paused = true)]
    async fn connection_over_the_limit_evicts_the_oldest() {
        let queue = Arc::new(EvictionQueue::default());
        let first = queue.add();
        let released = queue.add();
        released.release();
        let others: Vec<_> = (1..UNAUTHENTICATED_CONNECTIONS_MAX).map(|_| queue.add()).collect();
        assert!(first.evicted().now_or_never().is_none(), "the limit is not exceeded");
        let last = queue.add();
        assert!(first.evicted().now_or_never().is_some());
        drop(others);
        let _more: Vec<_> = (1..UNAUTHENTICATED_CONNECTIONS_MAX).map(|_| queue.add()).collect();
        assert!(last.evicted().now_or_never().is_none(), "dropped connections do not count");
        let began = Instant::now();
        last.evicted().await;
        assert_eq!(began.elapsed(), UNAUTHENTICATED_MAX);
        let for_ever = tokio::time::timeout(10 * UNAUTHENTICATED_MAX, released.evicted()).await;
        assert!(for_ever.is_err(), "an authenticated connection is not evicted");
    }
}
