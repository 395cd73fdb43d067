//! Work that waits for the disk, away from the tasks of the runtime.

use tokio::task::JoinHandle;

/// Runs what waits for the disk where it keeps nobody else waiting.
///
/// Must be called in a tokio runtime.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let task: JoinHandle<T> = tokio::task::spawn_blocking(work);
    match task.await {
        Ok(value) => value,
        // The work is never aborted, so it panicked: that is the panic of whoever asked for it.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
