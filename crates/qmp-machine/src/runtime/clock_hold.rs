//! Keeps a paused clock of tokio where it is.

use std::sync::mpsc;

/// Keeps tokio's paused clock from advancing by itself, until it is dropped.
///
/// With `start_paused`, tokio advances the clock to the next timer whenever all tasks wait. It counts a task that waits
/// for a socket or a thread as one that waits, so that every timeout of a client elapses before another thread can
/// reply. While blocking work is under way it does not advance the clock: this is blocking work that ends with the
/// value. `tokio::time::advance` works as ever.
#[derive(Debug)]
pub struct ClockHold {
    _end: mpsc::Sender<()>,
}

impl ClockHold {
    /// Holds the clock of the current runtime.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it has an effect, and needs a runtime")]
    pub fn new() -> Self {
        let (_end, ended) = mpsc::channel::<()>();
        // Returns when the sender is dropped.
        tokio::task::spawn_blocking(move || ended.recv());
        Self { _end }
    }
}
