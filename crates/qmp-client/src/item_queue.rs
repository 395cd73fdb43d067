//! A bounded queue between the task that reads a connection and the stream that yields its items.
//!
//! If the reader falls behind, the queue drops its *oldest* items, and the reader gets their number in their place: the
//! newest events, a SHUTDOWN perhaps, must not be lost, and the socket is always read.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The end of the queue that yields items.
#[derive(Debug)]
pub(crate) struct ItemReceiver<T> {
    queue: Arc<ItemQueue<T>>,
}

/// The end of the queue into which the reading task pushes items.
#[derive(Debug)]
pub(crate) struct ItemSender<T> {
    queue: Arc<ItemQueue<T>>,
}

/// An entry of the queue.
#[derive(Debug)]
pub(crate) enum QueueItem<T> {
    Item(T),
    /// So many items were dropped here.
    Missed(u64),
}

#[derive(Debug)]
struct ItemQueue<T> {
    state: Mutex<ItemQueueState<T>>,
    max_items: usize,
    max_bytes: usize,
}

#[derive(Debug)]
struct ItemQueueState<T> {
    /// The items, each with its size in bytes.
    items: VecDeque<(T, usize)>,
    bytes: usize,
    missed: u64,
    /// The item after all others.
    last: Option<T>,
    /// No item will be pushed any more.
    ended: bool,
    reader: Option<Waker>,
    /// The reader was dropped.
    abandoned: bool,
    /// Woken when the reader is dropped.
    writer: Option<Waker>,
}

/// A queue that keeps at most `max_items` of together `max_bytes`. One item is kept whatever its size.
pub(crate) fn item_queue<T>(max_items: usize, max_bytes: usize) -> (ItemSender<T>, ItemReceiver<T>) {
    let state = ItemQueueState {
        items: VecDeque::new(),
        bytes: 0,
        missed: 0,
        last: None,
        ended: false,
        reader: None,
        abandoned: false,
        writer: None,
    };
    let queue = Arc::new(ItemQueue { state: Mutex::new(state), max_items, max_bytes });
    (ItemSender { queue: Arc::clone(&queue) }, ItemReceiver { queue })
}

impl<T> ItemReceiver<T> {
    /// The next item if there is one already.
    pub(crate) fn try_next(&mut self) -> Option<QueueItem<T>> {
        self.queue.lock().next()
    }

    /// The next item; `None` after the last one.
    pub(crate) fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Option<QueueItem<T>>> {
        let mut state = self.queue.lock();
        match state.next() {
            Some(item) => Poll::Ready(Some(item)),
            None if state.ended => Poll::Ready(None),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for ItemReceiver<T> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.abandoned = true;
        let (items, writer) = (std::mem::take(&mut state.items), state.writer.take());
        drop(state);
        drop(items);
        if let Some(writer) = writer {
            writer.wake();
        }
    }
}

impl<T> ItemSender<T> {
    /// Pushes the item that `make` returns, with its size in bytes; drops the oldest items if there is no room.
    /// [`wake`](Self::wake) notifies the reader. `make` is not called if the reader was dropped.
    pub(crate) fn push(&self, make: impl FnOnce() -> (T, usize)) {
        let mut state = self.queue.lock();
        if state.abandoned {
            return;
        }
        let (item, bytes) = make();
        state.bytes += bytes;
        state.items.push_back((item, bytes));
        while state.items.len() > 1
            && (state.items.len() > self.queue.max_items || state.bytes > self.queue.max_bytes)
        {
            if let Some((_, oldest_bytes)) = state.items.pop_front() {
                state.bytes -= oldest_bytes;
                state.missed += 1;
            }
        }
    }

    /// Wakes the reader, once for all items that were pushed.
    pub(crate) fn wake(&self) {
        let reader = self.queue.lock().reader.take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Ends the queue; `last` is yielded after all other items, and is never dropped for want of room.
    pub(crate) fn end(&self, last: Option<T>) {
        {
            let mut state = self.queue.lock();
            if !state.ended {
                state.ended = true;
                state.last = last;
            }
        }
        self.wake();
    }

    /// Whether the reader was dropped; if not, `cx` is woken when that happens.
    pub(crate) fn poll_abandoned(&self, cx: &Context<'_>) -> bool {
        let mut state = self.queue.lock();
        if !state.abandoned && !state.writer.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.writer = Some(cx.waker().clone());
        }
        state.abandoned
    }
}

impl<T> Drop for ItemSender<T> {
    /// Ends the queue, so that its reader does not wait for ever.
    fn drop(&mut self) {
        self.end(None);
    }
}

impl<T> ItemQueue<T> {
    fn lock(&self) -> MutexGuard<'_, ItemQueueState<T>> {
        // No panic can happen between two steps of one change, so a poisoned lock guards a sound queue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> ItemQueueState<T> {
    /// The dropped items were the oldest, so the gap comes before the items that are left.
    fn next(&mut self) -> Option<QueueItem<T>> {
        if self.missed > 0 {
            return Some(QueueItem::Missed(std::mem::take(&mut self.missed)));
        }
        if let Some((item, bytes)) = self.items.pop_front() {
            self.bytes -= bytes;
            return Some(QueueItem::Item(item));
        }
        self.last.take().map(QueueItem::Item)
    }
}
