//! Runs blocking disk work outside of the runtime's tasks.

use tokio::task::JoinHandle;

/// Runs blocking work on a thread for such work.
///
/// Must be called in a tokio runtime.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let task: JoinHandle<T> = tokio::task::spawn_blocking(work);
    match task.await {
        Ok(value) => value,
        // The work is never aborted, so it panicked: pass the panic on to the caller.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
