//! The queue of one client: events, its replies, the end. Bounded in bytes; adding an item never waits.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use qmp_client::ExecuteError;
use qmp_host::lock;
use qmp_host::reader_memory::{Portion, ReaderMemory, Recipient};
use qmp_wire::Offset;
use qmp_wire::server::RequestId;
use tokio::sync::Notify;

/// Replies up to so many bytes are not counted in the memory of all readers: with eight for each of a thousand clients they
/// are 32 MiB.
const REPLY_UNCOUNTED_MAX_BYTES: usize = 4 << 10;

/// One item for a client, in the order of the VM's monitor.
#[derive(Debug)]
pub(super) enum Item {
    /// Whole events; the journal was read up to there.
    Events { lines: Bytes, upto: Offset },
    /// The reply to a command of this client.
    Reply { request: RequestId, result: Result<Box<str>, ExecuteError>, memory: Option<Portion> },
    /// No more items follow.
    End { why: &'static str },
}

/// The queue of one client.
#[derive(Debug)]
pub(super) struct Outbox {
    /// Whether the client gets pretty-printed lines.
    pub(super) pretty: bool,
    max_bytes: usize,
    waiting: Mutex<OutboxState>,
    more: Notify,
    memory: ReaderMemory,
    /// How the client reads its items; decides about eviction.
    pub(super) recipient: Arc<Recipient>,
    left: AtomicBool,
    /// Replies that were released early and not reported to the client yet.
    early: AtomicU64,
}

#[derive(Debug, Default)]
struct OutboxState {
    items: VecDeque<Item>,
    bytes: usize,
    overflowed: bool,
}

impl Outbox {
    pub(super) fn new(pretty: bool, max_bytes: usize, memory: &ReaderMemory) -> Self {
        Self {
            pretty,
            max_bytes,
            waiting: Mutex::default(),
            more: Notify::new(),
            recipient: memory.recipient(),
            memory: memory.clone(),
            left: AtomicBool::new(false),
            early: AtomicU64::new(0),
        }
    }

    /// Adds `item`. If the client is too far behind, all items are discarded instead, and the client must be closed.
    pub(super) fn put(&self, item: Item) {
        let mut waiting = self.lock();
        if waiting.overflowed || self.has_left() {
            return;
        }
        // Replies are counted in the memory of all readers alone: a client has no more commands under way than a few.
        if let Item::Events { lines, .. } = &item {
            waiting.bytes += lines.len();
        }
        if waiting.bytes > self.max_bytes {
            *waiting = OutboxState { overflowed: true, ..OutboxState::default() };
        } else {
            waiting.items.push_back(item);
            self.recipient.note(false, true);
        }
        drop(waiting);
        self.more.notify_one();
    }

    /// Adds the reply to a command, with the memory that it takes.
    pub(super) fn reply(&self, request: RequestId, result: Result<Box<str>, ExecuteError>) {
        let bytes = result.as_ref().map_or(0, |value| value.len());
        let memory = (bytes > REPLY_UNCOUNTED_MAX_BYTES).then(|| self.memory.try_take(bytes)).transpose();
        match memory {
            Ok(memory) => self.put(Item::Reply { request, result, memory }),
            Err(_) => self.overflow(),
        }
    }

    /// Discards all items: there is no room for more, and the client must be closed.
    pub(super) fn overflow(&self) {
        *self.lock() = OutboxState { overflowed: true, ..OutboxState::default() };
        self.more.notify_one();
    }

    /// Removes the next item.
    pub(super) fn next(&self) -> Option<Item> {
        let mut waiting = self.lock();
        let item = waiting.items.pop_front();
        if let Some(Item::Events { lines, .. }) = &item {
            waiting.bytes -= lines.len();
        }
        item
    }

    /// Whether no item waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().items.is_empty()
    }

    /// Whether the client was too far behind, and must be closed.
    pub(super) fn is_overflowed(&self) -> bool {
        self.lock().overflowed
    }

    /// Counts a reply that was released early.
    pub(super) fn add_early(&self) {
        self.early.fetch_add(1, Ordering::Relaxed);
    }

    /// How many replies were released early since the last call.
    pub(super) fn deliver_early(&self) -> u64 {
        self.early.swap(0, Ordering::Relaxed)
    }

    /// Waits until an item was added since the last call.
    pub(super) async fn more(&self) {
        self.more.notified().await;
    }

    /// The client left: items are discarded from here on, and its commands that were not sent are cancelled.
    pub(super) fn leave(&self) {
        self.left.store(true, Ordering::Release);
        *self.lock() = OutboxState::default();
    }

    /// Whether the client left.
    pub(super) fn has_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, OutboxState> {
        lock(&self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_bound_overflows_and_keeps_nothing() {
        //  bytes put, one taken after each?   overflowed
        let cases: [(&[usize], bool, bool); 4] = [
            (&[10], false, false),
            (&[5, 5], false, false),
            (&[5, 6], false, true),
            (&[10, 10, 10], true, false),
        ];
        for (sizes, taking, expected) in cases {
            let outbox = filled(sizes, taking);
            assert_eq!(outbox.is_overflowed(), expected, "{sizes:?}");
            if expected {
                assert!(outbox.next().is_none());
            }
        }
    }

    #[test]
    fn reply_without_room_in_memory_closes_the_client() {
        let memory = ReaderMemory::new(100 << 10);
        let server_request = crate::relay::replay::tests::request;
        let (one, other) = (Outbox::new(false, 10, &memory), Outbox::new(false, 10, &memory));
        let reply = || Ok("x".repeat(60 << 10).into());
        one.reply(server_request(), reply());
        assert_eq!(memory.used(), 60 << 10);
        other.reply(server_request(), reply());
        other.reply(server_request(), Ok("{}".into()));
        assert!(!one.is_overflowed() && other.is_overflowed() && other.next().is_none());
        one.leave();
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn nothing_is_kept_for_who_left() {
        let outbox = filled(&[5], false);
        outbox.leave();
        outbox.put(Item::End { why: "the VM is away" });
        assert!(outbox.next().is_none() && outbox.has_left() && !outbox.is_overflowed());
    }

    fn filled(sizes: &[usize], taking: bool) -> Outbox {
        let outbox = Outbox::new(false, 10, &ReaderMemory::new(100));
        for size in sizes {
            outbox.put(Item::Events { lines: vec![b' '; *size].into(), upto: Offset(1) });
            if taking {
                assert!(outbox.next().is_some());
            }
        }
        outbox
    }
}
