//! Replies that wait in a line for the events ahead of them, and not for long.
//!
//! A reply is released in its place among the events. If the journal does not commit those within
//! [`REPLY_JOURNAL_MAX`], the reply is released early: its client learns that the VM carried the command out, and the
//! events follow when they are committed.

use std::collections::VecDeque;
use std::time::Duration;

use qmp_client::PendingReply;
use tokio::time::Instant;

/// How long a reply waits until the journal has the events ahead of it. A disk that keeps up takes milliseconds; a client
/// whose command is carried out must not wait for a full one.
pub const REPLY_JOURNAL_MAX: Duration = Duration::from_secs(2);

/// Replies in the order in which they came, each with the number of records ahead of it.
#[derive(Debug, Default)]
pub(super) struct HeldReplies {
    waiting: VecDeque<HeldReply>,
    /// The last place of a reply that was released early and that the feed has not reached.
    early_upto: Option<u64>,
    /// A task releases what becomes overdue.
    has_timer: bool,
}

#[derive(Debug)]
struct HeldReply {
    before: u64,
    due: Instant,
    reply: PendingReply,
}

impl HeldReplies {
    /// Keeps a reply with `before` records ahead of it. Returns when a timer for it is to fire, if none runs.
    pub(super) fn hold(&mut self, before: u64, reply: PendingReply) -> Option<Instant> {
        let due = Instant::now() + REPLY_JOURNAL_MAX;
        self.waiting.push_back(HeldReply { before, due, reply });
        (!std::mem::replace(&mut self.has_timer, true)).then_some(due)
    }

    /// Whether something is to happen when `fed` records were handed out.
    pub(super) fn is_due(&self, fed: u64) -> bool {
        self.waiting.front().is_some_and(|held| held.before <= fed)
            || self.early_upto.is_some_and(|upto| upto <= fed)
    }

    /// Releases the replies with no more than `fed` records ahead of them. Returns whether the feed has reached the last
    /// reply that was released early.
    pub(super) fn release_due(&mut self, fed: u64) -> bool {
        while let Some(held) = self.pop_if(|held| held.before <= fed) {
            held.reply.release();
        }
        self.early_upto.take_if(|upto| *upto <= fed).is_some()
    }

    /// Releases every reply early.
    pub(super) fn release_all(&mut self) {
        for held in self.waiting.drain(..) {
            held.reply.release_early();
        }
    }

    /// Releases early what has waited for [`REPLY_JOURNAL_MAX`]. Returns when the next one will have.
    pub(super) fn release_overdue(&mut self) -> Option<Instant> {
        let now = Instant::now();
        while let Some(held) = self.pop_if(|held| held.due <= now) {
            self.early_upto = Some(held.before);
            held.reply.release_early();
        }
        let next = self.waiting.front().map(|held| held.due);
        self.has_timer = next.is_some();
        next
    }

    fn pop_if(&mut self, is_wanted: impl FnOnce(&HeldReply) -> bool) -> Option<HeldReply> {
        if self.waiting.front().is_some_and(is_wanted) { self.waiting.pop_front() } else { None }
    }
}
