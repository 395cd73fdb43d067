//! A connection that is followed, from the greeting to its end.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use qmp_wire::{Output, RawEvent};
use serde::Deserialize;
use tokio::time::{Instant, Sleep, sleep};

use crate::caller::Caller;
use crate::commander::PendingReply;
use crate::dial::Dialer;
use crate::exchange::Exchange;
use crate::snapshot::{Greeted, Snapshot};
use crate::{Address, ConnectError, Connection, Event, Gone, Process};

/// Most bytes of events that wait for the snapshot. A VM that says more meanwhile is attached with what is known of
/// its state; one that says more before it is even in command mode is no QEMU.
pub(crate) const HELD_MAX_BYTES: usize = 4 << 20;

/// What an event costs in memory beside its name and data, in bytes: its fields and two allocations.
pub(crate) const EVENT_OVERHEAD_BYTES: usize = 112;

pub(super) struct Live {
    pub(super) dialer: Dialer,
    pub(super) exchange: Exchange,
    pub(super) opened_at: Option<Instant>,
    pub(super) ended: Option<Gone>,
    /// Whose the other end is.
    pub(super) process: Option<Process>,
    connection: Connection,
    greeted: Greeted,
    /// Present while no epoch is open.
    attaching: Option<Box<Attaching>>,
    read_at: SystemTime,
}

/// The way to the next epoch.
struct Attaching {
    snapshot: Snapshot,
    /// Runs from the moment when the VM was asked.
    timer: Option<Pin<Box<Sleep>>>,
    timeout: Duration,
    held_bytes: usize,
}

/// What [`Live::poll_next`] found.
pub(super) enum Next<'a> {
    Event(RawEvent<'a>, SystemTime),
    Reply(PendingReply),
    /// The reply to a probe, with the run state that it names.
    Answered(Option<Box<str>>),
    /// Something that concerns nobody here.
    Skipped,
    /// More is to be read first.
    Nothing,
    Ended,
}

impl Live {
    pub(super) fn new(dialer: Dialer, connection: Connection, exchange: Exchange, timeout: Duration) -> Self {
        Self {
            dialer,
            exchange,
            opened_at: None,
            ended: None,
            process: connection.process(),
            connection,
            greeted: Greeted::default(),
            attaching: Some(Box::new(Attaching::new(timeout))),
            read_at: SystemTime::now(),
        }
    }

    /// Goes on with a caller, which is in command mode.
    pub(super) fn with_caller(dialer: Dialer, caller: Caller, exchange: Exchange, timeout: Duration) -> Self {
        let mut live = Self::new(dialer, caller.connection, exchange, timeout);
        live.greeted = caller.greeted;
        if let Some(attaching) = &mut live.attaching {
            attaching.ask(&mut live.connection);
        }
        live
    }

    /// Begins the way to another epoch.
    pub(super) fn renew(&mut self, timeout: Duration) {
        if self.attaching.is_none() && self.ended.is_none() {
            let mut attaching = Box::new(Attaching::new(timeout));
            attaching.ask(&mut self.connection);
            self.attaching = Some(attaching);
        }
    }

    /// Whether an epoch is open.
    pub(super) fn is_open(&self) -> bool {
        self.attaching.is_none()
    }

    /// Ends the way to an epoch: gives the snapshot.
    pub(super) fn open(&mut self, address: &Address) -> (Box<str>, Greeted) {
        self.opened_at.get_or_insert_with(Instant::now);
        let snapshot = self.attaching.take().map(|attaching| attaching.snapshot).unwrap_or_default();
        (snapshot.finish(address, self.process.as_ref(), &self.greeted), self.greeted.clone())
    }

    /// Goes on until an epoch can open. What is for the owner waits in `held` and `replies`.
    pub(super) fn poll_attaching(
        &mut self,
        held: &mut VecDeque<Event>,
        replies: &mut VecDeque<PendingReply>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ConnectError>> {
        while !self.attaching.as_mut().is_none_or(|attaching| attaching.is_done(cx)) {
            let step = match self.attach_step(held, replies) {
                Ok(true) => Poll::Ready(Ok(())),
                Ok(false) => self.poll_read(cx),
                Err(gone) => Poll::Ready(Err(gone)),
            };
            match step {
                Poll::Pending => return Poll::Pending,
                // The VM said things in command mode, and they are to be handed out: the epoch opens, and closes.
                Poll::Ready(Err(gone)) if self.connection.is_negotiated() => {
                    self.ended = Some(gone);
                    break;
                }
                Poll::Ready(Err(gone)) => return Poll::Ready(Err(self.connection.connect_error(gone))),
                Poll::Ready(Ok(())) => {}
            }
            let flooded =
                self.attaching.as_ref().is_some_and(|attaching| attaching.held_bytes > HELD_MAX_BYTES);
            if flooded && !self.connection.is_negotiated() {
                let address = Address::clone(&self.dialer.address());
                return Poll::Ready(Err(ConnectError::Flooded { address, limit_bytes: HELD_MAX_BYTES }));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes one output on the way to an epoch; `false` if there is none.
    fn attach_step(
        &mut self,
        held: &mut VecDeque<Event>,
        replies: &mut VecDeque<PendingReply>,
    ) -> Result<bool, Gone> {
        let Some(attaching) = &mut self.attaching else { return Ok(false) };
        match self.connection.poll_output()? {
            None => return Ok(false),
            Some(Output::Greeting(greeting)) => self.greeted = Greeted::from(greeting),
            Some(Output::Negotiated { .. }) => attaching.ask(&mut self.connection),
            Some(Output::Event(event)) => {
                let event = Event::from_raw(&event, self.read_at);
                attaching.held_bytes += event.size_bytes() + EVENT_OVERHEAD_BYTES;
                held.push_back(event);
            }
            Some(Output::Reply { id, result }) => {
                if let Some(result) = attaching.snapshot.reply(id, result) {
                    replies.extend(self.exchange.reply(id, result));
                }
                attaching.snapshot.ask_again(&mut self.connection);
            }
            Some(other) => note(&other),
        }
        Ok(true)
    }

    /// The next thing for the owner, out of what was read.
    pub(super) fn poll_next(&mut self) -> Next<'_> {
        if self.ended.is_some() {
            return Next::Ended;
        }
        match self.connection.poll_output() {
            Ok(Some(Output::Event(event))) => Next::Event(event, self.read_at),
            Ok(Some(Output::Reply { id, result })) if self.exchange.take_probe(id) => {
                Next::Answered(run_state(result.ok()))
            }
            Ok(Some(Output::Reply { id, result })) => match self.exchange.reply(id, result) {
                Some(reply) => Next::Reply(reply),
                // The answer to a query of a snapshot that was closed before.
                None => Next::Skipped,
            },
            Ok(Some(other)) => {
                note(&other);
                Next::Skipped
            }
            Ok(None) => Next::Nothing,
            Err(gone) => {
                self.ended = Some(gone);
                Next::Ended
            }
        }
    }

    /// Sends commands, and reads once.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        if self.opened_at.is_some() {
            self.exchange.poll_commands(&mut self.connection, cx);
        }
        let read = self.connection.poll_drive(cx);
        if matches!(read, Poll::Ready(Ok(()))) {
            self.read_at = SystemTime::now();
        }
        read
    }
}

impl Attaching {
    fn new(timeout: Duration) -> Self {
        Self { snapshot: Snapshot::default(), timer: None, timeout, held_bytes: 0 }
    }

    fn ask(&mut self, connection: &mut Connection) {
        self.snapshot.ask(connection);
        self.timer = Some(Box::pin(sleep(self.timeout)));
    }

    fn is_done(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(timer) = &mut self.timer else { return false };
        self.snapshot.is_complete() || self.held_bytes > HELD_MAX_BYTES || timer.as_mut().poll(cx).is_ready()
    }
}

/// Leaves a trace of what concerns nobody here.
/// Returns the run state that a reply to `query-status` names.
fn run_state(returned: Option<&str>) -> Option<Box<str>> {
    #[derive(Deserialize)]
    struct Status {
        status: Box<str>,
    }
    serde_json::from_str::<Status>(returned?).ok().map(|returned| returned.status)
}

fn note(output: &Output<'_>) {
    match output {
        Output::Unattributed(error) => tracing::warn!(%error, "the VM could not read a command"),
        Output::Stray(text) => tracing::debug!(%text, "a message for nobody here"),
        _ => {}
    }
}
