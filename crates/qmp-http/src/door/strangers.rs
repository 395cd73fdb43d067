//! Connections that did not say who they are yet.
//!
//! Anybody can make those, so they are few and short: when there is one too many, the oldest goes. An honest client
//! has shown its token within some round trips, and is no stranger by then; one that never does holds nothing up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a connection may take from its first byte to its first request that is let in. A handshake over a
/// satellite takes two seconds.
const STRANGER_MAX: Duration = Duration::from_secs(10);

/// Connections of strangers at a time at one door. A handshake costs a millisecond, so a host that lets in as many
/// within the round trip of an honest client has other troubles; each holds some 50 kB.
const STRANGERS_MAX: usize = 256;

/// The strangers at one door.
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

/// One of them, until it is let in or this is dropped.
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
    /// At most `max` at a time.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, present: Mutex::default() }
    }

    /// One more; the oldest is sent away if there is one too many.
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
        // Each change is one call on the map, so it is sound even if a thread died while it held the lock.
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stranger {
    /// It is known by now.
    pub(crate) fn let_in(&self) {
        self.among.lock().by_age.remove(&self.number);
    }

    /// Waits until it is one too many, or one for too long; for ever if it was let in.
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

    /// The clock stands still but for who waits on it alone, so this takes no time.
    #[tokio::test(start_paused = true)]
    async fn the_oldest_makes_room_and_nobody_stays_for_ever() {
        let strangers = Arc::new(Strangers::default());
        let first = strangers.enter();
        let known = strangers.enter();
        known.let_in();
        let others: Vec<_> = (1..STRANGERS_MAX).map(|_| strangers.enter()).collect();
        assert!(first.sent_away().now_or_never().is_none(), "there is room for so many");
        let last = strangers.enter();
        assert!(first.sent_away().now_or_never().is_some());
        drop(others);
        let _more: Vec<_> = (1..STRANGERS_MAX).map(|_| strangers.enter()).collect();
        assert!(last.sent_away().now_or_never().is_none(), "those that left count no more");
        let began = Instant::now();
        last.sent_away().await;
        assert_eq!(began.elapsed(), STRANGER_MAX);
        let for_ever = tokio::time::timeout(10 * STRANGER_MAX, known.sent_away()).await;
        assert!(for_ever.is_err(), "whoever was let in stays");
    }
}
