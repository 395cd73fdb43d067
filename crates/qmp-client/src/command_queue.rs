//! The queue between the handles that execute commands and the owner of the connection.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use tokio::sync::{Notify, oneshot};

use crate::close_reason::CloseReason;
use crate::execute_error::ExecuteError;

/// Most commands that wait in one queue. QEMU accepts eight at a time; a command past this limit is refused, so that a
/// stuck VM does not fill the memory.
pub(crate) const COMMAND_QUEUE_MAX: usize = 1024;

/// Commands that wait for the owner of the connection.
#[derive(Debug, Default)]
pub(crate) struct CommandQueue {
    state: Mutex<CommandQueueState>,
    /// Notified when the owner of the connection has yielded an event, or when the queue no longer accepts commands.
    pub(crate) events: Notify,
}

#[derive(Debug, Default)]
struct CommandQueueState {
    in_band: VecDeque<Request>,
    out_of_band: VecDeque<Request>,
    availability: Availability,
    owner: Option<Waker>,
    /// All senders were dropped.
    abandoned: bool,
    /// A probe was requested and is not sent yet.
    probe: bool,
}

/// Whether the queue accepts commands.
#[derive(Clone, Debug, Default)]
enum Availability {
    #[default]
    NotAttached,
    Open,
    Closed(CloseReason),
}

/// A command on its way to the connection.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) command: Box<str>,
    pub(crate) arguments: Option<Box<str>>,
    pub(crate) out_of_band: bool,
    pub(crate) descriptors: Vec<OwnedFd>,
    pub(crate) target: ReplyTarget,
}

/// Where the reply of one command goes.
#[derive(Debug)]
pub(crate) enum ReplyTarget {
    Channel(oneshot::Sender<Result<Box<str>, ExecuteError>>),
    Sink(Box<dyn ReplySink>),
}

/// Receives the reply of one command when it is released, on the thread that releases it.
///
/// Dropped without a reply if the command was cancelled before it was sent.
pub trait ReplySink: Send + fmt::Debug {
    /// Whether the reply is unwanted. A cancelled command that was not sent yet is not sent. Must not execute a command:
    /// called under the lock of the queue.
    fn is_cancelled(&self) -> bool;

    /// Receives the reply. Must not block: the owner of the connection calls it.
    fn deliver(self: Box<Self>, result: Result<Box<str>, ExecuteError>);

    /// Whether the owner of the connection holds the reply back until it has processed the events before it. If not,
    /// the reply is released as soon as it was read, after the events that were handed out before it.
    fn waits_for_events(&self) -> bool {
        true
    }

    /// Receives the reply before the owner of the connection has processed the events ahead of it, because the time for
    /// that ran out. By default the same as [`deliver`](Self::deliver).
    fn deliver_early(self: Box<Self>, result: Result<Box<str>, ExecuteError>) {
        self.deliver(result);
    }
}

impl ReplyTarget {
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Channel(sender) => sender.is_closed(),
            Self::Sink(sink) => sink.is_cancelled(),
        }
    }

    pub(crate) fn waits_for_events(&self) -> bool {
        match self {
            Self::Channel(_) => true,
            Self::Sink(sink) => sink.waits_for_events(),
        }
    }

    pub(crate) fn answer(self, result: Result<Box<str>, ExecuteError>) {
        match self {
            // The receiver is dropped if the caller stopped waiting.
            Self::Channel(sender) => _ = sender.send(result),
            Self::Sink(sink) => sink.deliver(result),
        }
    }

    pub(crate) fn answer_early(self, result: Result<Box<str>, ExecuteError>) {
        match self {
            Self::Channel(_) => self.answer(result),
            Self::Sink(sink) => sink.deliver_early(result),
        }
    }
}

impl Availability {
    /// Fails with the reason if commands are refused.
    fn check(&self) -> Result<(), ExecuteError> {
        match self {
            Self::Open => Ok(()),
            Self::NotAttached => Err(ExecuteError::NotAttached),
            Self::Closed(reason) => Err(ExecuteError::Closed { reason: reason.clone() }),
        }
    }
}

impl CommandQueue {
    /// Accepts commands from here on.
    pub(crate) fn open(&self) {
        self.lock().availability = Availability::Open;
    }

    /// Refuses commands until the queue opens again, and returns those that were not sent.
    pub(crate) fn detach(&self) -> Vec<Request> {
        self.shut(Availability::NotAttached)
    }

    /// Refuses commands for ever, and returns those that were not sent.
    pub(crate) fn close(&self, reason: CloseReason) -> Vec<Request> {
        self.shut(Availability::Closed(reason))
    }

    fn shut(&self, availability: Availability) -> Vec<Request> {
        let mut state = self.lock();
        state.availability = availability;
        state.probe = false;
        self.events.notify_waiters();
        let mut unsent = Vec::from(std::mem::take(&mut state.out_of_band));
        unsent.extend(std::mem::take(&mut state.in_band));
        unsent
    }

    /// The next command that may be sent; if there is none, `cx` is woken when one is queued.
    pub(crate) fn poll_next(&self, in_band_has_room: bool, cx: &Context<'_>) -> Option<Request> {
        // Dropped after the lock is released: the drop of a sink is code of the embedder, which may use the queue.
        let mut cancelled = Vec::new();
        let mut state = self.lock();
        // A command that was cancelled before it was sent must not take effect.
        remove_cancelled(&mut state.out_of_band, &mut cancelled);
        remove_cancelled(&mut state.in_band, &mut cancelled);
        let next = state.out_of_band.pop_front();
        let next = if next.is_none() && in_band_has_room { state.in_band.pop_front() } else { next };
        if next.is_none() && !state.owner.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.owner = Some(cx.waker().clone());
        }
        drop(state);
        next
    }

    /// Asks the owner of the connection for a probe.
    pub(crate) fn request_probe(&self) -> Result<(), ExecuteError> {
        let mut state = self.lock();
        state.availability.check()?;
        state.probe = true;
        let owner = state.owner.take();
        drop(state);
        if let Some(owner) = owner {
            owner.wake();
        }
        Ok(())
    }

    /// Whether a probe was requested since the last call. Call it after [`poll_next`](Self::poll_next) found nothing, so
    /// that a later request wakes the owner.
    pub(crate) fn take_probe(&self) -> bool {
        std::mem::take(&mut self.lock().probe)
    }

    /// Whether all senders were dropped; if not, that wakes the last waker given to [`poll_next`](Self::poll_next).
    pub(crate) fn is_abandoned(&self) -> bool {
        self.lock().abandoned
    }

    /// Records that the last sender was dropped.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.abandoned = true;
        let owner = state.owner.take();
        drop(state);
        if let Some(owner) = owner {
            owner.wake();
        }
    }

    /// Queues a command for the owner of the connection.
    pub(crate) fn push(&self, request: Request) -> Result<(), ExecuteError> {
        let mut state = self.lock();
        state.availability.check()?;
        let waiting = state.in_band.len() + state.out_of_band.len();
        if waiting >= COMMAND_QUEUE_MAX {
            return Err(ExecuteError::Busy { waiting });
        }
        let queue = if request.out_of_band { &mut state.out_of_band } else { &mut state.in_band };
        queue.push_back(request);
        let owner = state.owner.take();
        drop(state);
        if let Some(owner) = owner {
            owner.wake();
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, CommandQueueState> {
        // No panic can happen between two steps of one change, so a poisoned lock guards a sound queue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves the cancelled commands of a queue to `cancelled`.
fn remove_cancelled(queue: &mut VecDeque<Request>, cancelled: &mut Vec<Request>) {
    // Almost always none is cancelled, so that nothing is moved.
    if queue.iter().any(|request| request.target.is_closed()) {
        let all = std::mem::take(queue).into_iter();
        let (closed, open): (VecDeque<_>, VecDeque<_>) = all.partition(|request| request.target.is_closed());
        *queue = open;
        cancelled.extend(closed);
    }
}
