//! The client state machine.

use std::time::Instant;

use super::commands::{Commands, Lane};
use super::config::{ClientConfig, ClientError, ClientOutput, CommandId};
use crate::frame::FrameReader;
use crate::frame_error::FrameError;
use crate::json::Members;
use crate::message::{CommandError, Greeting, Message};

/// Maximum length of the peer's first bytes in the error message, in bytes: one line of a terminal.
const BEGINNING_MAX_BYTES: usize = 80;

/// The client state machine. Holds no socket and no clock.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    /// `None` for a timeout beyond the range of the clock, which is never reached.
    deadline: Option<Instant>,
    reader: FrameReader,
    session: Session,
    failed: Option<ClientError>,
}

/// The state of the conversation, apart from its bytes.
#[derive(Debug)]
struct Session {
    want_out_of_band: bool,
    phase: Phase,
    commands: Commands,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Only the greeting may follow.
    Connected,
    /// The command `number` is `qmp_capabilities`, without a reply yet.
    Negotiating { number: u64, out_of_band: bool },
    /// The server needs no negotiation, which is not yet reported.
    Exempt,
    /// Command mode.
    Open,
}

impl Client {
    /// Creates a client at the start of a connection made at `now`.
    #[must_use]
    pub fn new(config: ClientConfig, now: Instant) -> Self {
        Self {
            deadline: now.checked_add(config.negotiation_timeout),
            reader: FrameReader::new(config.frame_max_bytes),
            session: Session {
                want_out_of_band: config.out_of_band,
                phase: Phase::Connected,
                commands: Commands::new(config.connection_nonce),
            },
            failed: None,
            config,
        }
    }

    /// Processes bytes from the peer. Call [`poll_output`](Self::poll_output) afterwards until it returns `None`.
    pub fn handle_input(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.reader.push(bytes);
        }
    }

    /// Handles the end of the stream. Call it when [`poll_output`](Self::poll_output) returns `None`.
    ///
    /// # Errors
    ///
    /// [`FrameError::Truncated`] if the stream ended in the middle of a message;
    /// [`ClientError::ClosedBeforeGreeting`] or [`ClientError::ClosedBeforeReply`] if it ended before command mode;
    /// the error of the connection if it had one.
    pub fn handle_end(&mut self) -> Result<(), ClientError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let ended = match self.session.phase {
            _ if self.reader.finish().is_err() => self.reader.finish().map_err(ClientError::from),
            Phase::Connected => Err(ClientError::ClosedBeforeGreeting),
            Phase::Negotiating { .. } => Err(ClientError::ClosedBeforeReply),
            Phase::Exempt | Phase::Open => Ok(()),
        };
        ended.inspect_err(|error| self.failed = Some(error.clone()))
    }

    /// Handles the passing of time; call it when [`poll_timeout`](Self::poll_timeout) is reached.
    ///
    /// # Errors
    ///
    /// [`ClientError::NoGreeting`] or [`ClientError::NegotiationTimeout`].
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), ClientError> {
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        let waited = self.config.negotiation_timeout;
        let error = match self.session.phase {
            Phase::Connected => ClientError::NoGreeting { waited },
            _ => ClientError::NegotiationTimeout { waited },
        };
        self.failed = Some(error.clone());
        Err(error)
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout); `None` once in command mode.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waits = matches!(self.session.phase, Phase::Connected | Phase::Negotiating { .. });
        self.deadline.filter(|_| waits && self.failed.is_none())
    }

    /// Returns the next output.
    ///
    /// # Errors
    ///
    /// Any [`ClientError`]; the connection is unusable afterwards, and every later call returns the same error.
    #[inline]
    pub fn poll_output(&mut self) -> Result<Option<ClientOutput<'_>>, ClientError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.session.phase == Phase::Exempt {
            return Ok(Some(self.session.open(false)));
        }
        match self.reader.advance() {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => return Err(self.fail(error)),
        }
        let frame = self.reader.frame();
        let output = match frame.message() {
            Message::Event(event) => Ok(ClientOutput::Event(event)),
            Message::Greeting(greeting) => self.session.greet(greeting),
            Message::Return { id, value } => self.session.reply(id, Ok(value), || frame.raw()),
            Message::Error { id: None, error } => Ok(ClientOutput::Unattributed(error)),
            Message::Error { id, error } => self.session.reply(id, Err(error), || frame.raw()),
            Message::Unknown(raw) => Ok(ClientOutput::Stray(raw)),
        };
        if let Err(error) = &output {
            self.failed = Some(error.clone());
        }
        output.map(Some)
    }

    /// Returns the bytes to send to the peer; report the sent ones to [`consume_transmit`](Self::consume_transmit).
    #[must_use]
    pub fn transmit(&self) -> &[u8] {
        self.session.commands.transmit()
    }

    /// Returns the command whose attachment has to go with the first byte of [`transmit`](Self::transmit).
    #[must_use]
    pub fn transmit_attachment(&self) -> Option<CommandId> {
        self.session.commands.transmit_attachment().map(CommandId)
    }

    /// Removes the first `sent_bytes` of [`transmit`](Self::transmit).
    pub fn consume_transmit(&mut self, sent_bytes: usize) {
        self.session.commands.consume_transmit(sent_bytes);
    }

    /// Queues a command; `arguments` is a JSON object. Before command mode it waits for the negotiation.
    ///
    /// Invalid JSON in `arguments` breaks the conversation: the server's error cannot be paired.
    pub fn execute(&mut self, command: &str, arguments: Option<&str>) -> CommandId {
        CommandId(self.session.commands.queue(Lane::InBand, command, arguments))
    }

    /// Queues a command for out-of-band execution (`exec-oob`); in-band if that was not negotiated.
    pub fn execute_out_of_band(&mut self, command: &str, arguments: Option<&str>) -> CommandId {
        CommandId(self.session.commands.queue(Lane::OutOfBand, command, arguments))
    }

    /// Queues a command with an attachment, such as file descriptors for `getfd`.
    ///
    /// It is sent when all earlier commands have their replies, and only out-of-band commands are sent before its
    /// own reply. [`transmit_attachment`](Self::transmit_attachment) returns it when its first byte is next.
    pub fn execute_attached(&mut self, command: &str, arguments: Option<&str>) -> CommandId {
        CommandId(self.session.commands.queue(Lane::Attached, command, arguments))
    }

    /// Returns the bytes of memory held outside of the machine itself; 0 when nothing is under way.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.reader.held_bytes() + self.session.commands.held_bytes()
    }

    /// Returns the bytes of memory of an incomplete message; 0 if there is none. Call it when
    /// [`poll_output`](Self::poll_output) returns `None`.
    #[must_use]
    pub fn unfinished_bytes(&self) -> usize {
        self.reader.held_bytes()
    }

    fn fail(&mut self, error: FrameError) -> ClientError {
        let error = match error {
            FrameError::NotAnObject { .. } if self.session.phase == Phase::Connected => {
                let unread = self.reader.unread();
                let beginning = &unread[..unread.len().min(BEGINNING_MAX_BYTES)];
                ClientError::NotQmp { beginning: String::from_utf8_lossy(beginning).into() }
            }
            error => error.into(),
        };
        self.failed = Some(error.clone());
        error
    }
}

impl Session {
    fn greet<'a>(&mut self, greeting: Greeting<'a>) -> Result<ClientOutput<'a>, ClientError> {
        if self.phase != Phase::Connected {
            return Err(ClientError::GreetedAgain);
        }
        if let Some(what) = flaw(greeting.raw) {
            return Err(ClientError::InvalidGreeting { what });
        }
        if is_exempt(&greeting) {
            self.phase = Phase::Exempt;
        } else {
            let out_of_band = self.want_out_of_band && offers_out_of_band(&greeting);
            let number = self.commands.negotiate(out_of_band);
            self.phase = Phase::Negotiating { number, out_of_band };
        }
        Ok(ClientOutput::Greeting(greeting))
    }

    fn reply<'a>(
        &mut self,
        id: Option<&str>,
        result: Result<&'a str, CommandError>,
        raw: impl FnOnce() -> &'a str,
    ) -> Result<ClientOutput<'a>, ClientError> {
        let Some(completed) = self.commands.complete(id) else { return Ok(ClientOutput::Stray(raw())) };
        match self.phase {
            Phase::Negotiating { number, out_of_band } if number == completed => match result {
                Ok(_) => Ok(self.open(out_of_band)),
                Err(error) if &*error.class == "CommandNotFound" => Ok(self.open(false)),
                Err(error) => Err(ClientError::NegotiationRefused(error)),
            },
            _ => Ok(ClientOutput::Reply { id: CommandId(completed), result }),
        }
    }

    fn open(&mut self, out_of_band: bool) -> ClientOutput<'static> {
        self.phase = Phase::Open;
        self.commands.open(out_of_band);
        ClientOutput::Negotiated { out_of_band }
    }
}

/// Returns the reason why an object with a member `QMP` is no greeting; `None` if it is one.
///
/// Source: the clients of QEMU read `version` and `capabilities`; a release may add further members.
fn flaw(raw: &str) -> Option<&'static str> {
    let inside = Members::of(raw).filter(|(name, _)| name == "QMP").map(|(_, inside)| inside).last()?;
    if !inside.starts_with('{') {
        return Some("QMP is not an object");
    }
    let mut has_capabilities = false;
    for (name, value) in Members::of(inside) {
        match name.as_ref() {
            "version" if !value.starts_with('{') => return Some("version is not an object"),
            "capabilities" => has_capabilities = value.starts_with('['),
            _ => {}
        }
    }
    (!has_capabilities).then_some("it has no list of capabilities")
}

/// Returns whether the server has no negotiation: QEMU 0.12, the only one to greet without the member `version`.
fn is_exempt(greeting: &Greeting<'_>) -> bool {
    greeting.version.is_none()
        && Members::of(greeting.raw)
            .filter(|(name, _)| name == "QMP")
            .all(|(_, inside)| Members::of(inside).all(|(name, _)| name != "version"))
}

/// Returns whether the server offers out-of-band execution in the form of QEMU 3.0 and later.
fn offers_out_of_band(greeting: &Greeting<'_>) -> bool {
    let offered = greeting.capabilities.iter().any(|capability| &**capability == "oob");
    offered && greeting.version.as_ref().is_none_or(|version| version.major >= 3)
}
