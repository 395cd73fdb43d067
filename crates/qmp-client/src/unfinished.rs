//! Limits of unfinished messages: the time of each, and the memory of all together.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use qmp_host::{Budget, Share};
use tokio::time::{Sleep, sleep};

use crate::close_reason::CloseReason;

/// How long a message may take from its first byte to its last. A reply of 300 kB (`query-qmp-schema`, the longest)
/// takes 40 s over a line of 64 kbit/s.
pub(crate) const MESSAGE_TIMEOUT: Duration = Duration::from_secs(120);

/// Memory of all unfinished messages of a process, in bytes: room for two of the longest that are accepted.
pub(crate) const UNFINISHED_MAX_BYTES: usize = 256 << 20;

/// The budget of this process.
pub(crate) fn process_budget() -> Arc<Budget> {
    static BUDGET: LazyLock<Arc<Budget>> = LazyLock::new(|| Arc::new(Budget::new(UNFINISHED_MAX_BYTES)));
    Arc::clone(&BUDGET)
}

/// The message that one connection has read in part.
#[derive(Debug)]
pub(crate) struct UnfinishedMessage {
    memory: Share,
    timer: Pin<Box<Sleep>>,
    timeout: Duration,
}

/// Enforces the limits for the unfinished messages of one connection.
#[derive(Clone, Debug)]
pub(crate) struct MessageGuard {
    budget: Arc<Budget>,
    timeout: Duration,
}

impl MessageGuard {
    pub(crate) fn new(budget: &Arc<Budget>, timeout: Duration) -> Self {
        Self { budget: Arc::clone(budget), timeout }
    }

    /// Checks the message that uses `bytes` of memory; `unfinished` is its state between two checks.
    ///
    /// # Errors
    ///
    /// [`CloseReason::Unfinished`] and [`CloseReason::NoMemory`].
    pub(crate) fn check(
        &self,
        unfinished: &mut Option<Box<UnfinishedMessage>>,
        bytes: usize,
        cx: &mut Context<'_>,
    ) -> Result<(), CloseReason> {
        if bytes == 0 {
            *unfinished = None;
            return Ok(());
        }
        let no_memory = || CloseReason::NoMemory { limit_bytes: self.budget.max() };
        let message = match unfinished {
            Some(message) => message,
            None => unfinished.insert(Box::new(UnfinishedMessage {
                memory: self.budget.take(0).ok_or_else(no_memory)?,
                timer: Box::pin(sleep(self.timeout)),
                timeout: self.timeout,
            })),
        };
        if !message.memory.set(bytes) {
            return Err(no_memory());
        }
        match message.timer.as_mut().poll(cx) {
            Poll::Ready(()) => Err(CloseReason::Unfinished { waited: message.timeout }),
            Poll::Pending => Ok(()),
        }
    }
}
