//! A message that has begun and not ended: how long that may take, and how much memory all of them have together.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use qmp_host::Share;
use tokio::time::{Sleep, sleep};

use crate::{Budget, ConnectConfig, Gone};

/// How long a message may take from its first byte to its last. A reply of 300 kB (`query-qmp-schema`, the longest)
/// takes 40 s over a line of 64 kbit/s.
pub(crate) const MESSAGE_TIMEOUT: Duration = Duration::from_secs(120);

/// Memory of all messages that have begun and not ended, of a process, in bytes. Two of the longest that are read fit
/// at a time.
pub(crate) const UNFINISHED_MAX_BYTES: usize = 256 << 20;

/// The budget of this process.
pub(crate) fn process_budget() -> Arc<Budget> {
    static BUDGET: LazyLock<Arc<Budget>> = LazyLock::new(|| Arc::new(Budget::new(UNFINISHED_MAX_BYTES)));
    Arc::clone(&BUDGET)
}

/// The message that one connection has read in part.
#[derive(Debug)]
pub(crate) struct Unfinished {
    memory: Share,
    timer: Pin<Box<Sleep>>,
    timeout: Duration,
}

/// How a connection watches its unfinished messages.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    budget: Arc<Budget>,
    timeout: Duration,
}

impl Watch {
    pub(crate) fn new(config: &ConnectConfig) -> Self {
        Self { budget: Arc::clone(&config.unfinished), timeout: config.message_timeout }
    }

    /// Looks at the message that has `bytes` of memory, and is known as `unfinished` if it was looked at before.
    ///
    /// # Errors
    ///
    /// [`Gone::Unfinished`] and [`Gone::NoMemory`].
    pub(crate) fn look(
        &self,
        unfinished: &mut Option<Box<Unfinished>>,
        bytes: usize,
        cx: &mut Context<'_>,
    ) -> Result<(), Gone> {
        if bytes == 0 {
            *unfinished = None;
            return Ok(());
        }
        let no_memory = || Gone::NoMemory { limit_bytes: self.budget.max() };
        let message = match unfinished {
            Some(message) => message,
            None => unfinished.insert(Box::new(Unfinished {
                memory: self.budget.take(0).ok_or_else(no_memory)?,
                timer: Box::pin(sleep(self.timeout)),
                timeout: self.timeout,
            })),
        };
        if !message.memory.set(bytes) {
            return Err(no_memory());
        }
        match message.timer.as_mut().poll(cx) {
            Poll::Ready(()) => Err(Gone::Unfinished { waited: message.timeout }),
            Poll::Pending => Ok(()),
        }
    }
}
