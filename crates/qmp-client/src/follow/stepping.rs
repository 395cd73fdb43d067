//! How a VM that is followed goes from state to state.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::sleep;

use super::delays::{TAKEN_FIRST_DELAY, TAKEN_MAX_DELAY};
use super::live::{Live, Next};
use super::{Follow, Lent, ProbeReply, State, Step};
use crate::commander::PendingReply;
use crate::dial::{Dialer, Reached};
use crate::exchange::Exchange;
use crate::{ConnectError, Connection, Event, ExecuteError, Gone};

/// An epoch shorter than this does not make the next attempt come sooner: something that accepts and closes at once,
/// again and again, is to be treated as one that does not accept.
const STEADY: Duration = Duration::from_secs(1);

impl Follow {
    /// Goes on until there is something for the owner.
    pub(super) fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        self.lent = None;
        self.lent_event = None;
        loop {
            let attaching = matches!(&self.state, State::Live(live) if !live.is_open());
            if !attaching && let Some(step) = self.waiting() {
                return Poll::Ready(step);
            }
            match &mut self.state {
                State::Over => return Poll::Pending,
                State::Resting { until, .. } => {
                    if let Some(until) = until {
                        ready!(until.as_mut().poll(cx));
                    }
                    self.dial();
                }
                State::Dialling(dialling) => match ready!(dialling.as_mut().poll(cx)) {
                    (dialer, Ok(reached)) => self.go_live(dialer, reached),
                    (dialer, Err(error)) => return Poll::Ready(self.fail(dialer, error)),
                },
                State::Live(live) if attaching => {
                    match ready!(live.poll_attaching(&mut self.held, &mut self.replies, cx)) {
                        Ok(()) => return Poll::Ready(self.attach()),
                        Err(error) => return Poll::Ready(self.abandon(error)),
                    }
                }
                State::Live(live) => match live.poll_next() {
                    Next::Event(event, received_at) => {
                        self.held.push_back(Event::from_raw(&event, received_at))
                    }
                    Next::Reply(reply) => self.replies.push_back(reply),
                    Next::Answered(run_state) => self.answered = Some(ProbeReply { run_state }),
                    Next::Skipped => {}
                    Next::Nothing => {
                        if let Err(gone) = ready!(live.poll_read(cx)) {
                            live.ended = Some(gone);
                        }
                    }
                    Next::Ended => return Poll::Ready(self.detach()),
                },
            }
        }
    }

    fn go_live(&mut self, dialer: Dialer, reached: Reached) {
        let exchange = Exchange::new(Arc::clone(&self.mailbox));
        let timeout = self.config.snapshot_timeout;
        let live = match reached {
            Reached::Socket(socket, share) => {
                let connection =
                    Connection::new(socket, share, Arc::clone(&self.address), &self.config.connect);
                Live::new(dialer, connection, exchange, timeout)
            }
            Reached::Caller(mut caller) => {
                // They came before the VM is asked for its state, as those that a snapshot holds back.
                self.held.extend(std::mem::take(&mut caller.events));
                Live::with_caller(dialer, *caller, exchange, timeout)
            }
        };
        self.state = State::Live(Box::new(live));
    }

    /// What waits for the owner, in the order of the stream.
    fn waiting(&mut self) -> Option<Step> {
        if !self.held.is_empty() {
            return Some(Step::Events);
        }
        let reply = self.replies.pop_front().map(Step::Reply);
        reply.or_else(|| self.answered.take().map(Step::Answered))
    }

    fn dial(&mut self) {
        if let State::Resting { mut dialer, .. } = std::mem::replace(&mut self.state, State::Over) {
            let config = Arc::clone(&self.config);
            self.state = State::Dialling(Box::pin(async move {
                let reached = dialer.reach(&config.connect).await;
                (dialer, reached)
            }));
        }
    }

    fn attach(&mut self) -> Step {
        if let State::Live(live) = &mut self.state {
            let (text, greeted) = live.open(&self.address);
            if live.ended.is_none() {
                self.mailbox.open();
            }
            self.lent = Some(Box::new(Lent::Snapshot { text, version: greeted.version }));
        }
        Step::Attached
    }

    /// The connection ended before the negotiation was done. What came on it belongs to no epoch.
    fn abandon(&mut self, error: ConnectError) -> Step {
        self.held = std::collections::VecDeque::new();
        self.answered = None;
        match std::mem::replace(&mut self.state, State::Over) {
            State::Live(live) => self.fail(live.dialer, error),
            _ => unreachable!("only a live connection is abandoned"),
        }
    }

    fn fail(&mut self, dialer: Dialer, error: ConnectError) -> Step {
        let delay = if error.is_taken() {
            self.backoff.next_delay_between(TAKEN_FIRST_DELAY, TAKEN_MAX_DELAY)
        } else {
            self.backoff.next_delay()
        };
        let retry_in = dialer.can_repeat().then_some(delay);
        if let Some(delay) = retry_in {
            self.state = State::Resting { dialer, until: Some(Box::pin(sleep(delay))) };
        } else {
            self.state = State::Over;
        }
        self.lent = Some(Box::new(Lent::Error(error)));
        Step::Failed { attempt: self.backoff.attempt(), retry_in }
    }

    /// The epoch closes; replies to commands in flight come after that.
    fn detach(&mut self) -> Step {
        let State::Live(mut live) = std::mem::replace(&mut self.state, State::Over) else {
            unreachable!("only a live connection ends");
        };
        self.answered = None;
        let gone = live.ended.take().unwrap_or(Gone::PeerClosed);
        self.replies.extend(live.exchange.fail(&gone));
        let unsent = self.mailbox.detach().into_iter();
        self.replies
            .extend(unsent.map(|request| PendingReply::new(request.asker, Err(ExecuteError::NotAttached))));
        let steady = live.opened_at.is_some_and(|opened_at| opened_at.elapsed() >= STEADY);
        let until = if steady {
            self.backoff.reset();
            None
        } else {
            Some(Box::pin(sleep(self.backoff.next_delay())))
        };
        self.state = State::Resting { dialer: live.dialer, until };
        Step::Detached { reason: gone.reason(), detail: gone.to_string(), process: live.process.take() }
    }
}
