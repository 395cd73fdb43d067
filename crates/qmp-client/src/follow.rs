//! Staying with a VM for ever.
//!
//! [`Follow`] dials (or waits for) the VM, negotiates, asks for its state, and hands out what happens until the
//! connection ends; then it begins again, with growing delays. It has no task: all work is done in
//! [`Follow::next`], so its owner decides where it runs, and ten thousand of them are cheap.
//!
//! Order: a reply is handed to the owner as a [`PendingReply`], after every event that the server sent before it. The
//! owner releases it when those events are where they belong, in a journal for instance.

mod delays;
mod live;
mod stepping;

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use qmp_host::Backoff;
use qmp_wire::{DetachReason, RawEvent, Version};
use tokio::time::Sleep;

use crate::caller::Callers;
use crate::commander::PendingReply;
use crate::dial::{Dialer, Reached};
use crate::mailbox::Mailbox;
use crate::{Address, Commander, ConnectConfig, ConnectError, Event, ExecuteError, Gone, Process};
use delays::{FIRST_DELAY, LOCAL_MAX_DELAY, REMOTE_MAX_DELAY};
pub(crate) use live::{EVENT_OVERHEAD_BYTES, HELD_MAX_BYTES};
use live::{Live, Next};

/// How long the VM's state is waited for. QEMU answers in milliseconds unless another monitor's command keeps it busy.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(5);

/// How a VM is followed.
#[derive(Clone, Debug)]
pub struct FollowConfig {
    /// How each connection is made.
    pub connect: ConnectConfig,
    /// How long the VM's state is waited for; then the epoch opens with what is known.
    pub snapshot_timeout: Duration,
}

impl Default for FollowConfig {
    fn default() -> Self {
        Self { connect: ConnectConfig::default(), snapshot_timeout: SNAPSHOT_TIMEOUT }
    }
}

/// A VM that is followed. Dropping it ends the connection.
pub struct Follow {
    address: Arc<Address>,
    config: Arc<FollowConfig>,
    mailbox: Arc<Mailbox>,
    backoff: Backoff,
    state: State,
    /// Events that wait for the owner, in order, before anything that is still in the connection.
    held: VecDeque<Event>,
    /// Replies that wait for the owner. They come after what is held.
    replies: VecDeque<PendingReply>,
    /// A probe was answered, and the owner does not know yet.
    answered: Option<ProbeReply>,
    /// What is lent to the owner until the next call.
    lent: Option<Box<Lent>>,
    lent_event: Option<Event>,
}

enum State {
    /// Before the next attempt; without a timer, now.
    Resting {
        dialer: Dialer,
        until: Option<Pin<Box<Sleep>>>,
    },
    Dialling(Pin<Box<dyn Future<Output = Dialled> + Send>>),
    Live(Box<Live>),
    /// There is no next attempt.
    Over,
}

/// The dialler comes back with what it reached, or with the reason why not.
type Dialled = (Dialer, Result<Reached, ConnectError>);

enum Lent {
    Snapshot { text: Box<str>, version: Option<Version> },
    Error(ConnectError),
}

/// What happened to a VM that is followed.
#[derive(Debug)]
pub enum Followed<'a> {
    /// An epoch opened: from here on nothing is missing until `Detached`.
    Attached {
        /// The VM's state as one JSON object: `{"address": …, "greeting": …, "query-status": …, …}`. A query that the
        /// release lacks is left out; one that failed stands in `errors`.
        snapshot: &'a str,
        /// The version in the greeting.
        version: Option<&'a Version>,
    },
    /// Events, in the order of the stream; at least one.
    Events(EventBatch<'a>),
    /// A reply on its way to its asker. Everything that the server sent before it has been handed out.
    Reply(PendingReply),
    /// The VM answered a [probe](Commander::probe).
    Answered {
        /// The run state that the reply names, such as `paused`; `None` if it is an error.
        run_state: Option<Box<str>>,
    },
    /// The epoch closed.
    Detached {
        /// Why.
        reason: DetachReason,
        /// What exactly, for people.
        detail: String,
        /// The process at the other end of a unix socket, which can tell how it ended.
        process: Option<Process>,
    },
    /// An attempt to attach failed.
    Failed {
        /// Why; the text says what to do.
        error: &'a ConnectError,
        /// How many attempts failed in a row, this one included. An epoch of less than a second counts as failed.
        attempt: u32,
        /// When the next one begins. `None`: the address serves for one connection only (`fd:N`), and nothing more
        /// will come.
        retry_in: Option<Duration>,
    },
}

/// Events that are there already, lent one after another. What is not taken out comes again with the next batch.
pub struct EventBatch<'a> {
    follow: &'a mut Follow,
}

/// A reply to a probe.
#[derive(Debug)]
struct ProbeReply {
    run_state: Option<Box<str>>,
}

/// What [`Follow::poll_step`] found, before anything is lent.
enum Step {
    Attached,
    Events,
    Reply(PendingReply),
    Answered(ProbeReply),
    Detached { reason: DetachReason, detail: String, process: Option<Process> },
    Failed { attempt: u32, retry_in: Option<Duration> },
}

/// Follows the VM at `address`. Nothing happens before the first [`Follow::next`], which must be polled in a tokio
/// runtime. Whoever follows many VMs shares the configuration: an `Arc` of it is taken, too.
#[must_use]
pub fn follow(address: Address, config: impl Into<Arc<FollowConfig>>) -> Follow {
    let max_delay = match address {
        Address::Tcp { listen: false, .. } => REMOTE_MAX_DELAY,
        _ => LOCAL_MAX_DELAY,
    };
    let backoff = Backoff::new(FIRST_DELAY, max_delay, RandomState::new().hash_one(&address));
    let address = Arc::new(address);
    let dialer = Dialer::new(Arc::clone(&address));
    Follow::new(address, config.into(), backoff, dialer)
}

/// Follows a VM that dials in at `address`, where somebody else accepts and hands its connections over. An epoch begins
/// with each.
#[must_use]
pub fn follow_callers(address: Address, config: impl Into<Arc<FollowConfig>>) -> (Follow, Callers) {
    let backoff = Backoff::new(FIRST_DELAY, LOCAL_MAX_DELAY, RandomState::new().hash_one(&address));
    let address = Arc::new(address);
    let (callers, receiver) = Callers::new();
    let dialer = Dialer::of_callers(Arc::clone(&address), receiver);
    (Follow::new(address, config.into(), backoff, dialer), callers)
}

impl Follow {
    fn new(address: Arc<Address>, config: Arc<FollowConfig>, backoff: Backoff, dialer: Dialer) -> Self {
        Self {
            address,
            config,
            mailbox: Arc::default(),
            backoff,
            state: State::Resting { dialer, until: None },
            held: VecDeque::new(),
            replies: VecDeque::new(),
            answered: None,
            lent: None,
            lent_event: None,
        }
    }

    /// Waits for the next thing that happens. Cancel safe.
    pub async fn next(&mut self) -> Followed<'_> {
        let step = poll_fn(|cx| self.poll_step(cx)).await;
        match step {
            Step::Events => Followed::Events(EventBatch { follow: self }),
            Step::Reply(reply) => Followed::Reply(reply),
            Step::Answered(ProbeReply { run_state }) => Followed::Answered { run_state },
            Step::Detached { reason, detail, process } => Followed::Detached { reason, detail, process },
            Step::Attached => match self.lent.as_deref() {
                Some(Lent::Snapshot { text, version }) => {
                    Followed::Attached { snapshot: text, version: version.as_ref() }
                }
                _ => unreachable!("an attached VM leaves its snapshot"),
            },
            Step::Failed { attempt, retry_in } => match self.lent.as_deref() {
                Some(Lent::Error(error)) => Followed::Failed { error, attempt, retry_in },
                _ => unreachable!("a failed attempt leaves its error"),
            },
        }
    }

    /// Opens another epoch on the same connection, for an owner that lost something on its side and has closed the
    /// epoch: the VM is asked for its state anew, and the next epoch opens with `Attached`. Events that come from here
    /// on are handed out after it. Without an epoch that is open this does nothing.
    pub fn renew(&mut self) {
        if let State::Live(live) = &mut self.state {
            live.renew(self.config.snapshot_timeout);
        }
    }

    /// Fails every command that waits for its reply, and every later one, with [`Gone::Left`]: for an owner that reads no
    /// further, and keeps the connection for a while.
    pub fn end_commands(&mut self) {
        let gone = Gone::Left;
        let unsent = self.mailbox.close(gone.clone());
        let unsent = unsent.into_iter().map(|request| {
            PendingReply::new(request.asker, Err(ExecuteError::Gone { reason: gone.clone() }))
        });
        unsent.for_each(PendingReply::release);
        if let State::Live(live) = &mut self.state {
            live.exchange.fail(&gone).for_each(PendingReply::release);
        }
        // These have come, and their askers lose nothing.
        self.replies.drain(..).for_each(PendingReply::release);
    }

    /// A handle that executes commands while an epoch is open.
    #[must_use]
    pub fn commander(&self) -> Commander {
        Commander::new(Arc::clone(&self.mailbox))
    }

    /// Whom this follows.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }
}

impl fmt::Debug for Follow {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Resting { .. } => "resting",
            State::Dialling(_) => "dialling",
            State::Live(live) if live.is_open() => "attached",
            State::Live(_) => "attaching",
            State::Over => "over",
        };
        out.debug_struct("Follow")
            .field("address", &self.address)
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.end_commands();
    }
}

impl EventBatch<'_> {
    /// The next event; `None` at the end of the batch.
    #[allow(clippy::should_implement_trait, reason = "an iterator cannot lend")]
    pub fn next(&mut self) -> Option<RawEvent<'_>> {
        self.next_received().map(|(event, _)| event)
    }

    /// The next event, and when it was read on this host's clock.
    pub fn next_received(&mut self) -> Option<(RawEvent<'_>, SystemTime)> {
        let follow = &mut *self.follow;
        if let Some(event) = follow.held.pop_front() {
            if follow.held.is_empty() {
                // What a snapshot held back may have been much.
                follow.held.shrink_to(1);
            }
            let event = follow.lent_event.insert(event);
            return Some((event.as_raw(), event.received_at));
        }
        // Behind a reply, the batch ends: its asker waits.
        if !follow.replies.is_empty() {
            return None;
        }
        let State::Live(live) = &mut follow.state else { return None };
        match live.poll_next() {
            Next::Event(event, received_at) => Some((event, received_at)),
            Next::Reply(reply) => {
                follow.replies.push_back(reply);
                None
            }
            Next::Answered(run_state) => {
                follow.answered = Some(ProbeReply { run_state });
                None
            }
            Next::Skipped | Next::Nothing | Next::Ended => None,
        }
    }
}

impl fmt::Debug for EventBatch<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("EventBatch").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten thousand VMs are to cost little: these are the parts of one that is attached and idle, apart from the
    /// address, two small maps and what tokio keeps for a socket (less than 400 bytes together).
    #[test]
    fn an_idle_vm_takes_little_memory() {
        let bytes = size_of::<Follow>() + size_of::<Live>() + size_of::<Mailbox>();
        assert!(bytes <= 1600, "{bytes} bytes");
    }
}
