//! Waiting for a condition that nothing announces.

use std::time::{Duration, Instant};

/// How long a test waits before it fails: generous, for hosts that are busy.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The pause between two polls.
const POLL_EVERY: Duration = Duration::from_millis(5);

/// Polls until `poll` returns a value.
///
/// # Panics
///
/// When [`PATIENCE`] runs out.
pub fn wait_for<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = poll() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(POLL_EVERY);
    }
}

/// Polls until `poll` returns a value; other tasks run meanwhile.
///
/// # Panics
///
/// When [`PATIENCE`] runs out.
pub async fn poll_until<T>(what: &str, mut poll: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = poll().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(POLL_EVERY).await;
    }
}
