//! One connection of a follower, from the greeting to its end.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use qmp_wire::{Address, ClientOutput, RawEvent};
use serde::Deserialize;
use tokio::time::{Instant, Sleep, sleep};

use crate::close_reason::CloseReason;
use crate::commander::PendingReply;
use crate::connect_error::ConnectError;
use crate::connection::Connection;
use crate::dial::Dialer;
use crate::events::ReceivedEvent;
use crate::exchange::Exchange;
use crate::incoming::IncomingMonitor;
use crate::limits::{EVENT_OVERHEAD_BYTES, HELD_MAX_BYTES};
use crate::log;
use crate::peer_process::PeerProcess;
use crate::snapshot::{GreetingInfo, Snapshot};

pub(super) struct Session {
    pub(super) dialer: Dialer,
    pub(super) exchange: Exchange,
    pub(super) opened_at: Option<Instant>,
    pub(super) ended: Option<CloseReason>,
    /// The process at the other end.
    pub(super) process: Option<PeerProcess>,
    connection: Connection,
    greeting: GreetingInfo,
    /// The progress to the next epoch; `None` while an epoch is open.
    attaching: Option<Box<AttachProgress>>,
    read_at: SystemTime,
}

/// The progress to the next epoch.
struct AttachProgress {
    snapshot: Snapshot,
    /// Runs from the moment at which the queries were sent.
    timer: Option<Pin<Box<Sleep>>>,
    timeout: Duration,
    held_bytes: usize,
}

/// The result of [`Session::poll_next`].
pub(super) enum Next<'a> {
    Event(RawEvent<'a>, SystemTime),
    Reply(PendingReply),
    ProbeAnswered(ProbeReply),
    /// A message that is not for the owner.
    Skipped,
    /// No message is left: read first.
    Nothing,
    Ended,
}

/// A reply to a probe.
#[derive(Debug)]
pub(super) struct ProbeReply {
    /// The run state that it names; `None` if it is an error.
    pub(super) run_state: Option<Box<str>>,
}

impl Session {
    pub(super) fn new(dialer: Dialer, connection: Connection, exchange: Exchange, timeout: Duration) -> Self {
        Self {
            dialer,
            exchange,
            opened_at: None,
            ended: None,
            process: connection.process(),
            connection,
            greeting: GreetingInfo::default(),
            attaching: Some(Box::new(AttachProgress::new(timeout))),
            read_at: SystemTime::now(),
        }
    }

    /// Continues with a monitor that dialled in and is in command mode.
    pub(super) fn with_incoming(
        dialer: Dialer,
        monitor: IncomingMonitor,
        exchange: Exchange,
        timeout: Duration,
    ) -> Self {
        let mut session = Self::new(dialer, monitor.connection, exchange, timeout);
        session.greeting = monitor.greeting;
        if let Some(attaching) = &mut session.attaching {
            attaching.send_queries(&mut session.connection);
        }
        session
    }

    /// Begins another epoch, if one is open.
    pub(super) fn renew(&mut self, timeout: Duration) {
        if self.attaching.is_none() && self.ended.is_none() {
            let mut attaching = Box::new(AttachProgress::new(timeout));
            attaching.send_queries(&mut self.connection);
            self.attaching = Some(attaching);
        }
    }

    /// Whether an epoch is open.
    pub(super) fn is_open(&self) -> bool {
        self.attaching.is_none()
    }

    /// Opens the epoch: returns the snapshot.
    pub(super) fn open(&mut self, address: &Address) -> (Box<str>, GreetingInfo) {
        self.opened_at.get_or_insert_with(Instant::now);
        let snapshot = self.attaching.take().map(|attaching| attaching.snapshot).unwrap_or_default();
        (snapshot.finish(address, self.process.as_ref(), &self.greeting), self.greeting.clone())
    }

    /// Reads until an epoch can open. Events and replies for the owner are added to `held` and `replies`.
    pub(super) fn poll_attaching(
        &mut self,
        held: &mut VecDeque<ReceivedEvent>,
        replies: &mut VecDeque<PendingReply>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ConnectError>> {
        while !self.attaching.as_mut().is_none_or(|attaching| attaching.is_done(cx)) {
            let step = match self.attach_step(held, replies) {
                Ok(true) => Poll::Ready(Ok(())),
                Ok(false) => self.poll_read(cx),
                Err(reason) => Poll::Ready(Err(reason)),
            };
            match step {
                Poll::Pending => return Poll::Pending,
                // The VM sent messages in command mode, which the owner must get: the epoch opens, and closes.
                Poll::Ready(Err(reason)) if self.connection.is_negotiated() => {
                    self.ended = Some(reason);
                    break;
                }
                Poll::Ready(Err(reason)) => return Poll::Ready(Err(self.connection.connect_error(reason))),
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

    /// Processes one message before the epoch is open; `false` if there is none.
    fn attach_step(
        &mut self,
        held: &mut VecDeque<ReceivedEvent>,
        replies: &mut VecDeque<PendingReply>,
    ) -> Result<bool, CloseReason> {
        let Some(attaching) = &mut self.attaching else { return Ok(false) };
        match self.connection.poll_output()? {
            None => return Ok(false),
            Some(ClientOutput::Greeting(greeting)) => self.greeting = GreetingInfo::from(greeting),
            Some(ClientOutput::Negotiated { .. }) => attaching.send_queries(&mut self.connection),
            Some(ClientOutput::Event(event)) => {
                let event = ReceivedEvent::from_raw(&event, self.read_at);
                attaching.held_bytes += event.size_bytes() + EVENT_OVERHEAD_BYTES;
                held.push_back(event);
            }
            Some(ClientOutput::Reply { id, result }) => {
                if let Some(result) = attaching.snapshot.reply(id, result) {
                    replies.extend(self.exchange.reply(id, result));
                }
                attaching.snapshot.send_fallback(&mut self.connection);
            }
            Some(other) => log_discarded(&other),
        }
        Ok(true)
    }

    /// The next message that was read already.
    pub(super) fn poll_next(&mut self) -> Next<'_> {
        if self.ended.is_some() {
            return Next::Ended;
        }
        match self.connection.poll_output() {
            Ok(Some(ClientOutput::Event(event))) => Next::Event(event, self.read_at),
            Ok(Some(ClientOutput::Reply { id, result })) if self.exchange.take_probe(id) => {
                Next::ProbeAnswered(ProbeReply { run_state: run_state(result.ok()) })
            }
            Ok(Some(ClientOutput::Reply { id, result })) => match self.exchange.reply(id, result) {
                Some(reply) => Next::Reply(reply),
                // The reply to a query of a snapshot that is complete without it.
                None => Next::Skipped,
            },
            Ok(Some(other)) => {
                log_discarded(&other);
                Next::Skipped
            }
            Ok(None) => Next::Nothing,
            Err(reason) => {
                self.ended = Some(reason);
                Next::Ended
            }
        }
    }

    /// Sends commands, and reads once.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
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

impl AttachProgress {
    fn new(timeout: Duration) -> Self {
        Self { snapshot: Snapshot::default(), timer: None, timeout, held_bytes: 0 }
    }

    fn send_queries(&mut self, connection: &mut Connection) {
        self.snapshot.send_queries(connection);
        self.timer = Some(Box::pin(sleep(self.timeout)));
    }

    fn is_done(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(timer) = &mut self.timer else { return false };
        self.snapshot.is_complete() || self.held_bytes > HELD_MAX_BYTES || timer.as_mut().poll(cx).is_ready()
    }
}

/// The run state that a reply to `query-status` names.
fn run_state(returned: Option<&str>) -> Option<Box<str>> {
    #[derive(Deserialize)]
    struct Status {
        status: Box<str>,
    }
    serde_json::from_str::<Status>(returned?).ok().map(|returned| returned.status)
}

/// Logs a message that is discarded.
fn log_discarded(output: &ClientOutput<'_>) {
    match output {
        ClientOutput::Unattributed(error) => log::unparsed_command(error),
        ClientOutput::Stray(text) => log::stray_message(text),
        _ => {}
    }
}
