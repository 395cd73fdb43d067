//! The stream of events of one connection, bounded and without silent loss.
//!
//! The task that reads the socket pushes events; [`Events`] yields them in order. If the reader falls behind, the queue
//! drops its *oldest* events, and the reader gets [`EventItem::Lagged`] in their place.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::SystemTime;

use futures_core::Stream;
use qmp_wire::{RawEvent, Timestamp};

use crate::close_reason::CloseReason;
use crate::item_queue::{ItemReceiver, ItemSender, QueueItem, item_queue};

/// Most events kept for a reader that falls behind: five minutes of the fastest storm that a QEMU was seen to emit
/// (MIGRATION_PASS, about 300 a second).
pub(crate) const QUEUE_MAX_EVENTS: usize = 100_000;

/// Most bytes of names and data kept for a reader that falls behind. One event is kept whatever its size.
pub(crate) const QUEUE_MAX_BYTES: usize = 64 << 20;

/// An event that owns its text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedEvent {
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

/// An item of [`Events::next`]. Displayed, an event is its name and its data.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventItem {
    /// The next event.
    Event(ReceivedEvent),
    /// Events are missing here, because the reader fell behind.
    Lagged {
        /// How many events were dropped.
        missed: u64,
    },
    /// The connection ended. This is the last item.
    Ended(CloseReason),
}

impl fmt::Display for EventItem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(ReceivedEvent { name, data: None, .. }) => formatter.write_str(name),
            Self::Event(ReceivedEvent { name, data: Some(data), .. }) => write!(formatter, "{name} {data}"),
            Self::Lagged { missed } => write!(formatter, "{missed} events were dropped"),
            Self::Ended(reason) => reason.fmt(formatter),
        }
    }
}

/// The events of one connection, in the order of the stream. Also a [`futures_core::Stream`].
#[derive(Debug)]
pub struct Events {
    queue: ItemReceiver<EventItem>,
}

/// The end of the queue into which the reading task pushes events.
#[derive(Debug)]
pub(crate) struct EventSink {
    queue: ItemSender<EventItem>,
}

impl ReceivedEvent {
    /// Copies an event out of the receive buffer.
    pub(crate) fn from_raw(event: &RawEvent<'_>, received_at: SystemTime) -> Self {
        Self {
            name: (*event.name).into(),
            sent_name: event.sent_name.map(Into::into),
            timestamp: event.timestamp,
            data: event.data.map(Into::into),
            received_at,
        }
    }

    /// The event as the wire crate represents it.
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
    let (sender, receiver) = item_queue(max_events, max_bytes);
    (EventSink { queue: sender }, Events { queue: receiver })
}

impl Events {
    /// The next item; `None` after [`EventItem::Ended`].
    ///
    /// Cancel safe: an item that is not returned stays in the queue.
    pub async fn next(&mut self) -> Option<EventItem> {
        poll_fn(|cx| self.poll_item(cx)).await
    }

    /// The next item if there is one already; `None` also after [`EventItem::Ended`].
    ///
    /// After a command's reply, this yields all events that the server sent before the reply.
    pub fn try_next(&mut self) -> Option<EventItem> {
        self.queue.try_next().map(EventItem::from)
    }

    /// As [`next`](Self::next), for hand-written futures.
    pub fn poll_item(&mut self, cx: &Context<'_>) -> Poll<Option<EventItem>> {
        self.queue.poll_next(cx).map(|item| item.map(EventItem::from))
    }
}

impl Stream for Events {
    type Item = EventItem;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<EventItem>> {
        self.poll_item(cx)
    }
}

impl From<QueueItem<EventItem>> for EventItem {
    fn from(received: QueueItem<Self>) -> Self {
        match received {
            QueueItem::Item(item) => item,
            QueueItem::Missed(missed) => Self::Lagged { missed },
        }
    }
}

impl EventSink {
    /// Pushes an event; drops the oldest events if there is no room. [`wake`](Self::wake) notifies the reader.
    pub(crate) fn push(&self, event: &RawEvent<'_>, received_at: SystemTime) {
        self.queue.push(|| {
            let event = ReceivedEvent::from_raw(event, received_at);
            let bytes = event.size_bytes();
            (EventItem::Event(event), bytes)
        });
    }

    /// Wakes the reader, once for all events that were pushed.
    pub(crate) fn wake(&self) {
        self.queue.wake();
    }

    /// Ends the stream.
    pub(crate) fn end(&self, reason: CloseReason) {
        self.queue.end(Some(EventItem::Ended(reason)));
    }

    /// Whether the reader was dropped; if not, `cx` is woken when that happens.
    pub(crate) fn poll_abandoned(&self, cx: &Context<'_>) -> bool {
        self.queue.poll_abandoned(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn full_queue_keeps_newest_events_and_reports_gap() {
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
            sink.end(CloseReason::PeerClosed);
            assert_eq!(drain(&mut events), expected, "{name}");
            assert_eq!(drain(&mut events), [""; 0], "{name}: nothing after the end");
        }
    }

    #[test]
    fn item_display_is_one_line() {
        let event = |data: Option<&str>| {
            EventItem::Event(ReceivedEvent {
                name: "RTC_CHANGE".into(),
                sent_name: None,
                timestamp: None,
                data: data.map(Into::into),
                received_at: SystemTime::UNIX_EPOCH,
            })
        };
        let rows = [
            (event(None), "RTC_CHANGE"),
            (event(Some(r#"{"offset": 1}"#)), r#"RTC_CHANGE {"offset": 1}"#),
            (EventItem::Lagged { missed: 3 }, "3 events were dropped"),
            (EventItem::Ended(CloseReason::PeerClosed), "the VM closed the connection"),
        ];
        for (item, expected) in rows {
            assert_eq!(item.to_string(), expected);
        }
    }

    proptest! {
        /// For any sequence of reads, yielded and missed events together are all events, and the yielded ones are in order.
        #[test]
        fn queue_accounts_for_every_event(
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

    fn drain(events: &mut Events) -> Vec<String> {
        let lines = std::iter::from_fn(|| events.try_next()).map(|item| match item {
            EventItem::Event(event) => event.name.into(),
            EventItem::Lagged { missed } => format!("lagged {missed}"),
            EventItem::Ended(_) => "ended".to_owned(),
        });
        lines.collect()
    }
}
