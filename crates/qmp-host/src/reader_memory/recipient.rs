//! A client that is given text, and may leave it unread.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::READER_STALL_MAX;
use crate::lock::lock;

/// A client: how much of its text it has not taken, and since when it takes nothing. One that takes nothing for
/// [`READER_STALL_MAX`] while memory is short is evicted: its connection is to be closed.
#[derive(Debug, Default)]
pub struct Recipient {
    state: Mutex<State>,
    taken: Notify,
    evicted: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Texts that were lent and not given back.
    lent: usize,
    /// When it last took something; `None` while there is nothing for it to take.
    since: Option<Instant>,
    is_evicted: bool,
}

/// A text in the hands of one client until it is dropped.
#[derive(Debug)]
pub struct LentText<T> {
    text: T,
    recipient: Arc<Recipient>,
}

impl Recipient {
    /// Lends a text, which the client has taken when it is dropped.
    pub fn lend<T>(self: &Arc<Self>, text: T) -> LentText<T> {
        let mut state = self.lock();
        state.lent += 1;
        state.since.get_or_insert_with(Instant::now);
        drop(state);
        LentText { text, recipient: Arc::clone(self) }
    }

    /// Notes that text waits for the client, or that it took some and whether there is more.
    pub fn note(&self, took: bool, has_more: bool) {
        let mut state = self.lock();
        if !has_more || took {
            state.since = None;
        }
        if has_more {
            state.since.get_or_insert_with(Instant::now);
        }
    }

    /// Waits until the client has taken all that was lent.
    pub async fn taken(&self) {
        while self.lock().lent > 0 {
            self.taken.notified().await;
        }
    }

    /// Waits until the client is evicted.
    pub async fn evicted(&self) {
        while !self.is_evicted() {
            self.evicted.notified().await;
        }
    }

    /// Whether it was evicted.
    #[must_use]
    pub fn is_evicted(&self) -> bool {
        self.lock().is_evicted
    }

    pub(super) fn is_stalled(&self, now: Instant) -> bool {
        self.lock().since.is_some_and(|since| now.saturating_duration_since(since) >= READER_STALL_MAX)
    }

    pub(super) fn evict(&self) {
        self.lock().is_evicted = true;
        self.evicted.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for LentText<T> {
    fn as_ref(&self) -> &[u8] {
        self.text.as_ref()
    }
}

impl<T> Drop for LentText<T> {
    fn drop(&mut self) {
        let mut state = self.recipient.lock();
        state.lent -= 1;
        state.since = (state.lent > 0).then(Instant::now);
        drop(state);
        self.recipient.taken.notify_one();
    }
}
