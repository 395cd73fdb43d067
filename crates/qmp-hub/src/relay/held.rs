//! Replies that wait in a line for the events before them, for a limited time.
//!
//! A reply is released in its place among the events. If the journal does not commit these within
//! [`REPLY_JOURNAL_MAX`], the reply is released early: its client gets the result of the command, and the events follow
//! after their commit.

use std::collections::VecDeque;
use std::time::Duration;

use qmp_client::PendingReply;
use tokio::time::Instant;

/// How long a reply waits for the commit of the events before it. A disk that keeps up takes milliseconds; the client of a
/// command that the VM has executed must not wait for a full disk.
pub const REPLY_JOURNAL_MAX: Duration = Duration::from_secs(2);

/// Replies in the order of the VM's monitor, each with the number of records before it.
#[derive(Debug, Default)]
pub(super) struct HeldReplies {
    waiting: VecDeque<HeldReply>,
    /// The number of records before the last reply that was released early, until the feed has handed them out.
    early_upto: Option<u64>,
    /// A task for overdue replies runs.
    has_timer: bool,
}

#[derive(Debug)]
struct HeldReply {
    before: u64,
    due: Instant,
    reply: PendingReply,
}

impl HeldReplies {
    /// Keeps a reply with `before` records before it. Returns when a timer for it must fire, if none runs.
    pub(super) fn hold(&mut self, before: u64, reply: PendingReply) -> Option<Instant> {
        let due = Instant::now() + REPLY_JOURNAL_MAX;
        self.waiting.push_back(HeldReply { before, due, reply });
        (!std::mem::replace(&mut self.has_timer, true)).then_some(due)
    }

    /// Whether [`Self::release_due`] must be called when `fed` records were handed out.
    pub(super) fn is_due(&self, fed: u64) -> bool {
        self.waiting.front().is_some_and(|held| held.before <= fed)
            || self.early_upto.is_some_and(|upto| upto <= fed)
    }

    /// Releases the replies with at most `fed` records before them. Returns whether the feed has reached the last reply that
    /// was released early.
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

    /// Releases early the replies that have waited for [`REPLY_JOURNAL_MAX`]. Returns when the next one is overdue.
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
