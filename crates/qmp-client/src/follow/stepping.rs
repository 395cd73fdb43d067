//! The transitions of a follower from state to state.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::sleep;

use super::retry::RETRY_DELAY_MIN;
use super::session::{Next, Session};
use super::{Follow, State, Step, StepContent};
use crate::close_reason::CloseReason;
use crate::commander::PendingReply;
use crate::connect_error::ConnectError;
use crate::connection::Connection;
use crate::dial::{Dialer, NewConnection};
use crate::events::ReceivedEvent;
use crate::exchange::Exchange;
use crate::execute_error::ExecuteError;

/// An epoch of at least this length resets the back-off. A shorter one does not: a server that accepts and closes at
/// once, again and again, is treated like one that does not accept.
const STEADY_EPOCH: Duration = Duration::from_secs(1);

impl Follow {
    /// Makes progress until there is a step for the owner.
    pub(super) fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        self.lent = None;
        self.lent_event = None;
        loop {
            let attaching = matches!(&self.state, State::Connected(session) if !session.is_open());
            if !attaching && let Some(step) = self.next_held() {
                return Poll::Ready(step);
            }
            match &mut self.state {
                State::Ended => return Poll::Pending,
                State::BackingOff { until, .. } => {
                    if let Some(until) = until {
                        ready!(until.as_mut().poll(cx));
                    }
                    self.dial();
                }
                State::Dialing(dial) => match ready!(dial.as_mut().poll(cx)) {
                    (dialer, Ok(connection)) => self.begin_session(dialer, connection),
                    (dialer, Err(error)) => return Poll::Ready(self.fail(dialer, error)),
                },
                State::Connected(session) if attaching => {
                    match ready!(session.poll_attaching(&mut self.held, &mut self.replies, cx)) {
                        Ok(()) => return Poll::Ready(self.attach()),
                        Err(error) => return Poll::Ready(self.abandon(error)),
                    }
                }
                State::Connected(session) => match session.poll_next() {
                    Next::Event(event, received_at) => {
                        self.held.push_back(ReceivedEvent::from_raw(&event, received_at))
                    }
                    Next::Reply(reply) => self.replies.push_back(reply),
                    Next::ProbeAnswered(reply) => self.probe_reply = Some(reply),
                    Next::Skipped => {}
                    Next::Nothing => {
                        if let Err(reason) = ready!(session.poll_read(cx)) {
                            session.ended = Some(reason);
                        }
                    }
                    Next::Ended => return Poll::Ready(self.detach()),
                },
            }
        }
    }

    fn begin_session(&mut self, dialer: Dialer, connection: NewConnection) {
        let exchange = Exchange::new(Arc::clone(&self.queue));
        let timeout = self.config.snapshot_timeout;
        let session = match connection {
            NewConnection::Socket(socket, share) => {
                let connection =
                    Connection::new(socket, share, Arc::clone(&self.address), &self.config.connect);
                Session::new(dialer, connection, exchange, timeout)
            }
            NewConnection::Incoming(mut monitor) => {
                // These events precede the snapshot, as those that are read while it is taken.
                self.held.extend(std::mem::take(&mut monitor.events));
                Session::with_incoming(dialer, *monitor, exchange, timeout)
            }
        };
        self.state = State::Connected(Box::new(session));
    }

    /// The next step out of what was read already, in the order of the stream.
    fn next_held(&mut self) -> Option<Step> {
        if !self.held.is_empty() {
            return Some(Step::Events);
        }
        let reply = self.replies.pop_front().map(Step::Reply);
        reply.or_else(|| self.probe_reply.take().map(Step::ProbeAnswered))
    }

    fn dial(&mut self) {
        if let State::BackingOff { mut dialer, .. } = std::mem::replace(&mut self.state, State::Ended) {
            let config = Arc::clone(&self.config);
            self.state = State::Dialing(Box::pin(async move {
                let connection = dialer.next_connection(&config.connect).await;
                (dialer, connection)
            }));
        }
    }

    fn attach(&mut self) -> Step {
        if let State::Connected(session) = &mut self.state {
            let (text, greeting) = session.open(&self.address);
            if session.ended.is_none() {
                self.queue.open();
            }
            self.lent = Some(Box::new(StepContent::Snapshot { text, version: greeting.version }));
        }
        Step::Attached
    }

    /// The connection ended before the negotiation was done. Its events belong to no epoch.
    fn abandon(&mut self, error: ConnectError) -> Step {
        self.held = std::collections::VecDeque::new();
        self.probe_reply = None;
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Connected(session) => self.fail(session.dialer, error),
            _ => unreachable!("only a session is abandoned"),
        }
    }

    fn fail(&mut self, dialer: Dialer, error: ConnectError) -> Step {
        let retry = &self.config.retry;
        let delay = if error.is_monitor_in_use() {
            self.backoff.next_delay_between(retry.in_use_first, retry.in_use_max.max(retry.in_use_first))
        } else {
            self.backoff.next_delay()
        };
        let retry_in =
            (dialer.can_repeat() && !self.attempts_are_used_up()).then_some(delay.max(RETRY_DELAY_MIN));
        self.back_off(dialer, retry_in);
        self.lent = Some(Box::new(StepContent::Error(error)));
        Step::Failed { attempt: self.backoff.attempt(), retry_in }
    }

    /// Closes the epoch. Replies to commands in flight are yielded after that.
    fn detach(&mut self) -> Step {
        let State::Connected(mut session) = std::mem::replace(&mut self.state, State::Ended) else {
            unreachable!("only a session ends");
        };
        self.probe_reply = None;
        let reason = session.ended.take().unwrap_or(CloseReason::PeerClosed);
        self.replies.extend(session.exchange.fail(&reason));
        let unsent = self.queue.detach().into_iter();
        self.replies
            .extend(unsent.map(|request| PendingReply::new(request.target, Err(ExecuteError::NotAttached))));
        let steady = session.opened_at.is_some_and(|opened_at| opened_at.elapsed() >= STEADY_EPOCH);
        let retry_in = if steady {
            self.backoff.reset();
            Some(Duration::ZERO)
        } else {
            let delay = self.backoff.next_delay();
            (!self.attempts_are_used_up()).then_some(delay.max(RETRY_DELAY_MIN))
        };
        self.back_off(session.dialer, retry_in);
        Step::Detached { reason, process: session.process.take(), retry_in }
    }

    /// Waits for the next attempt, or ends without one.
    fn back_off(&mut self, dialer: Dialer, retry_in: Option<Duration>) {
        self.state = match retry_in {
            Some(Duration::ZERO) => State::BackingOff { dialer, until: None },
            Some(delay) => State::BackingOff { dialer, until: Some(Box::pin(sleep(delay))) },
            None => State::Ended,
        };
    }

    fn attempts_are_used_up(&self) -> bool {
        self.config.retry.attempts_max.is_some_and(|max| self.backoff.attempt() >= max.get())
    }
}
