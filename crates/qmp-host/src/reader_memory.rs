//! Memory for the text of readers: one budget in bytes for all of a process.
//!
//! A reader asks for memory before it reads, and waits in the order of asking while there is none. What was read keeps its
//! [`Portion`] until the last client has taken it; a text for several clients is counted once. What cannot wait (an event
//! for the clients of a relay, an answer that is made already) may use the part that waiting readers leave.
//!
//! A client that does not read keeps its text in memory. That is its right as long as there is enough: see [`Recipient`].

mod recipient;
mod texts;

use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::budget::{Budget, Share};
use crate::lock::lock;
pub use recipient::{LentText, Recipient};
pub use texts::{SharedText, Texts};

/// Memory for the text and the records of all readers of a hub, in bytes. While the longest record is read it takes half:
/// the record, and its text. A chunk for each of 1,500 readers fits into the other half.
pub const READER_MEMORY_MAX_BYTES: usize = 256 << 20;

/// One part in so many is left by readers that wait, for what cannot wait.
const KEPT_ONE_IN: usize = 8;

/// How long a reader waits for memory. It is then refused, or its stream ends: a client that asks again later is better
/// served than one that waits without a word.
pub const READER_WAIT_MAX: Duration = Duration::from_secs(30);

/// How long a client may keep the same text unread while others wait for memory. A chunk of 64 KiB takes 8 s over a line of
/// 64 kbit/s.
pub const READER_STALL_MAX: Duration = Duration::from_secs(10);

/// How often it is looked, while memory is short, which clients have not read for too long.
const STALLS_LOOKED_AT_EVERY: Duration = Duration::from_secs(1);

/// The memory of all readers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ReaderMemory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    budget: Arc<Budget>,
    /// Held by the reader that waits the longest.
    turn: tokio::sync::Mutex<()>,
    freed: Notify,
    recipients: Mutex<Vec<Weak<Recipient>>>,
}

/// Memory that is in use; given back when it is dropped.
#[derive(Debug)]
pub struct Portion {
    share: Share,
    memory: Arc<Inner>,
}

/// A text with the memory that it takes.
#[derive(Debug)]
pub struct ChargedText<T> {
    text: T,
    _portion: Portion,
}

/// There is no memory for a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {limit_bytes} bytes for readers are in use, by clients that have not read what they asked for")]
pub struct MemoryShort {
    /// How much there is for all, in bytes.
    pub limit_bytes: usize,
}

impl ReaderMemory {
    /// So many bytes, none of them in use.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self(Arc::new(Inner {
            budget: Arc::new(Budget::new(max_bytes)),
            turn: tokio::sync::Mutex::default(),
            freed: Notify::new(),
            recipients: Mutex::default(),
        }))
    }

    /// How much is in use, in bytes.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.budget.used()
    }

    /// How much there is, in bytes.
    #[must_use]
    pub fn max(&self) -> usize {
        self.0.budget.max()
    }

    /// Waits for so much memory, behind those that asked before.
    ///
    /// # Errors
    ///
    /// [`MemoryShort`] if there is none within [`READER_WAIT_MAX`], or never so much.
    pub async fn take(&self, bytes: usize) -> Result<Portion, MemoryShort> {
        let taken = async {
            let _turn = self.0.turn.lock().await;
            loop {
                if let Some(portion) = self.take_within(bytes, self.for_waiting()) {
                    return portion;
                }
                self.evict_stalled();
                let _ = tokio::time::timeout(STALLS_LOOKED_AT_EVERY, self.0.freed.notified()).await;
            }
        };
        if bytes > self.for_waiting() {
            return Err(self.short());
        }
        tokio::time::timeout(READER_WAIT_MAX, taken).await.map_err(|_| self.short())
    }

    /// So much memory for what cannot wait.
    ///
    /// # Errors
    ///
    /// [`MemoryShort`]; clients that have not read for [`READER_STALL_MAX`] were evicted.
    pub fn try_take(&self, bytes: usize) -> Result<Portion, MemoryShort> {
        self.take_within(bytes, self.max()).ok_or_else(|| {
            self.evict_stalled();
            self.short()
        })
    }

    /// A client that is given text of this memory.
    #[must_use]
    pub fn recipient(&self) -> Arc<Recipient> {
        let recipient = Arc::new(Recipient::default());
        let mut all = self.recipients();
        if all.len() == all.capacity() {
            all.retain(|recipient| recipient.strong_count() > 0);
        }
        all.push(Arc::downgrade(&recipient));
        recipient
    }

    /// The limit for readers that wait.
    fn for_waiting(&self) -> usize {
        self.max() - self.max() / KEPT_ONE_IN
    }

    fn take_within(&self, bytes: usize, limit_bytes: usize) -> Option<Portion> {
        // Two at a time may both come just below the limit; the budget itself is kept in any case.
        if self.used().saturating_add(bytes) > limit_bytes {
            return None;
        }
        let share = self.0.budget.take(bytes)?;
        Some(Portion { share, memory: Arc::clone(&self.0) })
    }

    /// Evicts the clients that have not read for [`READER_STALL_MAX`].
    fn evict_stalled(&self) {
        let now = Instant::now();
        let all: Vec<_> = self.recipients().iter().filter_map(Weak::upgrade).collect();
        all.iter().filter(|recipient| recipient.is_stalled(now)).for_each(|recipient| recipient.evict());
    }

    fn recipients(&self) -> MutexGuard<'_, Vec<Weak<Recipient>>> {
        lock(&self.0.recipients)
    }

    /// That there is none.
    #[must_use]
    pub fn short(&self) -> MemoryShort {
        MemoryShort { limit_bytes: self.max() }
    }
}

impl Portion {
    /// Makes it so large. It grows past the budget if there is no more: the memory is in use already.
    pub fn set(&mut self, bytes: usize) {
        self.share.force(bytes);
        self.memory.freed.notify_one();
    }

    /// The text that takes this memory.
    pub fn of<T: AsRef<[u8]>>(mut self, text: T) -> ChargedText<T> {
        self.set(text.as_ref().len());
        ChargedText { text, _portion: self }
    }
}

impl Drop for Portion {
    fn drop(&mut self) {
        self.share.set(0);
        self.memory.freed.notify_one();
    }
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for ChargedText<T> {
    fn as_ref(&self) -> &[u8] {
        self.text.as_ref()
    }
}

#[cfg(test)]
mod tests;
