//! One connection to a daemon: calls and their replies, events, keepalive.
//!
//! The machine holds no socket and no clock. Its driver passes the bytes read ([`Connection::handle_input`]), takes the
//! outputs ([`Connection::poll_output`]) until none is left, and writes the bytes to send ([`Connection::transmit`]).

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::call::{Call, Procedure, Reply};
use crate::event::Event;
use crate::frame::{Frame, FrameError, FrameReader, append_frame};
use crate::header::{FrameType, Header, Status};
use crate::keepalive::{self, Demand, KeepAlive, SILENCE_TIMEOUT};
use crate::remote_error::RemoteError;
use crate::xdr::XdrError;

/// Most calls without a reply: libvirtd takes 5 from a client, and a ping counts.
pub(crate) const CALLS_MAX: usize = 4;

/// Most commands for QEMU among them. A QEMU that hangs never replies, and other calls must go on.
pub const COMMANDS_MAX: usize = 3;

/// Most bytes of calls that wait for their turn. A host has some thousand domains, with a call each.
const WAITING_MAX_BYTES: usize = 16 << 20;

/// How long a call may go without a reply, except a command for QEMU. A daemon that starts for the first time probes QEMU before
/// it replies.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Errors that end a connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The frame boundary is lost.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame of a known kind with a wrong payload.
    #[error("{what} that is not as it must be: {error}")]
    Malformed {
        /// What was read.
        what: &'static str,
        /// What is wrong.
        error: XdrError,
    },
    /// The daemon says nothing and answers no ping.
    #[error("libvirt has been silent for {} s", SILENCE_TIMEOUT.as_secs())]
    Silent,
    /// A call has no reply.
    #[error("libvirt has not replied for {} s", CALL_TIMEOUT.as_secs())]
    NoReply,
    /// The daemon demands more calls than it replies to.
    #[error("libvirt replies too slowly: calls of {} MiB wait", WAITING_MAX_BYTES >> 20)]
    Overloaded,
    /// The daemon closed the connection.
    #[error("libvirt closed the connection")]
    Closed,
}

/// The number of a call on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(u32);

/// What a connection hands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Reply {
        call: CallId,
        result: Result<Reply, RemoteError>,
    },
    Event(Event),
    /// A frame of no known kind, or a reply to no call.
    Unknown(Header),
}

/// The state machine of a connection.
#[derive(Debug)]
pub(crate) struct Connection {
    reader: FrameReader,
    output: Vec<u8>,
    /// An answer to a ping waits in `output`: the same answer counts for every ping until it is sent.
    pong_waits: bool,
    keep_alive: KeepAlive,
    last_serial: u32,
    waiting: VecDeque<(CallId, Call)>,
    waiting_commands: VecDeque<(CallId, Call)>,
    waiting_bytes: usize,
    in_flight: BTreeMap<CallId, InFlight>,
    failed: Option<ConnectionError>,
}

#[derive(Debug)]
struct InFlight {
    procedure: Procedure,
    /// `None` for a command for QEMU, which may take any time.
    deadline: Option<Instant>,
}

impl Connection {
    /// Creates the machine of a connection made at `now`.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            reader: FrameReader::default(),
            output: Vec::new(),
            pong_waits: false,
            keep_alive: KeepAlive::new(now),
            last_serial: 0,
            waiting: VecDeque::new(),
            waiting_commands: VecDeque::new(),
            waiting_bytes: 0,
            in_flight: BTreeMap::new(),
            failed: None,
        }
    }

    /// Queues a call; at most [`CALLS_MAX`] are sent before their replies. If too many wait, the connection fails with
    /// [`ConnectionError::Overloaded`].
    pub(crate) fn call(&mut self, call: Call, now: Instant) -> CallId {
        self.last_serial = self.last_serial.checked_add(1).unwrap_or(1);
        let id = CallId(self.last_serial);
        let waiting = if call.is_command() { &mut self.waiting_commands } else { &mut self.waiting };
        self.waiting_bytes += call.held_bytes();
        waiting.push_back((id, call));
        self.send_waiting(now);
        if self.waiting_bytes > WAITING_MAX_BYTES {
            self.fail(ConnectionError::Overloaded);
        }
        id
    }

    /// Processes bytes from the daemon. Call [`poll_output`](Self::poll_output) afterwards until it returns `None`.
    pub(crate) fn handle_input(&mut self, bytes: &[u8], now: Instant) {
        if self.failed.is_none() {
            self.keep_alive.hear(now);
            self.reader.push(bytes);
        }
    }

    /// Handles the end of the stream.
    pub(crate) fn handle_end(&mut self) -> ConnectionError {
        let error = self.reader.finish().map_or_else(ConnectionError::from, |()| ConnectionError::Closed);
        self.failed.get_or_insert(error).clone()
    }

    /// Handles the passing of time; call it when [`poll_timeout`](Self::poll_timeout) is reached.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), ConnectionError> {
        if self.in_flight.values().filter_map(|call| call.deadline).any(|deadline| now >= deadline) {
            return Err(self.fail(ConnectionError::NoReply));
        }
        match self.keep_alive.check(now) {
            Demand::Nothing => Ok(()),
            // While bytes wait to be sent, the daemon does not read, and a ping would wait behind them.
            Demand::Ping if !self.output.is_empty() => Ok(()),
            Demand::Ping => {
                append_frame(&mut self.output, keepalive::ping(), &[]);
                Ok(())
            }
            Demand::Close => Err(self.fail(ConnectionError::Silent)),
        }
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout).
    pub(crate) fn poll_timeout(&self) -> Instant {
        let calls = self.in_flight.values().filter_map(|call| call.deadline);
        calls.fold(self.keep_alive.deadline(), Instant::min)
    }

    /// Returns the next output. An error ends the connection; every later call returns the same.
    pub(crate) fn poll_output(&mut self, now: Instant) -> Result<Option<Output>, ConnectionError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        loop {
            let Some(frame) =
                self.reader.next_frame().map_err(|error| fail(&mut self.failed, error.into()))?
            else {
                return Ok(None);
            };
            if let Some(demands_answer) = keepalive::recognize(frame.header) {
                if demands_answer && !self.pong_waits {
                    append_frame(&mut self.output, keepalive::pong(), &[]);
                    self.pong_waits = true;
                }
                continue;
            }
            let output = read(frame, &mut self.in_flight).map_err(|error| fail(&mut self.failed, error))?;
            self.send_waiting(now);
            return Ok(Some(output));
        }
    }

    /// Returns the bytes to send to the daemon; report the sent ones to [`consume_transmit`](Self::consume_transmit).
    pub(crate) fn transmit(&self) -> &[u8] {
        &self.output
    }

    /// Removes the first `sent_bytes` of [`transmit`](Self::transmit).
    pub(crate) fn consume_transmit(&mut self, sent_bytes: usize) {
        self.output.drain(..sent_bytes);
        self.pong_waits &= !self.output.is_empty();
    }

    /// Returns when the daemon last sent anything.
    pub(crate) fn heard_at(&self) -> Instant {
        self.keep_alive.heard_at()
    }

    /// Returns the bytes of memory that grow with what the daemon sends.
    pub(crate) fn held_bytes(&self) -> usize {
        self.reader.held_bytes() + self.output.capacity() + self.waiting_bytes
    }

    fn send_waiting(&mut self, now: Instant) {
        while self.in_flight.len() < CALLS_MAX {
            let Some((id, call)) = self.waiting.pop_front().or_else(|| self.next_command()) else { return };
            self.waiting_bytes -= call.held_bytes();
            let procedure = call.procedure();
            let header = Header::new(procedure.program, procedure.number, FrameType::Call, id.0);
            append_frame(&mut self.output, header, &call.payload());
            let deadline = (!call.is_command()).then_some(now + CALL_TIMEOUT);
            self.in_flight.insert(id, InFlight { procedure, deadline });
        }
    }

    fn next_command(&mut self) -> Option<(CallId, Call)> {
        let commands = self.in_flight.values().filter(|call| call.deadline.is_none()).count();
        if commands < COMMANDS_MAX { self.waiting_commands.pop_front() } else { None }
    }

    fn fail(&mut self, error: ConnectionError) -> ConnectionError {
        fail(&mut self.failed, error)
    }
}

fn fail(failed: &mut Option<ConnectionError>, error: ConnectionError) -> ConnectionError {
    failed.get_or_insert(error).clone()
}

/// Reads a frame that is not keepalive.
fn read(
    Frame { header, payload }: Frame<'_>,
    in_flight: &mut BTreeMap<CallId, InFlight>,
) -> Result<Output, ConnectionError> {
    let malformed = |what| move |error| ConnectionError::Malformed { what, error };
    let call = CallId(header.serial);
    let is_reply = |sent: &InFlight| {
        header.frame_type == FrameType::Reply
            && (header.program, header.procedure) == (sent.procedure.program, sent.procedure.number)
            && matches!(header.status, Status::Ok | Status::Error)
    };
    // libvirtd repeats program and procedure of the call.
    if in_flight.get(&call).is_some_and(is_reply) {
        let procedure = in_flight.remove(&call).map(|sent| sent.procedure);
        let procedure = procedure.expect("looked up before");
        let result = match header.status {
            Status::Error => Err(RemoteError::decode(payload).map_err(malformed("an error"))?),
            _ => Ok(procedure.decode(payload).map_err(malformed("a reply"))?),
        };
        return Ok(Output::Reply { call, result });
    }
    let event = Event::decode(header, payload).map_err(malformed("an event"))?;
    Ok(event.map_or(Output::Unknown(header), Output::Event))
}
