//! Following a VM with a task of its own: a handle for commands, and a stream of items.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use qmp_wire::{Address, Version};
use tokio::task::AbortHandle;

use crate::close_reason::CloseReason;
use crate::commander::Commander;
use crate::connect_error::ConnectError;
use crate::events::{QUEUE_MAX_BYTES, QUEUE_MAX_EVENTS, ReceivedEvent};
use crate::follow::{Follow, FollowConfig, FollowEvent, follow};
use crate::item_queue::{ItemReceiver, ItemSender, QueueItem, item_queue};
use crate::limits::EVENT_OVERHEAD_BYTES;

/// An item of a [`FollowStream`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FollowItem {
    /// An epoch opened: no event is missing from here until `Detached`, but for `Lagged`.
    Attached {
        /// The VM's state, as in [`FollowEvent::Attached`].
        snapshot: Box<str>,
        /// The version in the greeting.
        version: Option<Version>,
    },
    /// The next event.
    Event(ReceivedEvent),
    /// Items are missing here, because the reader fell behind.
    Lagged {
        /// How many items were dropped.
        missed: u64,
    },
    /// The epoch closed.
    Detached {
        /// Why.
        reason: CloseReason,
        /// When the next attempt begins. `None`: this is the last item; see [`FollowEvent::Detached`].
        retry_in: Option<Duration>,
    },
    /// An attempt to attach failed.
    Failed {
        /// Why; the message says what to do.
        error: ConnectError,
        /// How many attempts failed in a row, this one included.
        attempt: u32,
        /// When the next attempt begins. `None`: this is the last item.
        retry_in: Option<Duration>,
    },
}

/// The items of a VM that a task follows. Also a [`futures_core::Stream`]. Dropping it ends the task and the connection.
#[derive(Debug)]
pub struct FollowStream {
    queue: ItemReceiver<FollowItem>,
    task: AbortHandle,
}

/// Follows the VM at `address` in a task of its own. Must be called in a tokio runtime. The [guide](crate::guide) has an
/// example.
///
/// Commands are executed while an epoch is open, from anywhere: also between two items of the stream, as the task works
/// on by itself. When a command returns, all events that the server sent before its reply are in the stream.
#[must_use]
pub fn follow_stream(address: Address, config: impl Into<Arc<FollowConfig>>) -> (Commander, FollowStream) {
    let mut follow = follow(address, config);
    let commander = follow.commander();
    let (sender, queue) = item_queue(QUEUE_MAX_EVENTS, QUEUE_MAX_BYTES);
    let task = tokio::spawn(async move {
        while drive(&mut follow, &sender).await {}
        sender.end(None);
    });
    (commander, FollowStream { queue, task: task.abort_handle() })
}

/// Pushes one step; `false` after the last one.
async fn drive(follow: &mut Follow, sender: &ItemSender<FollowItem>) -> bool {
    let goes_on = match follow.next().await {
        FollowEvent::Attached { snapshot, version } => {
            let item = FollowItem::Attached { snapshot: snapshot.into(), version: version.cloned() };
            sender.push(|| (item, snapshot.len()));
            true
        }
        FollowEvent::Events(mut batch) => {
            while let Some((event, received_at)) = batch.next_received() {
                sender.push(|| {
                    let event = ReceivedEvent::from_raw(&event, received_at);
                    let bytes = event.size_bytes();
                    (FollowItem::Event(event), bytes)
                });
            }
            true
        }
        FollowEvent::Reply(reply) => {
            reply.release();
            true
        }
        FollowEvent::ProbeAnswered { .. } => true,
        FollowEvent::Detached { reason, retry_in, .. } => {
            sender.push(|| (FollowItem::Detached { reason, retry_in }, EVENT_OVERHEAD_BYTES));
            retry_in.is_some()
        }
        FollowEvent::Failed { error, attempt, retry_in } => {
            let item = FollowItem::Failed { error: error.clone(), attempt, retry_in };
            sender.push(|| (item, EVENT_OVERHEAD_BYTES));
            retry_in.is_some()
        }
    };
    sender.wake();
    goes_on
}

impl FollowStream {
    /// The next item; `None` after the last one. Cancel safe.
    pub async fn next(&mut self) -> Option<FollowItem> {
        std::future::poll_fn(|cx| self.poll_item(cx)).await
    }

    /// The next item if there is one already.
    pub fn try_next(&mut self) -> Option<FollowItem> {
        self.queue.try_next().map(FollowItem::from)
    }

    fn poll_item(&mut self, cx: &Context<'_>) -> Poll<Option<FollowItem>> {
        self.queue.poll_next(cx).map(|item| item.map(FollowItem::from))
    }
}

impl Stream for FollowStream {
    type Item = FollowItem;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<FollowItem>> {
        self.poll_item(cx)
    }
}

impl Drop for FollowStream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl From<QueueItem<FollowItem>> for FollowItem {
    fn from(received: QueueItem<Self>) -> Self {
        match received {
            QueueItem::Item(item) => item,
            QueueItem::Missed(missed) => Self::Lagged { missed },
        }
    }
}
