//! Unauthenticated connections.
//!
//! Any peer can open these, so their number and duration are limited: one connection over the limit evicts the oldest.
//! A legitimate client sends its token within a few round trips and is removed from the set; a connection that never
//! authenticates blocks no other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a connection may take from its first byte to its first authorized request. A handshake over a satellite
/// takes two seconds.
const STRANGER_MAX: Duration = Duration::from_secs(10);

/// Unauthenticated connections at one endpoint at a time. A handshake costs a millisecond, so a host that receives as
/// many within the round trip of a legitimate client is overloaded anyway; each holds some 50 kB.
const STRANGERS_MAX: usize = 256;

/// A limited set of connections, ordered by age.
#[derive(Debug)]
pub(crate) struct Strangers {
    max: usize,
    present: Mutex<Present>,
}

#[derive(Debug, Default)]
struct Present {
    next: u64,
    by_age: BTreeMap<u64, Arc<Notify>>,
}

/// One connection of the set, until it is authenticated or this is dropped.
#[derive(Debug)]
pub(crate) struct Stranger {
    among: Arc<Strangers>,
    number: u64,
    sent_away: Arc<Notify>,
    until: Instant,
}

impl Default for Strangers {
    fn default() -> Self {
        Self::new(STRANGERS_MAX)
    }
}

impl Strangers {
    /// A set of at most `max` connections.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, present: Mutex::default() }
    }

    /// Adds a connection; evicts the oldest if the set is over its limit.
    pub(crate) fn enter(self: &Arc<Self>) -> Stranger {
        let sent_away = Arc::new(Notify::new());
        let mut present = self.lock();
        let number = present.next;
        present.next += 1;
        present.by_age.insert(number, Arc::clone(&sent_away));
        if present.by_age.len() > self.max
            && let Some((_, oldest)) = present.by_age.pop_first()
        {
            oldest.notify_one();
        }
        drop(present);
        Stranger { among: Arc::clone(self), number, sent_away, until: Instant::now() + STRANGER_MAX }
    }

    fn lock(&self) -> MutexGuard<'_, Present> {
        // Each change is one call on the map, so the map is consistent even if a thread panicked while it held the lock.
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stranger {
    /// Takes the connection out of the set: it is authenticated.
    pub(crate) fn let_in(&self) {
        self.among.lock().by_age.remove(&self.number);
    }

    /// Waits until the connection is evicted, or its time is over; for ever once it is authenticated.
    pub(crate) async fn sent_away(&self) {
        tokio::select! {
            () = self.sent_away.notified() => {}
            () = tokio::time::sleep_until(self.until) => if self.was_let_in() {
                std::future::pending::<()>().await;
            },
        }
    }

    fn was_let_in(&self) -> bool {
        !self.among.lock().by_age.contains_key(&self.number)
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.let_in();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// The paused clock advances only while every task waits for it, so this takes no time.
    #[tokio::test(start_paused = true)]
    async fn connection_over_the_limit_evicts_the_oldest() {
        let strangers = Arc::new(Strangers::default());
        let first = strangers.enter();
        let known = strangers.enter();
        known.let_in();
        let others: Vec<_> = (1..STRANGERS_MAX).map(|_| strangers.enter()).collect();
        assert!(first.sent_away().now_or_never().is_none(), "the limit is not exceeded");
        let last = strangers.enter();
        assert!(first.sent_away().now_or_never().is_some());
        drop(others);
        let _more: Vec<_> = (1..STRANGERS_MAX).map(|_| strangers.enter()).collect();
        assert!(last.sent_away().now_or_never().is_none(), "dropped connections do not count");
        let began = Instant::now();
        last.sent_away().await;
        assert_eq!(began.elapsed(), STRANGER_MAX);
        let for_ever = tokio::time::timeout(10 * STRANGER_MAX, known.sent_away()).await;
        assert!(for_ever.is_err(), "an authenticated connection is not evicted");
    }
}
