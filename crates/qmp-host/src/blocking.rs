//! Runs blocking disk work outside of the runtime's tasks.

use tokio::task::JoinHandle;

/// Blocking work in progress on a thread for such work. Dropping it does not end the work.
#[derive(Debug)]
pub struct BlockingTask<T>(JoinHandle<T>);

/// Runs blocking work on a thread for such work.
///
/// Must be called in a tokio runtime.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    BlockingTask::spawn(work).join().await
}

impl<T: Send + 'static> BlockingTask<T> {
    /// Begins the work. Must be called in a tokio runtime.
    pub fn spawn(work: impl FnOnce() -> T + Send + 'static) -> Self {
        Self(tokio::task::spawn_blocking(work))
    }

    /// Whether the work is done: [`join`](Self::join) returns at once.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// Waits for the result.
    ///
    /// # Panics
    ///
    /// If the work has panicked, with its panic.
    pub async fn join(self) -> T {
        match self.0.await {
            Ok(value) => value,
            // The work is never aborted, so it panicked: pass the panic on to the caller.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}
