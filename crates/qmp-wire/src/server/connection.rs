//! One connection of a monitor.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::negotiation::{Mode, NegotiationResult};
use super::profile::Profile;
use super::reply::{self, Refusal};
use super::request::Request;
use crate::dialect::{Input, InputError, Value};

/// Maximum number of in-band requests of one connection that wait while out-of-band execution is enabled.
///
/// Source: measured on QEMU 7.2 and 11.1: with one running and seven waiting QEMU reads on, with the eighth it
/// stops.
pub const QUEUE_MAX_REQUESTS: usize = 8;

/// Maximum number of requests of one connection that run; no further ones are read until one has its reply.
///
/// A QEMU runs one in-band and one out-of-band request at a time: only an embedder that replies later has more.
pub const RUNNING_MAX_REQUESTS: usize = 1024;

/// Maximum length of an incomplete message kept for a successor, in bytes; a connection with a longer one cannot be
/// continued.
pub const PARTIAL_MAX_BYTES: usize = 64 << 10;

/// The state of a connection between two requests, for a successor that continues it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerState {
    /// Whether negotiation is done.
    pub negotiated: bool,
    /// Whether out-of-band execution is enabled.
    pub out_of_band: bool,
    /// Bytes of an incomplete message.
    pub input: Vec<u8>,
    /// The line of the stream at which they begin, for error texts.
    pub line: u64,
    /// The column of the stream at which they begin.
    pub column: u64,
}

/// Identifies a request of one connection that has no reply yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(u64);

/// The server's side of one connection.
#[derive(Debug)]
pub struct Server {
    profile: Arc<Profile>,
    input: Input,
    /// Received bytes that are not read yet, because no more requests are accepted at the moment.
    unread: Vec<u8>,
    /// Number of bytes of `unread` already read.
    read: usize,
    mode: Mode,
    queued: VecDeque<QueuedRequest>,
    urgent: VecDeque<(RequestId, Request)>,
    running: BTreeMap<RequestId, RunningRequest>,
    /// The in-band request among the running ones.
    in_band: Option<RequestId>,
    next_id: u64,
    output: Vec<u8>,
    /// The incomplete message; `None` if it cannot be read again.
    partial: Option<PartialMessage>,
}

#[derive(Debug)]
struct PartialMessage {
    bytes: Vec<u8>,
    line: u64,
    column: u64,
}

/// A request, or its refusal, that waits for its turn.
#[derive(Debug)]
struct QueuedRequest {
    id: Option<Value>,
    request: Result<Request, Refusal>,
}

#[derive(Debug)]
struct RunningRequest {
    id: Option<Value>,
}

impl Server {
    /// Creates the server's side of a new connection; the greeting is in [`output`](Self::output).
    #[must_use]
    pub fn new(profile: Arc<Profile>) -> Self {
        let greeting = profile.greeting();
        Self::greeting_with(profile, &greeting)
    }

    /// Like [`new`](Self::new), with the greeting of another server, which may contain more than a profile does.
    #[must_use]
    pub fn greeting_with(profile: Arc<Profile>, greeting: &Value) -> Self {
        let mut server = Self {
            input: Input::new(profile.error_texts()),
            unread: Vec::new(),
            read: 0,
            mode: Mode::Negotiation,
            queued: VecDeque::new(),
            urgent: VecDeque::new(),
            running: BTreeMap::new(),
            in_band: None,
            next_id: 0,
            output: Vec::new(),
            partial: Some(PartialMessage { bytes: Vec::new(), line: 1, column: 0 }),
            profile,
        };
        server.append_message(greeting);
        server
    }

    /// Continues a connection where another process stopped; sends nothing.
    #[must_use]
    pub fn resume(profile: Arc<Profile>, state: &ServerState) -> Self {
        let texts = profile.error_texts();
        let mut server = Self::new(profile);
        server.output.clear();
        server.input = Input::resume(texts, state.line, state.column);
        server.partial = Some(PartialMessage { bytes: Vec::new(), line: state.line, column: state.column });
        if state.negotiated {
            server.mode = Mode::Command { out_of_band: state.out_of_band };
        }
        server.unread.extend_from_slice(&state.input);
        server
    }

    /// Returns the state of the connection, for [`resume`](Self::resume).
    ///
    /// `None` if a request waits or runs, if output waits, or if the incomplete message is longer than
    /// [`PARTIAL_MAX_BYTES`].
    #[must_use]
    pub fn suspend(&self) -> Option<ServerState> {
        if self.is_busy() || !self.unread.is_empty() || !self.output.is_empty() {
            return None;
        }
        let PartialMessage { bytes, line, column } = self.partial.as_ref()?;
        let out_of_band = self.mode == Mode::Command { out_of_band: true };
        let (negotiated, input) = (self.in_command_mode(), bytes.clone());
        Some(ServerState { negotiated, out_of_band, input, line: *line, column: *column })
    }

    /// Refuses all handed-out requests without a reply.
    pub fn refuse_running(&mut self, refusal: impl Fn() -> Refusal) {
        while let Some(request) = self.unanswered() {
            self.reply(request, Err(refusal()));
        }
    }

    /// Processes received bytes. Call [`poll_request`](Self::poll_request) afterwards until it returns `None`.
    pub fn handle_input(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// Returns whether more bytes can be processed; otherwise a QEMU leaves them in the socket.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.unread.is_empty()
    }

    /// Returns whether events are delivered: negotiation is done.
    #[must_use]
    pub fn in_command_mode(&self) -> bool {
        self.mode != Mode::Negotiation
    }

    /// Returns the next request to run. Hands out one in-band request at a time; out-of-band ones at once.
    pub fn poll_request(&mut self) -> Option<(RequestId, Request)> {
        loop {
            self.take_in();
            if let Some(urgent) = self.urgent.pop_front() {
                return Some(urgent);
            }
            if self.in_band.is_some() {
                return None;
            }
            let QueuedRequest { id, request } = self.queued.pop_front()?;
            match request.and_then(|request| self.mode.negotiate(request, self.profile.out_of_band)) {
                Ok(NegotiationResult::Done) => self.send_reply(id, Ok(Value::Object(Default::default()))),
                Ok(NegotiationResult::Not(request)) => return Some((self.start(id, false), request)),
                Err(refusal) => self.send_reply(id, Err(refusal)),
            }
        }
    }

    /// Replies to a request that [`poll_request`](Self::poll_request) handed out.
    ///
    /// # Panics
    ///
    /// If the request already has a reply.
    pub fn reply(&mut self, request: RequestId, result: Result<Value, Refusal>) {
        let running = self.finish(request);
        self.send_reply(running.id, result);
    }

    /// Like [`reply`](Self::reply), with a value that is already text: one JSON value, in the form of the profile
    /// if that is compact.
    ///
    /// # Panics
    ///
    /// If the request already has a reply.
    pub fn reply_text(&mut self, request: RequestId, value: &[u8]) {
        if self.profile.pretty {
            return self.reply(request, Ok(Value::read_printed(value)));
        }
        let running = self.finish(request);
        self.output.extend_from_slice(b"{\"return\": ");
        self.output.extend_from_slice(value);
        if let Some(id) = running.id {
            self.output.extend_from_slice(b", \"id\": ");
            id.print(false, &mut self.output);
        }
        self.output.extend_from_slice(b"}\r\n");
    }

    /// Replies with the error of another server, whose class is not restricted.
    ///
    /// # Panics
    ///
    /// If the request already has a reply.
    pub fn reply_error(&mut self, request: RequestId, class: &str, desc: &str) {
        let running = self.finish(request);
        self.append_message(&reply::error_message(running.id, class, desc.to_owned()));
    }

    /// Completes a request without a reply, such as a successful one that QEMU does not reply to.
    ///
    /// # Panics
    ///
    /// If the request already has a reply.
    pub fn forget(&mut self, request: RequestId) {
        self.finish(request);
    }

    /// Returns the oldest request that was handed out and has no reply.
    #[must_use]
    pub fn unanswered(&self) -> Option<RequestId> {
        self.running.first_key_value().map(|(request, _)| *request)
    }

    /// Returns whether a request waits or runs.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !(self.running.is_empty() && self.queued.is_empty() && self.urgent.is_empty())
    }

    /// Appends a message that is no reply, such as an event: whole, in the form of the profile, without line end.
    ///
    /// Does nothing before negotiation is done: earlier events are not delivered.
    pub fn send(&mut self, message: &[u8]) {
        if self.in_command_mode() {
            self.line(message);
        }
    }

    /// Returns the bytes to send; report the sent ones to [`consume_output`](Self::consume_output).
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// Removes the first `sent_bytes` of [`output`](Self::output).
    pub fn consume_output(&mut self, sent_bytes: usize) {
        self.output.drain(..sent_bytes);
        if self.output.is_empty() {
            self.output = Vec::new();
        }
    }

    /// Reads until a request is complete, or enough requests wait.
    fn take_in(&mut self) {
        while self.has_room() {
            if let Some(item) = self.input.poll() {
                self.sort(item);
            } else if self.read < self.unread.len() {
                // Stop at the end of each message: its effect can change how the next one is read.
                let fed = self.input.feed_until_done(&self.unread[self.read..]);
                self.keep_partial(self.read..self.read + fed);
                self.read += fed;
            } else {
                break;
            }
        }
        self.forget_read();
    }

    /// Keeps read bytes until their message has ended.
    fn keep_partial(&mut self, read: std::ops::Range<usize>) {
        if let Some((line, column)) = self.input.position_between_messages() {
            let mut bytes = self.partial.take().map(|partial| partial.bytes).unwrap_or_default();
            bytes.clear();
            bytes.shrink_to(1024);
            self.partial = Some(PartialMessage { bytes, line, column });
        } else if self.input.has_item() {
            // The rest of a message after an error is skipped, which a successor could not know.
            self.partial = None;
        } else if let Some(partial) = &mut self.partial {
            if partial.bytes.len() + read.len() > PARTIAL_MAX_BYTES {
                self.partial = None;
            } else {
                partial.bytes.extend_from_slice(&self.unread[read]);
            }
        }
    }

    fn forget_read(&mut self) {
        if self.read == self.unread.len() {
            self.unread = Vec::new();
            self.read = 0;
        } else if self.read > self.unread.len() / 2 {
            self.unread.drain(..self.read);
            self.read = 0;
        }
    }

    fn has_room(&self) -> bool {
        match self.mode {
            Mode::Command { out_of_band: true } => {
                self.queued.len() < QUEUE_MAX_REQUESTS && self.running.len() < RUNNING_MAX_REQUESTS
            }
            _ => self.queued.is_empty() && self.running.is_empty(),
        }
    }

    fn sort(&mut self, item: Result<Value, InputError>) {
        let enabled = self.mode == Mode::Command { out_of_band: true };
        let (id, request, urgent) = match item {
            Err(error) => (None, Err(Refusal::from(error)), false),
            Ok(value) => {
                let urgent = enabled && is_out_of_band(&value);
                let (id, request) = Request::read(value, enabled);
                (id, request, urgent)
            }
        };
        match request {
            Ok(request) if urgent => {
                let started = self.start(id, true);
                self.urgent.push_back((started, request));
            }
            Err(refusal) if urgent => self.send_reply(id, Err(refusal)),
            request => self.queued.push_back(QueuedRequest { id, request }),
        }
    }

    fn start(&mut self, id: Option<Value>, out_of_band: bool) -> RequestId {
        let request = RequestId(self.next_id);
        self.next_id += 1;
        self.running.insert(request, RunningRequest { id });
        if !out_of_band {
            self.in_band = Some(request);
        }
        request
    }

    fn finish(&mut self, request: RequestId) -> RunningRequest {
        self.in_band.take_if(|in_band| *in_band == request);
        self.running.remove(&request).expect("a request gets one reply")
    }

    fn send_reply(&mut self, id: Option<Value>, result: Result<Value, Refusal>) {
        self.append_message(&reply::message(id, result));
    }

    fn append_message(&mut self, message: &Value) {
        let mut text = Vec::new();
        message.print(self.profile.pretty, &mut text);
        self.line(&text);
    }

    /// Appends a message with CR LF for each LF.
    fn line(&mut self, message: &[u8]) {
        for line in message.split(|byte| *byte == b'\n') {
            self.output.extend_from_slice(line);
            self.output.extend_from_slice(b"\r\n");
        }
    }
}

/// Returns whether a value requests out-of-band execution; with `execute` in it, the value is refused in its turn.
fn is_out_of_band(value: &Value) -> bool {
    let Value::Object(members) = value else { return false };
    members.get("exec-oob").is_some() && members.get("execute").is_none()
}
