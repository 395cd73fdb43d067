//! Follows a VM across connections, for ever.
//!
//! [`Follow`] dials the VM (or waits until it dials in), negotiates, queries its state, and yields events until the
//! connection ends; then it starts over, with growing delays. It has no task: all work is done in [`Follow::next`], so
//! its owner decides where it runs, and ten thousand of them are cheap.
//!
//! Order: a reply is handed to the owner as a [`PendingReply`], after every event that the server sent before it. The
//! owner releases it when it has processed those events, for instance when a journal has stored them.

mod retry;
mod session;
mod stepping;

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use qmp_host::Backoff;
use qmp_wire::{Address, RawEvent, Version};
pub use retry::RetryConfig;
use session::{Next, ProbeReply, Session};
use tokio::time::Sleep;

use crate::close_reason::CloseReason;
use crate::command_queue::CommandQueue;
use crate::commander::{Commander, PendingReply};
use crate::connect_config::ConnectConfig;
use crate::connect_error::ConnectError;
use crate::dial::{Dialer, NewConnection};
use crate::events::ReceivedEvent;
use crate::execute_error::ExecuteError;
use crate::incoming::IncomingMonitors;
use crate::peer_process::PeerProcess;

/// How long the snapshot of the VM's state may take. QEMU replies in milliseconds unless another monitor's command keeps
/// it busy.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(5);

/// How a VM is followed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FollowConfig {
    /// How each connection is made.
    pub connect: ConnectConfig,
    /// How long the snapshot may take; after that the epoch opens with the replies that arrived.
    pub snapshot_timeout: Duration,
    /// The delays between attempts to attach, and how many there are.
    pub retry: RetryConfig,
}

impl Default for FollowConfig {
    fn default() -> Self {
        Self {
            connect: ConnectConfig::default(),
            snapshot_timeout: SNAPSHOT_TIMEOUT,
            retry: RetryConfig::default(),
        }
    }
}

/// Follows one VM. Dropping it ends the connection.
pub struct Follow {
    address: Arc<Address>,
    config: Arc<FollowConfig>,
    queue: Arc<CommandQueue>,
    backoff: Backoff,
    state: State,
    /// Events that were read and not yet yielded, in order, before anything that is still in the connection.
    held: VecDeque<ReceivedEvent>,
    /// Replies that were read and not yet yielded. They come after the held events.
    replies: VecDeque<PendingReply>,
    /// The reply to a probe was read and not yet yielded.
    probe_reply: Option<ProbeReply>,
    /// The value that the owner borrows until the next call.
    lent: Option<Box<StepContent>>,
    lent_event: Option<ReceivedEvent>,
}

enum State {
    /// Before the next attempt; without a timer, now.
    BackingOff {
        dialer: Dialer,
        until: Option<Pin<Box<Sleep>>>,
    },
    Dialing(Pin<Box<dyn Future<Output = DialResult> + Send>>),
    Connected(Box<Session>),
    /// There is no next attempt.
    Ended,
}

/// The dialler, and the connection that it made.
type DialResult = (Dialer, Result<NewConnection, ConnectError>);

/// The subject of a [`Step`].
enum StepContent {
    Snapshot { text: Box<str>, version: Option<Version> },
    Error(ConnectError),
}

/// One step of a [`Follow`].
#[derive(Debug)]
#[non_exhaustive]
pub enum FollowEvent<'a> {
    /// An epoch opened: no event is missing from here until `Detached`.
    Attached {
        /// The VM's state as one JSON object: `{"address": …, "greeting": …, "query-status": …, …}`. A query that the
        /// release lacks is left out; one that failed is listed in `errors`.
        snapshot: &'a str,
        /// The version in the greeting.
        version: Option<&'a Version>,
    },
    /// Events, in the order of the stream; at least one.
    Events(EventBatch<'a>),
    /// A reply to deliver. Everything that the server sent before it has been handed out.
    Reply(PendingReply),
    /// The VM replied to a [probe](Commander::probe).
    ProbeAnswered {
        /// The run state that the reply names, such as `paused`; `None` if it is an error.
        run_state: Option<Box<str>>,
    },
    /// The epoch closed.
    Detached {
        /// Why; the message is for people, and [`CloseReason::detach_reason`] is the word for records.
        reason: CloseReason,
        /// The process at the other end of a unix socket, from which the exit status can be read.
        process: Option<PeerProcess>,
        /// When the next attempt begins. `None`: there is no further step, because the epoch was so short that it counts
        /// as a failed attempt, and [`RetryConfig::attempts_max`] is reached.
        retry_in: Option<Duration>,
    },
    /// An attempt to attach failed.
    Failed {
        /// Why; the message says what to do.
        error: &'a ConnectError,
        /// How many attempts failed in a row, this one included. An epoch of less than a second counts as failed.
        attempt: u32,
        /// When the next attempt begins. `None`: there is no further step, because the address serves for one connection
        /// only (`fd:N`) or because [`RetryConfig::attempts_max`] is reached.
        retry_in: Option<Duration>,
    },
}

/// Events that were read already, borrowed one after another. Events that are not read from the batch are yielded again
/// in the next one.
pub struct EventBatch<'a> {
    follow: &'a mut Follow,
}

/// The result of [`Follow::poll_step`]; what it refers to is in [`Follow`].
enum Step {
    Attached,
    Events,
    Reply(PendingReply),
    ProbeAnswered(ProbeReply),
    Detached { reason: CloseReason, process: Option<PeerProcess>, retry_in: Option<Duration> },
    Failed { attempt: u32, retry_in: Option<Duration> },
}

/// Follows the VM at `address`. No connection is made before the first [`Follow::next`], which must be polled in a tokio
/// runtime. To follow many VMs with one configuration, pass an `Arc` of it.
#[must_use]
pub fn follow(address: Address, config: impl Into<Arc<FollowConfig>>) -> Follow {
    let config = config.into();
    let backoff = config.retry.backoff(&address);
    let address = Arc::new(address);
    let dialer = Dialer::new(Arc::clone(&address));
    Follow::new(address, config, backoff, dialer)
}

/// Follows a VM that dials in at `address`, where the caller accepts its connections and sends them through the returned
/// [`IncomingMonitors`]. Each one begins an epoch.
#[must_use]
pub fn follow_incoming(address: Address, config: impl Into<Arc<FollowConfig>>) -> (Follow, IncomingMonitors) {
    let config = config.into();
    let backoff = config.retry.backoff(&address);
    let address = Arc::new(address);
    let (incoming, receiver) = IncomingMonitors::new();
    let dialer = Dialer::of_incoming(Arc::clone(&address), receiver);
    (Follow::new(address, config, backoff, dialer), incoming)
}

impl Follow {
    fn new(address: Arc<Address>, config: Arc<FollowConfig>, backoff: Backoff, dialer: Dialer) -> Self {
        Self {
            address,
            config,
            queue: Arc::default(),
            backoff,
            state: State::BackingOff { dialer, until: None },
            held: VecDeque::new(),
            replies: VecDeque::new(),
            probe_reply: None,
            lent: None,
            lent_event: None,
        }
    }

    /// Waits for the next step. Cancel safe.
    pub async fn next(&mut self) -> FollowEvent<'_> {
        let step = poll_fn(|cx| self.poll_step(cx)).await;
        if matches!(step, Step::Events | Step::Detached { .. }) {
            self.queue.events.notify_waiters();
        }
        match step {
            Step::Events => FollowEvent::Events(EventBatch { follow: self }),
            Step::Reply(reply) => FollowEvent::Reply(reply),
            Step::ProbeAnswered(ProbeReply { run_state }) => FollowEvent::ProbeAnswered { run_state },
            Step::Detached { reason, process, retry_in } => {
                FollowEvent::Detached { reason, process, retry_in }
            }
            Step::Attached => match self.lent.as_deref() {
                Some(StepContent::Snapshot { text, version }) => {
                    FollowEvent::Attached { snapshot: text, version: version.as_ref() }
                }
                _ => unreachable!("attach sets the snapshot"),
            },
            Step::Failed { attempt, retry_in } => match self.lent.as_deref() {
                Some(StepContent::Error(error)) => FollowEvent::Failed { error, attempt, retry_in },
                _ => unreachable!("fail sets the error"),
            },
        }
    }

    /// Opens another epoch on the same connection, for an owner that lost events on its side and has closed the epoch:
    /// the VM's state is queried again, and the next epoch opens with `Attached`. Events that are read from here on are
    /// yielded after it. Without an open epoch this does nothing.
    pub fn renew(&mut self) {
        if let State::Connected(session) = &mut self.state {
            session.renew(self.config.snapshot_timeout);
        }
    }

    /// Fails every command that waits for its reply, and every later one, with [`CloseReason::ClosedLocally`]: for an
    /// owner that reads no further and keeps the connection for a while.
    pub fn end_commands(&mut self) {
        let reason = CloseReason::ClosedLocally;
        let unsent = self.queue.close(reason.clone());
        let unsent = unsent.into_iter().map(|request| {
            PendingReply::new(request.target, Err(ExecuteError::Closed { reason: reason.clone() }))
        });
        unsent.for_each(PendingReply::release);
        if let State::Connected(session) = &mut self.state {
            session.exchange.fail(&reason).for_each(PendingReply::release);
        }
        // These replies were read: deliver them.
        self.replies.drain(..).for_each(PendingReply::release);
    }

    /// A handle that executes commands while an epoch is open.
    ///
    /// Commands are sent and replies are read by [`Follow::next`] only. Awaiting `execute` in the task that calls `next`,
    /// for instance in the arm of `Attached`, therefore never returns: use the handle in another task, or take
    /// [`follow_stream`](crate::follow_stream), which has a task of its own.
    #[must_use]
    pub fn commander(&self) -> Commander {
        Commander::new(Arc::clone(&self.queue))
    }

    /// The address of the VM.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }
}

impl fmt::Debug for Follow {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::BackingOff { .. } => "backing off",
            State::Dialing(_) => "dialling",
            State::Connected(session) if session.is_open() => "attached",
            State::Connected(_) => "attaching",
            State::Ended => "ended",
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
                // The events held back during a snapshot may have needed much memory.
                follow.held.shrink_to(1);
            }
            let event = follow.lent_event.insert(event);
            return Some((event.as_raw(), event.received_at));
        }
        // The batch ends after a reply, whose caller waits.
        if !follow.replies.is_empty() {
            return None;
        }
        let State::Connected(session) = &mut follow.state else { return None };
        match session.poll_next() {
            Next::Event(event, received_at) => Some((event, received_at)),
            Next::Reply(reply) => {
                follow.replies.push_back(reply);
                None
            }
            Next::ProbeAnswered(reply) => {
                follow.probe_reply = Some(reply);
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

    /// Ten thousand VMs must cost little. These are the parts of an attached, idle VM, apart from the address, two small
    /// maps and tokio's state of a socket (less than 400 bytes together).
    #[test]
    fn idle_vm_takes_at_most_1600_bytes() {
        let bytes = size_of::<Follow>() + size_of::<Session>() + size_of::<CommandQueue>();
        assert!(bytes <= 1600, "{bytes} bytes");
    }
}
