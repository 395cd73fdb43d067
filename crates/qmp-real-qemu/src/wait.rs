//! Waiting for a condition, up to a time limit.

use std::time::{Duration, Instant};

/// How long a scenario waits for what must come. Nothing takes that long but a failure.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Polling interval for conditions without a notification: a socket's file, the end of a process.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Asks again and again until there is an answer.
///
/// # Panics
///
/// When [`PATIENCE`] runs out.
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}
