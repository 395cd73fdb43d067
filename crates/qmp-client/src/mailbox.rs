//! Between the callers who execute commands and the one who owns the connection.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use tokio::sync::oneshot;

use crate::{ExecuteError, Gone};

/// Most commands that wait in one mailbox. A QEMU takes in eight at a time; who is that far ahead of it is told so
/// instead of being kept in memory.
pub(crate) const MAILBOX_MAX_COMMANDS: usize = 1024;

/// Commands that wait for the owner of the connection.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    state: Mutex<MailboxState>,
}

#[derive(Debug, Default)]
struct MailboxState {
    in_band: VecDeque<Request>,
    out_of_band: VecDeque<Request>,
    door: Door,
    owner: Option<Waker>,
    abandoned: bool,
    /// A probe is to be sent.
    probe: bool,
}

#[derive(Clone, Debug, Default)]
enum Door {
    #[default]
    NotAttached,
    Open,
    Closed(Gone),
}

/// A command on its way to the connection.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) command: Box<str>,
    pub(crate) arguments: Option<Box<str>>,
    pub(crate) out_of_band: bool,
    pub(crate) descriptors: Vec<OwnedFd>,
    pub(crate) asker: Asker,
}

/// Where the reply of one command goes.
#[derive(Debug)]
pub(crate) enum Asker {
    Waiting(oneshot::Sender<Result<Box<str>, ExecuteError>>),
    Told(Box<dyn TakeReply>),
}

/// Takes the reply of one command in the moment in which it is released, on the thread that releases it.
///
/// It is dropped without a reply if the command was given up before it was sent.
pub trait TakeReply: Send + fmt::Debug {
    /// Whether nobody wants the reply any more: such a command is not sent.
    fn is_given_up(&self) -> bool;

    /// Takes the reply. Must not block: the owner of the connection may be waiting.
    fn take(self: Box<Self>, result: Result<Box<str>, ExecuteError>);

    /// Whether the owner of the connection is to hold the reply back until the events before it are where they belong.
    /// Without that, the reply is released as soon as it was read, behind the events that were handed out before it.
    fn waits_for_events(&self) -> bool {
        true
    }

    /// Takes the reply before the events ahead of it are where they belong: the owner of the connection could not wait
    /// for that any longer. Unless overridden, the same as [`take`](Self::take).
    fn take_early(self: Box<Self>, result: Result<Box<str>, ExecuteError>) {
        self.take(result);
    }
}

impl Asker {
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Waiting(sender) => sender.is_closed(),
            Self::Told(asker) => asker.is_given_up(),
        }
    }

    pub(crate) fn waits_for_events(&self) -> bool {
        match self {
            Self::Waiting(_) => true,
            Self::Told(asker) => asker.waits_for_events(),
        }
    }

    pub(crate) fn answer(self, result: Result<Box<str>, ExecuteError>) {
        match self {
            // An asker that stopped waiting needs no reply.
            Self::Waiting(sender) => _ = sender.send(result),
            Self::Told(asker) => asker.take(result),
        }
    }

    pub(crate) fn answer_early(self, result: Result<Box<str>, ExecuteError>) {
        match self {
            Self::Waiting(_) => self.answer(result),
            Self::Told(asker) => asker.take_early(result),
        }
    }
}

impl Door {
    /// Why no command is taken.
    fn check(&self) -> Result<(), ExecuteError> {
        match self {
            Self::Open => Ok(()),
            Self::NotAttached => Err(ExecuteError::NotAttached),
            Self::Closed(reason) => Err(ExecuteError::Gone { reason: reason.clone() }),
        }
    }
}

impl Mailbox {
    /// Takes commands from here on.
    pub(crate) fn open(&self) {
        self.lock().door = Door::Open;
    }

    /// Refuses commands from here on, and gives back those that were not sent.
    pub(crate) fn detach(&self) -> Vec<Request> {
        self.shut(Door::NotAttached)
    }

    /// Refuses commands for ever, and gives back those that were not sent.
    pub(crate) fn close(&self, gone: Gone) -> Vec<Request> {
        self.shut(Door::Closed(gone))
    }

    fn shut(&self, door: Door) -> Vec<Request> {
        let mut state = self.lock();
        state.door = door;
        state.probe = false;
        let mut unsent = Vec::from(std::mem::take(&mut state.out_of_band));
        unsent.extend(std::mem::take(&mut state.in_band));
        unsent
    }

    /// The next command that may be sent; if there is none, `cx` is woken when one comes.
    pub(crate) fn poll_take(&self, in_band_has_room: bool, cx: &Context<'_>) -> Option<Request> {
        let mut state = self.lock();
        // Nobody waits for these: a command that was given up before it was sent must not take effect.
        state.out_of_band.retain(|request| !request.asker.is_closed());
        state.in_band.retain(|request| !request.asker.is_closed());
        let next = state.out_of_band.pop_front();
        let next = if next.is_none() && in_band_has_room { state.in_band.pop_front() } else { next };
        if next.is_none() && !state.owner.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.owner = Some(cx.waker().clone());
        }
        next
    }

    /// Asks the owner of the connection for a probe.
    pub(crate) fn request_probe(&self) -> Result<(), ExecuteError> {
        let mut state = self.lock();
        state.door.check()?;
        state.probe = true;
        let owner = state.owner.take();
        drop(state);
        if let Some(owner) = owner {
            owner.wake();
        }
        Ok(())
    }

    /// Whether a probe is to be sent; it was taken then. To be called after [`poll_take`](Self::poll_take) found nothing,
    /// so that a later request wakes the owner.
    pub(crate) fn take_probe(&self) -> bool {
        std::mem::take(&mut self.lock().probe)
    }

    /// Whether all senders went away; if not, the last waker given to [`poll_take`](Self::poll_take) is woken then.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.lock().abandoned
    }

    /// The last sender goes away.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.abandoned = true;
        let owner = state.owner.take();
        drop(state);
        if let Some(owner) = owner {
            owner.wake();
        }
    }

    /// Leaves a command for the owner of the connection.
    pub(crate) fn put(&self, request: Request) -> Result<(), ExecuteError> {
        let mut state = self.lock();
        state.door.check()?;
        let waiting = state.in_band.len() + state.out_of_band.len();
        if waiting >= MAILBOX_MAX_COMMANDS {
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

    fn lock(&self) -> MutexGuard<'_, MailboxState> {
        // Nothing in here panics between two steps of one change, so a poisoned lock guards a sound mailbox.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
