//! The state of one client of a relay: its requests, its output, its replay. Holds no socket.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Buf, Bytes};
use qmp_client::{ExecuteError, ForwardedCommand, ReplySink};
use qmp_host::reader_memory::Portion;
use qmp_wire::dialect::Value;
use qmp_wire::server::{Refusal, Request, RequestId, Server};
use qmp_wire::{Offset, has_memory};

use super::connected::ConnectedClient;
use super::greeted::VmGreeting;
use super::outbox::{Item, Outbox};
use super::replay::{self, Replay};
use super::shared::Relay;
use super::socket::ReadResult;
use super::{encode, refusal};
use crate::audit::Audit;
use crate::commands::InFlightGuard;
use crate::role::{REPLAY_COMMAND, only_asks};

/// How much is taken out of the outbox before the socket accepts it, in bytes; with as much unread, no command is run.
const OUTPUT_AHEAD_BYTES: usize = 64 << 10;

/// How much is read while a command runs, in bytes, so that the end of a client is noticed.
const INPUT_AHEAD_BYTES: usize = 64 << 10;

/// Commands with descriptors. Source: QEMU's schema, `qapi/misc.json`.
const TAKE_DESCRIPTORS: [&str; 2] = ["getfd", "add-fd"];

/// One client, from its greeting to its end.
pub(super) struct ClientSession {
    pub(super) relay: Arc<Relay>,
    client: Arc<ConnectedClient>,
    server: Server,
    pub(super) outbox: Arc<Outbox>,
    /// Everything up to here was sent to this client, or was committed before it negotiated.
    position: Offset,
    output: VecDeque<Bytes>,
    output_bytes: usize,
    input: Vec<u8>,
    /// Bytes that the server machine was given since its last request or output.
    unfinished_bytes: usize,
    descriptors: Vec<OwnedFd>,
    pub(super) replay: Option<Replay>,
    no_more_input: bool,
    ending: bool,
}

/// Delivers the reply to one command.
#[derive(Debug)]
struct Reply {
    outbox: Arc<Outbox>,
    request: RequestId,
    audit: Option<Audit>,
    _in_flight: InFlightGuard,
}

impl Reply {
    fn end(self, result: Result<Box<str>, ExecuteError>, journaled: bool) {
        if let Some(audit) = self.audit {
            audit.end(&result, journaled);
        }
        self.outbox.reply(self.request, result);
    }
}

impl ReplySink for Reply {
    fn is_cancelled(&self) -> bool {
        self.outbox.has_left()
    }

    fn deliver(self: Box<Self>, result: Result<Box<str>, ExecuteError>) {
        self.end(result, true);
    }

    fn deliver_early(self: Box<Self>, result: Result<Box<str>, ExecuteError>) {
        self.outbox.add_early();
        self.end(result, false);
    }
}

impl ClientSession {
    pub(super) fn new(
        relay: Arc<Relay>,
        client: Arc<ConnectedClient>,
        outbox: Arc<Outbox>,
        (greeted, position): (Arc<VmGreeting>, Offset),
    ) -> Self {
        let profile = Arc::new(greeted.profile(relay.config.pretty));
        let server = Server::greeting_with(profile, &greeted.greeting);
        Self {
            relay,
            client,
            server,
            outbox,
            position,
            output: VecDeque::new(),
            output_bytes: 0,
            input: Vec::new(),
            unfinished_bytes: 0,
            descriptors: Vec::new(),
            replay: None,
            no_more_input: false,
            ending: false,
        }
    }

    /// Takes items out of the outbox, in order, while the output has room.
    pub(super) fn take_items(&mut self) {
        while self.has_room() && self.replay.is_none() && !self.ending {
            match self.outbox.next() {
                Some(Item::Events { lines, upto }) => {
                    self.position = upto;
                    if self.server.in_command_mode() {
                        self.push(lines);
                    }
                }
                Some(Item::Reply { request, result, memory }) => self.reply(request, result, memory),
                Some(Item::End { why }) => self.end(why),
                None => break,
            }
        }
    }

    fn reply(&mut self, request: RequestId, result: Result<Box<str>, ExecuteError>, memory: Option<Portion>) {
        match result {
            // Several lines: the hub's own monitor is pretty-printed.
            Ok(value) if !encode::is_one_line(&value) => {
                self.server.reply(request, Ok(Value::read_printed(value.as_bytes())));
            }
            Ok(value) => self.server.reply_text(request, value.as_bytes()),
            Err(error) => match refusal::of(&error) {
                Some((class, desc)) => self.server.reply_error(request, &class, &desc),
                None => {
                    self.server.reply_error(request, "GenericError", &refusal::no_reply(&error));
                    self.end("the VM is away");
                }
            },
        }
        self.push_charged_output(memory);
    }

    /// The VM detached or the relay ends: every request gets an error, and then the connection is closed.
    fn end(&mut self, why: &str) {
        let desc = refusal::no_reply(&why);
        loop {
            let request =
                self.server.unanswered().or_else(|| self.server.poll_request().map(|(request, _)| request));
            let Some(request) = request else { break };
            self.server.reply_error(request, "GenericError", &desc);
        }
        self.push_server_output();
        self.ending = true;
    }

    /// Runs the next request of a client that reads its output. Returns whether another one may follow at once.
    pub(super) fn run_next_request(&mut self) -> bool {
        if !self.has_room() || self.ending {
            return false;
        }
        if self.server.wants_input() && !self.input.is_empty() {
            let input = std::mem::take(&mut self.input);
            self.feed(&input);
        }
        let Some((request, what)) = self.server.poll_request() else {
            self.push_server_output();
            if self.server.wants_input() && !self.input.is_empty() {
                return true;
            }
            self.end_if_too_long();
            return false;
        };
        self.unfinished_bytes = 0;
        self.run_request(request, &what);
        true
    }

    /// Takes bytes and descriptors from the client.
    pub(super) fn receive(&mut self, received: ReadResult) {
        self.no_more_input |= received.bytes.is_empty();
        if !received.descriptors.is_empty() {
            // As in QEMU, later descriptors replace those that no command used.
            self.descriptors = received.descriptors;
        }
        if self.input.is_empty() && self.server.wants_input() {
            self.feed(&received.bytes);
        } else {
            self.input.extend_from_slice(&received.bytes);
        }
    }

    /// Removes output that the socket accepted.
    pub(super) fn sent(&mut self, mut sent_bytes: usize) {
        self.output_bytes -= sent_bytes;
        self.outbox.recipient.note(true, self.output_bytes > 0 || !self.outbox.is_empty());
        while let Some(first) = self.output.front_mut() {
            if sent_bytes < first.len() {
                first.advance(sent_bytes);
                return;
            }
            sent_bytes -= first.len();
            self.output.pop_front();
        }
    }

    /// Ends a replay that has no more events.
    pub(super) fn end_replay(&mut self) {
        let Some(replay) = self.replay.take() else { return };
        let (lines, value) = replay.end();
        self.push(lines.into());
        self.server.reply(replay.request, Ok(value));
        self.push_server_output();
    }

    /// Whether the connection must be closed when the client has read its output.
    pub(super) const fn is_ending(&self) -> bool {
        self.ending
    }

    /// Whether the client sends no more, and got every reply.
    pub(super) fn is_done(&self) -> bool {
        self.no_more_input && self.output.is_empty() && !self.server.is_busy()
    }

    /// Whether more can be done before the client reads.
    pub(super) fn has_more(&self) -> bool {
        self.has_room() && (self.replay.is_some() || !self.outbox.is_empty())
    }

    /// Whether there is room for more output.
    pub(super) const fn has_room(&self) -> bool {
        self.output_bytes < OUTPUT_AHEAD_BYTES
    }

    /// Whether more must be read from the client.
    pub(super) fn wants_input(&self) -> bool {
        // Descriptors belong to the command in the same message: it must take them before more are read.
        let holds_descriptors = !self.descriptors.is_empty() && self.server.is_busy();
        !self.no_more_input && self.input.len() < INPUT_AHEAD_BYTES && !holds_descriptors
    }

    /// The output that the client has not read.
    pub(super) const fn output(&self) -> &VecDeque<Bytes> {
        &self.output
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.unfinished_bytes += bytes.len();
        self.server.handle_input(bytes);
    }

    /// Closes the connection of a client whose message is longer than any that could be forwarded.
    fn end_if_too_long(&mut self) {
        let max_bytes = self.relay.config.role.message_max_bytes();
        let desc = if self.unfinished_bytes > max_bytes {
            format!("A message may have {max_bytes} bytes at this relay, which closes this connection")
        } else if self.unfinished_bytes > INPUT_AHEAD_BYTES && !has_memory(self.unfinished_bytes) {
            let bytes = self.unfinished_bytes;
            tracing::warn!(vm = %self.relay.line.vm, bytes, "a client of a relay was closed: no memory for its message");
            "This relay has no memory for the message, and closes this connection".to_owned()
        } else {
            return;
        };
        self.relay.counters.refused.fetch_add(1, Ordering::Relaxed);
        self.push(refusal::without_request(&desc).into());
        self.ending = true;
    }

    fn run_request(&mut self, request: RequestId, what: &Request) {
        let counters = &self.relay.counters;
        if let Some(desc) = self.relay.config.role.refusal(&what.command) {
            counters.refused.fetch_add(1, Ordering::Relaxed);
            return self.server.reply(request, Err(Refusal::generic(desc)));
        }
        if what.command == REPLAY_COMMAND {
            return self.begin_replay(request, what);
        }
        let mut arguments = Vec::new();
        if !what.arguments.is_empty() {
            Value::Object(what.arguments.clone()).print(false, &mut arguments);
        }
        // The printer writes ASCII.
        let arguments = String::from_utf8(arguments).unwrap_or_default();
        let arguments = (!arguments.is_empty()).then_some(&*arguments);
        let bytes = what.command.len() + arguments.map_or(0, str::len);
        if let Some(desc) = self.relay.config.role.refusal_of_length(bytes) {
            counters.refused.fetch_add(1, Ordering::Relaxed);
            return self.server.reply(request, Err(Refusal::generic(desc)));
        }
        let takes = TAKE_DESCRIPTORS.contains(&&*what.command);
        let descriptors = if takes { std::mem::take(&mut self.descriptors) } else { Vec::new() };
        let audit = (!only_asks(&what.command)).then(|| {
            Audit::begin(
                &self.relay.appender,
                &self.relay.line.vm,
                &self.client.identity,
                &what.command,
                arguments,
            )
        });
        counters.commands.fetch_add(1, Ordering::Relaxed);
        self.client.count_command();
        let passed = ForwardedCommand {
            command: &what.command,
            arguments,
            out_of_band: what.out_of_band,
            descriptors,
        };
        let in_flight = self.relay.commands.begin(&what.command, &self.client.identity);
        let asker =
            Box::new(Reply { outbox: Arc::clone(&self.outbox), request, audit, _in_flight: in_flight });
        if let Err(error) = self.relay.commander.forward(passed, asker) {
            self.reply(request, Err(error), None);
        }
    }

    fn begin_replay(&mut self, request: RequestId, what: &Request) {
        // The replay reads the same file and will report the error.
        let head = self.relay.replays.reader.head().unwrap_or(self.position).max(self.position);
        match replay::after(&what.arguments, head) {
            Err(refusal) => self.server.reply(request, Err(refusal)),
            Ok(_) if self.replay.is_some() => {
                self.server.reply(request, Err(Refusal::generic("Another x-replay is under way")));
            }
            Ok(after) => {
                let (relay, span) = (&self.relay, (after, self.position));
                let (replay, lines) =
                    Replay::begin(&relay.replays, &relay.line.vm, request, span, relay.config.pretty);
                self.push_server_output();
                self.push(lines.into());
                self.replay = Some(replay);
            }
        }
    }

    pub(super) fn push_server_output(&mut self) {
        self.push_charged_output(None);
    }

    /// As [`Self::push_server_output`], for a reply that takes memory of all readers.
    fn push_charged_output(&mut self, memory: Option<Portion>) {
        let output = self.server.output();
        if !output.is_empty() {
            let output = output.to_vec();
            self.server.consume_output(output.len());
            self.unfinished_bytes = 0;
            self.push(match memory {
                Some(memory) => Bytes::from_owner(memory.of(output)),
                None => output.into(),
            });
        }
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        self.outbox.recipient.note(false, true);
        self.output_bytes += bytes.len();
        self.output.push_back(bytes);
    }
}
