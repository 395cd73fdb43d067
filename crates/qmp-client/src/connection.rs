//! A socket and the protocol's state machine, without any task.
//!
//! The owner alternates between [`Connection::poll_output`], until it yields nothing, and [`Connection::drive`], which
//! waits for the socket. Outputs are lent from the receive buffer. Sending never holds up reading: a QEMU that does not
//! read its monitor is read from all the same.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use qmp_host::Share;
use qmp_wire::{
    Client, ClientConfig, ClientError, CommandError, CommandId, FRAME_MAX_BYTES, FrameError, Output, RawEvent,
};
use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep};

use crate::custom_dial::Dial;
use crate::dial::Dialer;
use crate::socket::{DESCRIPTORS_MAX, Socket};
use crate::unfinished::{MESSAGE_TIMEOUT, Unfinished, Watch, process_budget};
use crate::{Address, Budget, ConnectError, ExecuteError, Gone, Process};

/// How much is read at once. One buffer serves all connections of a thread, so it may be large: system calls are what
/// a storm of events costs.
pub(crate) const READ_BUFFER_BYTES: usize = 64 << 10;

/// How long a TCP connection may take to be made; the kernel alone would try for two minutes.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of what a peer says first is kept, to show it if it is no QMP.
const FIRST_BYTES_KEPT: usize = 48;

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BUFFER_BYTES].into());
}

/// How a connection is made.
#[derive(Clone, Debug)]
pub struct ConnectConfig {
    /// Enable out-of-band execution when the server offers it.
    pub out_of_band: bool,
    /// How long greeting and negotiation may take together.
    pub negotiation_timeout: Duration,
    /// How long it may take to reach a TCP host. Waiting for a QEMU to dial in has no limit.
    pub dial_timeout: Duration,
    /// Longest message accepted, in bytes.
    pub frame_max_bytes: usize,
    /// How long a message may take from its first byte to its last.
    pub message_timeout: Duration,
    /// Memory for messages that have begun and not ended, in bytes; unless configured otherwise, one for the process.
    pub unfinished: Arc<Budget>,
    /// Sockets that may be open; without it, as many as the system allows.
    pub sockets: Option<Arc<Budget>>,
    /// Connects in place of the operating system; without it, the operating system does.
    pub dial: Option<Arc<dyn Dial>>,
}

impl Default for ConnectConfig {
    fn default() -> Self {
        Self {
            out_of_band: true,
            negotiation_timeout: qmp_wire::NEGOTIATION_TIMEOUT,
            dial_timeout: DIAL_TIMEOUT,
            frame_max_bytes: FRAME_MAX_BYTES,
            message_timeout: MESSAGE_TIMEOUT,
            unfinished: process_budget(),
            sockets: None,
            dial: None,
        }
    }
}

/// A socket and the state machine that speaks on it.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
    client: Client,
    /// Descriptors of the commands that were queued with some and are not sent, in the order of their ids.
    descriptors: VecDeque<(CommandId, Vec<OwnedFd>)>,
    /// Sending failed; what the peer sent before it closed is still to be read.
    mute: bool,
    out_of_band: bool,
    /// Present until the negotiation is done.
    opening: Option<Box<Opening>>,
    watch: Watch,
    /// The message that was read in part.
    unfinished: Option<Box<Unfinished>>,
    _share: Option<Share>,
}

#[derive(Debug)]
struct Opening {
    address: Arc<Address>,
    timer: Pin<Box<Sleep>>,
    first_bytes: Vec<u8>,
    /// What the server said in place of a greeting: why it serves this client not.
    refusal: Option<CommandError>,
}

impl Connection {
    /// Reaches a monitor: dials it, or waits until it dials in. Greeting and negotiation are still to come.
    ///
    /// # Errors
    ///
    /// Those of [`ConnectError`] up to `Inherited`.
    pub async fn open(address: &Address, config: &ConnectConfig) -> Result<Self, ConnectError> {
        let mut dialer = Dialer::new(Arc::new(address.clone()));
        let share = share_of_sockets(config)?;
        let socket = dialer.dial(config).await?;
        Ok(Self::new(socket, share, dialer.address(), config))
    }

    pub(crate) fn new(
        socket: Socket,
        share: Option<Share>,
        address: Arc<Address>,
        config: &ConnectConfig,
    ) -> Self {
        let now = Instant::now();
        let client = Client::new(
            ClientConfig {
                out_of_band: config.out_of_band,
                negotiation_timeout: config.negotiation_timeout,
                frame_max_bytes: config.frame_max_bytes,
                connection_nonce: RandomState::new().hash_one(()),
            },
            now.into_std(),
        );
        let timer = Box::pin(tokio::time::sleep_until(now + config.negotiation_timeout));
        let opening = Some(Box::new(Opening { address, timer, first_bytes: Vec::new(), refusal: None }));
        Self {
            socket,
            client,
            descriptors: VecDeque::new(),
            mute: false,
            out_of_band: false,
            opening,
            watch: Watch::new(config),
            unfinished: None,
            _share: share,
        }
    }

    /// The process at the other end of a unix socket.
    pub(crate) fn process(&self) -> Option<Process> {
        Process::behind(&self.socket)
    }

    /// Goes to command mode. Events that come on the way are given to `on_event`.
    ///
    /// # Errors
    ///
    /// Those of [`ConnectError`] from `NoGreeting`.
    pub async fn negotiate(&mut self, mut on_event: impl FnMut(RawEvent<'_>)) -> Result<(), ConnectError> {
        while self.opening.is_some() {
            let step = match self.poll_output() {
                Ok(Some(Output::Event(event))) => {
                    on_event(event);
                    Ok(())
                }
                Ok(Some(_)) => Ok(()),
                Ok(None) => self.drive().await,
                Err(gone) => Err(gone),
            };
            step.map_err(|gone| self.connect_error(gone))?;
        }
        Ok(())
    }

    /// Waits until the socket had something to read; sends what is queued meanwhile.
    ///
    /// Cancel safe. Call it when [`poll_output`](Self::poll_output) has nothing left.
    ///
    /// # Errors
    ///
    /// [`Gone`] when the connection ended; every message before that was yielded.
    pub async fn drive(&mut self) -> Result<(), Gone> {
        poll_fn(|cx| self.poll_drive(cx)).await
    }

    /// As [`drive`](Self::drive), for futures written by hand.
    pub fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        self.poll_timer(cx)?;
        self.watch.look(&mut self.unfinished, self.client.unfinished_bytes(), cx)?;
        self.send(cx);
        READ_BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            match self.socket.poll_read(cx, &mut buffer) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(error)) => Poll::Ready(Err(self.end(error.into()))),
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    Poll::Ready(Err(self.end(Gone::PeerClosed)))
                }
                Poll::Ready(Ok(())) => {
                    if let Some(opening) = &mut self.opening {
                        opening.keep(buffer.filled());
                    }
                    self.client.handle_input(buffer.filled());
                    Poll::Ready(Ok(()))
                }
            }
        })
    }

    /// The next thing that the server said, lent from the receive buffer; `None` until more was read.
    ///
    /// # Errors
    ///
    /// [`Gone`] when the peer broke the protocol.
    pub fn poll_output(&mut self) -> Result<Option<Output<'_>>, Gone> {
        let output = self.client.poll_output()?;
        if output.is_some() {
            // Each message has its own time.
            self.unfinished = None;
        }
        if let Some(Output::Negotiated { out_of_band }) = &output {
            self.out_of_band = *out_of_band;
            self.opening = None;
        }
        if let (Some(Output::Unattributed(error)), Some(opening)) = (&output, &mut self.opening) {
            opening.refusal = Some(error.clone());
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

    /// Queues a command that takes descriptors along. It is alone in flight: descriptors that came later would
    /// replace its own before it runs.
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
        self.opening.is_none()
    }

    /// Whether `exec-oob` was negotiated.
    #[must_use]
    pub fn out_of_band(&self) -> bool {
        self.out_of_band
    }

    /// What an end before command mode means to a person.
    pub(crate) fn connect_error(&self, gone: Gone) -> ConnectError {
        let Some(opening) = &self.opening else {
            unreachable!("asked for only until the negotiation is done");
        };
        let address = Address::clone(&opening.address);
        let first_bytes = || String::from_utf8_lossy(&opening.first_bytes).into_owned().into();
        match gone {
            Gone::Protocol(ClientError::NoGreeting { waited }) if opening.first_bytes.is_empty() => {
                ConnectError::NoGreeting { address, waited }
            }
            Gone::Protocol(
                ClientError::NoGreeting { .. } | ClientError::NotQmp { .. } | ClientError::Frame(_),
            ) => ConnectError::NotQmp { address, first_bytes: first_bytes() },
            Gone::Protocol(ClientError::NegotiationTimeout { waited }) => {
                ConnectError::NegotiationTimeout { address, waited }
            }
            Gone::Protocol(ClientError::NegotiationRefused(error)) => {
                ConnectError::NegotiationRefused { address, error }
            }
            gone => match &opening.refusal {
                Some(error) => ConnectError::TurnedAway { address, error: error.clone() },
                None => ConnectError::Ended { address, gone },
            },
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Result<(), Gone> {
        if let Some(opening) = &mut self.opening
            && opening.timer.as_mut().poll(cx).is_ready()
        {
            // The timer's grain is a millisecond; the machine compares exactly.
            let due = self.client.poll_timeout().unwrap_or_else(|| Instant::now().into_std());
            self.client.handle_timeout(due)?;
        }
        Ok(())
    }

    fn send(&mut self, cx: &mut Context<'_>) {
        while !self.mute {
            let queued = self.client.transmit();
            if queued.is_empty() {
                if let Poll::Ready(Err(error)) = self.socket.poll_flush(cx) {
                    tracing::debug!(%error, "the monitor takes no more commands");
                    self.mute = true;
                }
                return;
            }
            let attached = self.client.transmit_attachment();
            let along = self.descriptors.front().filter(|(id, _)| attached == Some(*id));
            let sent = self.socket.poll_send(cx, queued, along.map_or(&[], |(_, descriptors)| descriptors));
            match sent {
                Poll::Pending => return,
                Poll::Ready(Ok(sent_bytes)) => {
                    // They are the peer's, and are closed on this side.
                    if along.is_some() {
                        self.descriptors.pop_front();
                    }
                    self.client.consume_transmit(sent_bytes);
                }
                Poll::Ready(Err(error)) => {
                    // The peer is gone; reading finds out how, after what it said last.
                    tracing::debug!(%error, "the monitor takes no more commands");
                    self.mute = true;
                }
            }
        }
    }

    fn end(&mut self, gone: Gone) -> Gone {
        match self.client.handle_end() {
            Err(ClientError::Frame(FrameError::Truncated { bytes })) => Gone::Truncated { bytes },
            _ => gone,
        }
    }
}

/// The descriptor of a connection that is about to be made.
///
/// # Errors
///
/// [`ConnectError::NoDescriptors`].
pub(crate) fn share_of_sockets(config: &ConnectConfig) -> Result<Option<Share>, ConnectError> {
    let Some(sockets) = &config.sockets else { return Ok(None) };
    let none = || ConnectError::NoDescriptors { limit: sockets.max() };
    sockets.take(1).map(Some).ok_or_else(none)
}

impl Opening {
    fn keep(&mut self, bytes: &[u8]) {
        let room = FIRST_BYTES_KEPT - self.first_bytes.len();
        self.first_bytes.extend_from_slice(&bytes[..room.min(bytes.len())]);
    }
}
