//! A socket and the protocol's state machine, without a task.
//!
//! The owner alternates between [`Connection::poll_output`], until it yields nothing, and [`Connection::drive`], which
//! waits for the socket. Outputs borrow from the receive buffer. Sending never delays reading: the connection reads
//! from a QEMU that does not read its monitor.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use qmp_host::Share;
use qmp_wire::{
    Address, Client, ClientConfig, ClientError, ClientOutput, CommandError, CommandId, FrameError, RawEvent,
};
use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep};

use crate::close_reason::CloseReason;
use crate::connect_config::ConnectConfig;
use crate::connect_error::ConnectError;
use crate::execute_error::ExecuteError;
use crate::log;
use crate::peer_process::PeerProcess;
use crate::socket::{DESCRIPTORS_MAX, Socket};
use crate::unfinished::{MessageGuard, UnfinishedMessage};

/// How much is read at once. One buffer serves all connections of a thread, so it may be large: most of the cost of a
/// storm of events is system calls.
pub(crate) const READ_BUFFER_BYTES: usize = 64 << 10;

/// How many of the first bytes are kept, for the error message if the peer does not speak QMP.
const FIRST_BYTES_KEPT: usize = 48;

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BUFFER_BYTES].into());
}

/// A socket and the state machine of its protocol.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
    client: Client,
    /// The descriptors of queued commands that are not sent yet, in the order of the commands' ids.
    descriptors: VecDeque<(CommandId, Vec<OwnedFd>)>,
    /// Sending failed. Reading goes on, for the messages that the peer sent before it closed.
    send_failed: bool,
    out_of_band: bool,
    /// Present until the negotiation is done.
    negotiation: Option<Box<Negotiation>>,
    message_guard: MessageGuard,
    /// The message that was read in part, if there is one.
    unfinished: Option<Box<UnfinishedMessage>>,
    _share: Option<Share>,
}

/// The state of a connection before command mode.
#[derive(Debug)]
struct Negotiation {
    address: Arc<Address>,
    timer: Pin<Box<Sleep>>,
    first_bytes: Vec<u8>,
    /// The error that the server sent in place of a greeting: why it does not serve this client.
    refusal: Option<CommandError>,
    is_greeted: bool,
}

impl Connection {
    pub(crate) fn new(
        socket: Socket,
        share: Option<Share>,
        address: Arc<Address>,
        config: &ConnectConfig,
    ) -> Self {
        let now = Instant::now();
        let mut client = ClientConfig::new(RandomState::new().hash_one(()));
        client.out_of_band = config.out_of_band;
        client.negotiation_timeout = config.negotiation_timeout;
        client.frame_max_bytes = config.frame_max_bytes;
        let client = Client::new(client, now.into_std());
        let timer = Box::pin(tokio::time::sleep(config.negotiation_timeout));
        let negotiation = Some(Box::new(Negotiation {
            address,
            timer,
            first_bytes: Vec::new(),
            refusal: None,
            is_greeted: false,
        }));
        Self {
            socket,
            client,
            descriptors: VecDeque::new(),
            send_failed: false,
            out_of_band: false,
            negotiation,
            message_guard: MessageGuard::new(&config.unfinished, config.message_timeout),
            unfinished: None,
            _share: share,
        }
    }

    /// The process at the other end of a unix socket.
    pub(crate) fn process(&self) -> Option<PeerProcess> {
        PeerProcess::of_peer(&self.socket)
    }

    /// Goes to command mode. Calls `on_event` for each event that the server sends meanwhile.
    ///
    /// # Errors
    ///
    /// Those of [`ConnectError`] from `NoGreeting`.
    pub async fn negotiate(&mut self, mut on_event: impl FnMut(RawEvent<'_>)) -> Result<(), ConnectError> {
        while self.negotiation.is_some() {
            let step = match self.poll_output() {
                Ok(Some(ClientOutput::Event(event))) => {
                    on_event(event);
                    Ok(())
                }
                Ok(Some(_)) => Ok(()),
                Ok(None) => self.drive().await,
                Err(reason) => Err(reason),
            };
            step.map_err(|reason| self.connect_error(reason))?;
        }
        Ok(())
    }

    /// Waits until the socket had something to read; sends queued commands meanwhile.
    ///
    /// Cancel safe. Call it when [`poll_output`](Self::poll_output) has nothing left.
    ///
    /// # Errors
    ///
    /// [`CloseReason`] when the connection ended, after every complete message was yielded.
    pub async fn drive(&mut self) -> Result<(), CloseReason> {
        poll_fn(|cx| self.poll_drive(cx)).await
    }

    /// As [`drive`](Self::drive), for hand-written futures.
    pub fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
        self.poll_timer(cx)?;
        self.message_guard.check(&mut self.unfinished, self.client.unfinished_bytes(), cx)?;
        self.send(cx);
        READ_BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            match self.socket.poll_read(cx, &mut buffer) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(error)) => Poll::Ready(Err(self.end(error.into()))),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    Poll::Ready(Err(self.end(CloseReason::PeerClosed)))
                }
                Poll::Ready(Ok(())) => {
                    if let Some(negotiation) = &mut self.negotiation {
                        negotiation.keep(buffer.filled());
                    }
                    self.client.handle_input(buffer.filled());
                    Poll::Ready(Ok(()))
                }
            }
        })
    }

    /// The next message of the server, borrowed from the receive buffer; `None` until more was read.
    ///
    /// # Errors
    ///
    /// [`CloseReason`] when the peer broke the protocol.
    pub fn poll_output(&mut self) -> Result<Option<ClientOutput<'_>>, CloseReason> {
        let output = self.client.poll_output()?;
        if output.is_some() {
            // The time limit is for each message.
            self.unfinished = None;
        }
        if let Some(ClientOutput::Negotiated { out_of_band }) = &output {
            self.out_of_band = *out_of_band;
            self.negotiation = None;
        }
        if let Some(negotiation) = &mut self.negotiation {
            match &output {
                Some(ClientOutput::Greeting(_)) => negotiation.is_greeted = true,
                Some(ClientOutput::Unattributed(error)) => negotiation.refusal = Some(error.clone()),
                _ => {}
            }
        }
        Ok(output)
    }

    /// Queues a command; `arguments` is the text of a JSON object. It is sent by [`drive`](Self::drive).
    pub fn execute(&mut self, command: &str, arguments: Option<&str>) -> CommandId {
        self.client.execute(command, arguments)
    }

    /// Queues a command for out-of-band execution; in-band if that was not negotiated.
    pub fn execute_out_of_band(&mut self, command: &str, arguments: Option<&str>) -> CommandId {
        self.client.execute_out_of_band(command, arguments)
    }

    /// Queues a command with file descriptors. It is sent when no other command is in flight: QEMU would replace its
    /// descriptors by those of a later command before it runs.
    ///
    /// # Errors
    ///
    /// `NoDescriptorPassing` on anything but a unix socket, `TooManyDescriptors`.
    pub fn execute_with_descriptors(
        &mut self,
        command: &str,
        arguments: Option<&str>,
        descriptors: Vec<OwnedFd>,
    ) -> Result<CommandId, ExecuteError> {
        if descriptors.is_empty() {
            return Ok(self.execute(command, arguments));
        }
        if !self.socket.passes_descriptors() {
            return Err(ExecuteError::NoDescriptorPassing);
        }
        if descriptors.len() > DESCRIPTORS_MAX {
            return Err(ExecuteError::TooManyDescriptors { limit: DESCRIPTORS_MAX });
        }
        let id = self.client.execute_attached(command, arguments);
        self.descriptors.push_back((id, descriptors));
        Ok(id)
    }

    /// Whether command mode is reached.
    #[must_use]
    pub fn is_negotiated(&self) -> bool {
        self.negotiation.is_none()
    }

    /// Whether `exec-oob` was negotiated.
    #[must_use]
    pub fn out_of_band(&self) -> bool {
        self.out_of_band
    }

    /// The error for a connection that ended before command mode.
    pub(crate) fn connect_error(&self, reason: CloseReason) -> ConnectError {
        let Some(negotiation) = &self.negotiation else {
            unreachable!("called only until the negotiation is done");
        };
        let address = Address::clone(&negotiation.address);
        let first_bytes = || String::from_utf8_lossy(&negotiation.first_bytes).into_owned().into();
        match reason {
            CloseReason::Protocol(ClientError::NoGreeting { waited })
                if negotiation.first_bytes.is_empty() =>
            {
                ConnectError::NoGreeting { address, waited }
            }
            CloseReason::Protocol(ClientError::Frame(error)) if is_protocol(&error, negotiation) => {
                ConnectError::Protocol { address, error }
            }
            CloseReason::Protocol(
                ClientError::NoGreeting { .. } | ClientError::NotQmp { .. } | ClientError::Frame(_),
            ) => ConnectError::NotQmp { address, first_bytes: first_bytes() },
            CloseReason::Protocol(ClientError::InvalidGreeting { what }) => {
                ConnectError::InvalidGreeting { address, what }
            }
            CloseReason::Protocol(ClientError::NegotiationTimeout { waited }) => {
                ConnectError::NegotiationTimeout { address, waited }
            }
            CloseReason::Protocol(ClientError::NegotiationRefused(error)) => {
                ConnectError::NegotiationRefused { address, error }
            }
            reason => match &negotiation.refusal {
                Some(error) => ConnectError::ServerRefused { address, error: error.clone() },
                None => ConnectError::Ended { address, reason },
            },
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Result<(), CloseReason> {
        if let Some(negotiation) = &mut self.negotiation
            && negotiation.timer.as_mut().poll(cx).is_ready()
        {
            // The timer's resolution is a millisecond; the state machine compares exactly.
            let due = self.client.poll_timeout().unwrap_or_else(|| Instant::now().into_std());
            self.client.handle_timeout(due)?;
        }
        Ok(())
    }

    fn send(&mut self, cx: &mut Context<'_>) {
        while !self.send_failed {
            let queued = self.client.transmit();
            if queued.is_empty() {
                if let Poll::Ready(Err(error)) = self.socket.poll_flush(cx) {
                    log::sending_failed(error);
                    self.send_failed = true;
                }
                return;
            }
            let attached = self.client.transmit_attachment();
            let descriptors = self.descriptors.front().filter(|(id, _)| attached == Some(*id));
            let to_send = descriptors.map_or(&[][..], |(_, descriptors)| descriptors);
            let sent = self.socket.poll_send(cx, queued, to_send);
            match sent {
                Poll::Pending => return,
                Poll::Ready(Ok(sent_bytes)) => {
                    // The peer has its copies: close those of this side.
                    if descriptors.is_some() {
                        self.descriptors.pop_front();
                    }
                    self.client.consume_transmit(sent_bytes);
                }
                Poll::Ready(Err(error)) => {
                    // The peer closed its side. Reading yields its last messages and then the reason.
                    log::sending_failed(error);
                    self.send_failed = true;
                }
            }
        }
    }

    fn end(&mut self, reason: CloseReason) -> CloseReason {
        match self.client.handle_end() {
            Err(ClientError::Frame(FrameError::Truncated { bytes })) => CloseReason::Truncated { bytes },
            _ => reason,
        }
    }
}

/// Returns whether a frame error is one of a QMP server: it has greeted, or its bytes are JSON.
fn is_protocol(error: &FrameError, negotiation: &Negotiation) -> bool {
    let is_json = matches!(
        error,
        FrameError::TooLong { .. } | FrameError::TooDeep { .. } | FrameError::NoMemory { .. }
    );
    negotiation.is_greeted || is_json
}

impl Negotiation {
    fn keep(&mut self, bytes: &[u8]) {
        let room = FIRST_BYTES_KEPT - self.first_bytes.len();
        self.first_bytes.extend_from_slice(&bytes[..room.min(bytes.len())]);
    }
}
