//! The stream of events of one connection, bounded and without silent loss.
//!
//! The task that reads the socket puts events in; [`Events`] takes them out, in order. A reader that falls behind makes
//! the queue drop its *oldest* events, and gets [`EventItem::Lagged`] in their place: what happened last, a SHUTDOWN
//! perhaps, is what must not be lost, and the socket is always read.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use qmp_wire::{RawEvent, Timestamp};

use crate::Gone;

/// Most events kept for a reader that falls behind: five minutes of the fastest storm that a QEMU was seen to emit
/// (MIGRATION_PASS, about 300 a second).
pub(crate) const QUEUE_MAX_EVENTS: usize = 100_000;

/// Most bytes of names and data kept for a reader that falls behind. One event is kept whatever its size.
pub(crate) const QUEUE_MAX_BYTES: usize = 64 << 20;

/// An event that stands for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The event's name, such as `SHUTDOWN`; see [`qmp_wire::EventName`].
    pub name: Box<str>,
    /// The name as the server wrote it, a JSON string; `None` if `name` says all of it.
    pub sent_name: Option<Box<str>>,
    /// When the server says it happened.
    pub timestamp: Option<Timestamp>,
    /// The `data` member, byte for byte.
    pub data: Option<Box<str>>,
    /// When it was read, on this host's clock.
    pub received_at: SystemTime,
}

/// What [`Events::next`] yields.
#[derive(Clone, Debug)]
pub enum EventItem {
    /// The next event.
    Event(Event),
    /// Events are missing here, because they were not taken out in time.
    Lagged {
        /// How many.
        missed: u64,
    },
    /// The connection ended. This is the last item.
    Ended(Gone),
}

/// The events of one connection, in the order of the stream.
#[derive(Debug)]
pub struct Events {
    queue: Arc<Queue>,
}

/// Where the reading task puts events.
#[derive(Debug)]
pub(crate) struct EventSink {
    queue: Arc<Queue>,
}

#[derive(Debug)]
struct Queue {
    state: Mutex<QueueState>,
    max_events: usize,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct QueueState {
    events: VecDeque<Event>,
    bytes: usize,
    missed: u64,
    ended: Option<Gone>,
    finished: bool,
    reader: Option<Waker>,
    abandoned: bool,
    /// Told when the reader goes away.
    writer: Option<Waker>,
}

impl Event {
    /// Copies an event out of the buffer that it was read into.
    pub(crate) fn from_raw(event: &RawEvent<'_>, received_at: SystemTime) -> Self {
        Self {
            name: (*event.name).into(),
            sent_name: event.sent_name.map(Into::into),
            timestamp: event.timestamp,
            data: event.data.map(Into::into),
            received_at,
        }
    }

    /// Lends the event in the form in which it came.
    #[must_use]
    pub fn as_raw(&self) -> RawEvent<'_> {
        RawEvent {
            name: (&*self.name).into(),
            sent_name: self.sent_name.as_deref(),
            timestamp: self.timestamp,
            data: self.data.as_deref(),
        }
    }

    /// Bytes of name and data.
    pub(crate) fn size_bytes(&self) -> usize {
        let bytes = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        self.name.len() + bytes(&self.sent_name) + bytes(&self.data)
    }
}

/// A queue that keeps at most `max_events` of together `max_bytes`.
pub(crate) fn queue(max_events: usize, max_bytes: usize) -> (EventSink, Events) {
    let queue = Arc::new(Queue { state: Mutex::default(), max_events, max_bytes });
    (EventSink { queue: Arc::clone(&queue) }, Events { queue })
}

impl Events {
    /// The next item; `None` after [`EventItem::Ended`].
    ///
    /// Cancel safe: an item is either returned or stays.
    pub async fn next(&mut self) -> Option<EventItem> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next item if there is one already; `None` also after [`EventItem::Ended`].
    ///
    /// After a command's reply, this yields all events that stood before the reply.
    pub fn try_next(&mut self) -> Option<EventItem> {
        self.queue.lock().take()
    }

    /// As [`next`](Self::next), for futures written by hand.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<EventItem>> {
        let mut state = self.queue.lock();
        match state.take() {
            Some(item) => Poll::Ready(Some(item)),
            None if state.finished => Poll::Ready(None),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.abandoned = true;
        state.events = VecDeque::new();
        let writer = state.writer.take();
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
    }
}

impl EventSink {
    /// Puts an event in, at the cost of the oldest ones if there is no room. The reader is told by
    /// [`wake`](Self::wake).
    pub(crate) fn push(&self, event: &RawEvent<'_>, received_at: SystemTime) {
        let mut state = self.queue.lock();
        if state.abandoned {
            return;
        }
        let event = Event::from_raw(event, received_at);
        state.bytes += event.size_bytes();
        state.events.push_back(event);
        while state.events.len() > 1
            && (state.events.len() > self.queue.max_events || state.bytes > self.queue.max_bytes)
        {
            if let Some(oldest) = state.events.pop_front() {
                state.bytes -= oldest.size_bytes();
                state.missed += 1;
            }
        }
    }

    /// Tells the reader, once for all that was pushed.
    pub(crate) fn wake(&self) {
        let reader = self.queue.lock().reader.take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Ends the stream.
    pub(crate) fn end(&self, gone: Gone) {
        self.queue.lock().ended.get_or_insert(gone);
        self.wake();
    }

    /// Whether the reader went away; if not, `cx` is woken when it does.
    pub(crate) fn poll_abandoned(&self, cx: &Context<'_>) -> bool {
        let mut state = self.queue.lock();
        if !state.abandoned && !state.writer.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.writer = Some(cx.waker().clone());
        }
        state.abandoned
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        // Nothing in here panics between two steps of one change, so a poisoned lock guards a sound queue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueState {
    /// Missing events were the oldest, so the gap comes before what is left.
    fn take(&mut self) -> Option<EventItem> {
        if self.missed > 0 {
            return Some(EventItem::Lagged { missed: std::mem::take(&mut self.missed) });
        }
        if let Some(event) = self.events.pop_front() {
            self.bytes -= event.size_bytes();
            return Some(EventItem::Event(event));
        }
        if self.finished {
            return None;
        }
        let gone = self.ended.take()?;
        self.finished = true;
        Some(EventItem::Ended(gone))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keeps_the_newest_and_says_what_is_missing() {
        type Case = (&'static str, usize, usize, &'static [&'static str], &'static [&'static str]);
        let cases: [Case; 6] = [
            // name             events  bytes  pushed                      taken
            ("empty", 2, 100, &[], &["ended"]),
            ("within", 2, 100, &["a", "b"], &["a", "b", "ended"]),
            ("too many", 2, 100, &["a", "b", "c", "d"], &["lagged 2", "c", "d", "ended"]),
            ("too much", 9, 4, &["aa", "bb", "cc"], &["lagged 1", "bb", "cc", "ended"]),
            ("one is kept", 9, 4, &["a", "long-name"], &["lagged 1", "long-name", "ended"]),
            ("the first, too", 9, 4, &["long-name"], &["long-name", "ended"]),
        ];
        for (name, max_events, max_bytes, pushed, expected) in cases {
            let (sink, mut events) = queue(max_events, max_bytes);
            push(&sink, pushed);
            sink.end(Gone::PeerClosed);
            assert_eq!(taken(&mut events), expected, "{name}");
            assert_eq!(taken(&mut events), [""; 0], "{name}: nothing after the end");
        }
    }

    proptest! {
        /// Whatever the reader does, taken and missed events are together all events, and the taken ones are in order.
        #[test]
        fn loses_nothing_silently(
            rounds in prop::collection::vec((0usize..20, 0usize..20), 1..20),
            max_events in 1usize..10,
            max_bytes in 1usize..100,
        ) {
            let (sink, mut events) = queue(max_events, max_bytes);
            let (mut next, mut accounted) = (0u64, 0u64);
            for (pushes, takes) in rounds {
                for _ in 0..pushes {
                    push(&sink, &[&next.to_string()]);
                    next += 1;
                }
                for _ in 0..takes {
                    match events.try_next() {
                        None => prop_assert_eq!(accounted, next),
                        Some(EventItem::Lagged { missed }) => accounted += missed,
                        Some(EventItem::Event(event)) => {
                            prop_assert_eq!(event.name.parse(), Ok(accounted));
                            accounted += 1;
                        }
                        Some(EventItem::Ended(_)) => prop_assert!(false, "no end yet"),
                    }
                }
            }
        }
    }

    fn push(sink: &EventSink, names: &[&str]) {
        for name in names {
            let event = RawEvent { name: (*name).into(), sent_name: None, timestamp: None, data: None };
            sink.push(&event, SystemTime::UNIX_EPOCH);
        }
    }

    fn taken(events: &mut Events) -> Vec<String> {
        let lines = std::iter::from_fn(|| events.try_next()).map(|item| match item {
            EventItem::Event(event) => event.name.into(),
            EventItem::Lagged { missed } => format!("lagged {missed}"),
            EventItem::Ended(_) => "ended".to_owned(),
        });
        lines.collect()
    }
}
