//! One connection with a task that reads it: commands for any number of callers, and the stream of events.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use qmp_events::Release;
use qmp_wire::{Address, ClientOutput, Greeting, Version};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::close_reason::CloseReason;
use crate::command_queue::CommandQueue;
use crate::commander::{Commander, PendingReply};
use crate::connect_config::ConnectConfig;
use crate::connect_error::ConnectError;
use crate::connection::Connection;
use crate::events::{EventSink, Events, QUEUE_MAX_BYTES, QUEUE_MAX_EVENTS, queue};
use crate::exchange::Exchange;
use crate::execute_error::ExecuteError;
use crate::log;
use crate::socket::Socket;

/// A monitor in command mode. Clones share the connection, which lives as long as one of them or the [`Events`] do.
#[derive(Clone, Debug)]
pub struct MonitorClient {
    commander: Commander,
    greeting: Arc<OwnedGreeting>,
    out_of_band: bool,
}

#[derive(Debug, Default)]
struct OwnedGreeting {
    version: Option<Version>,
    capabilities: Vec<Box<str>>,
    raw: Box<str>,
}

/// Connects to a monitor and brings it to command mode. Must be called in a tokio runtime. The [guide](crate::guide) has
/// an example.
///
/// # Errors
///
/// Any [`ConnectError`]; its text says what to do.
pub async fn connect(address: &Address) -> Result<(MonitorClient, Events), ConnectError> {
    connect_with(address, &ConnectConfig::default()).await
}

/// As [`connect`], with other limits.
///
/// # Errors
///
/// Any [`ConnectError`]; its text says what to do.
pub async fn connect_with(
    address: &Address,
    config: &ConnectConfig,
) -> Result<(MonitorClient, Events), ConnectError> {
    start(Connection::open(address, config).await?).await
}

/// Brings a monitor to command mode over a stream that the caller made: through TLS, a tunnel, or in memory. Must be
/// called in a tokio runtime. File descriptors cannot be passed.
///
/// `address` is what error messages name; nothing is dialled. A stream that buffers is flushed after each batch of
/// commands.
///
/// # Errors
///
/// Those of [`ConnectError`] from `NoGreeting`.
pub async fn connect_stream(
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
    address: &Address,
    config: &ConnectConfig,
) -> Result<(MonitorClient, Events), ConnectError> {
    start(Connection::new(Socket::other(Box::pin(stream)), None, Arc::new(address.clone()), config)).await
}

/// Negotiates, and starts the task that reads the connection.
async fn start(mut connection: Connection) -> Result<(MonitorClient, Events), ConnectError> {
    let (sink, events) = queue(QUEUE_MAX_EVENTS, QUEUE_MAX_BYTES);
    let greeting = greet(&mut connection, &sink).await?;
    let out_of_band = connection.out_of_band();
    let queue = Arc::new(CommandQueue::default());
    queue.open();
    let commander = Commander::new(Arc::clone(&queue));
    let exchange = Exchange::new(Arc::clone(&queue));
    let mut reader = Reader { connection, exchange, queue, sink, reason: None };
    tokio::spawn(async move { poll_fn(|cx| reader.poll(cx)).await });
    Ok((MonitorClient { commander, greeting: Arc::new(greeting), out_of_band }, events))
}

/// Goes to command mode; events that the server sends meanwhile are the first of the stream.
async fn greet(connection: &mut Connection, sink: &EventSink) -> Result<OwnedGreeting, ConnectError> {
    let mut greeting = OwnedGreeting::default();
    while !connection.is_negotiated() {
        let step = match connection.poll_output() {
            Ok(Some(ClientOutput::Event(event))) => {
                sink.push(&event, SystemTime::now());
                Ok(())
            }
            Ok(Some(ClientOutput::Greeting(Greeting { version, capabilities, raw }))) => {
                greeting = OwnedGreeting { version, capabilities, raw: raw.into() };
                Ok(())
            }
            Ok(Some(_)) => Ok(()),
            Ok(None) => connection.drive().await,
            Err(reason) => Err(reason),
        };
        step.map_err(|reason| connection.connect_error(reason))?;
    }
    Ok(greeting)
}

impl MonitorClient {
    /// The server's greeting.
    #[must_use]
    pub fn greeting(&self) -> Greeting<'_> {
        Greeting {
            version: self.greeting.version.clone(),
            capabilities: self.greeting.capabilities.clone(),
            raw: &self.greeting.raw,
        }
    }

    /// The release of the server, for what the catalogue says by release; `None` for QEMU 0.12, whose greeting had no
    /// version.
    #[must_use]
    pub fn release(&self) -> Option<Release> {
        let version = self.greeting.version.as_ref()?;
        Some(Release::from_version(version.major, version.minor, version.micro))
    }

    /// Whether `exec-oob` was negotiated.
    #[must_use]
    pub fn out_of_band(&self) -> bool {
        self.out_of_band
    }

    /// The handle with all ways to execute a command: with a timeout, out of band, with file descriptors.
    #[must_use]
    pub fn commander(&self) -> &Commander {
        &self.commander
    }

    /// Executes a command; see [`Commander::execute`].
    ///
    /// # Errors
    ///
    /// Any [`ExecuteError`] but `UnexpectedReply`.
    pub async fn execute(
        &self,
        command: &str,
        arguments: impl Serialize,
    ) -> Result<Box<RawValue>, ExecuteError> {
        self.commander.execute(command, arguments).await
    }

    /// Executes a command and reads its reply as a `T`.
    ///
    /// # Errors
    ///
    /// Any [`ExecuteError`]; `UnexpectedReply` if the reply is no `T`.
    pub async fn execute_as<T: DeserializeOwned>(
        &self,
        command: &str,
        arguments: impl Serialize,
    ) -> Result<T, ExecuteError> {
        self.commander.execute_as(command, arguments).await
    }

    /// Executes a command: arguments and result are JSON text; see [`Commander::execute_raw`].
    ///
    /// # Errors
    ///
    /// Any [`ExecuteError`] but `UnexpectedReply`.
    pub async fn execute_raw(
        &self,
        command: &str,
        arguments: Option<&str>,
    ) -> Result<Box<str>, ExecuteError> {
        self.commander.execute_raw(command, arguments).await
    }
}

/// Reads the connection until it ends, or until all handles and the stream of events were dropped.
struct Reader {
    connection: Connection,
    exchange: Exchange,
    queue: Arc<CommandQueue>,
    sink: EventSink,
    reason: Option<CloseReason>,
}

impl Reader {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let step = match self.hand_out() {
                Ok(()) => {
                    self.exchange.poll_commands(&mut self.connection, cx);
                    if self.sink.poll_abandoned(cx) && self.queue.is_abandoned() {
                        return Poll::Ready(());
                    }
                    self.connection.poll_drive(cx)
                }
                Err(reason) => Poll::Ready(Err(reason)),
            };
            match step {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(reason)) => {
                    self.reason = Some(reason);
                    return Poll::Ready(());
                }
            }
        }
    }

    /// Forwards every message that was read. The events before a reply are queued before the reply is delivered.
    fn hand_out(&mut self) -> Result<(), CloseReason> {
        let received_at = SystemTime::now();
        let mut pushed = false;
        let result = loop {
            match self.connection.poll_output() {
                Ok(Some(ClientOutput::Event(event))) => {
                    self.sink.push(&event, received_at);
                    pushed = true;
                }
                Ok(Some(ClientOutput::Reply { id, result })) => {
                    if let Some(reply) = self.exchange.reply(id, result) {
                        reply.release();
                    }
                }
                Ok(Some(ClientOutput::Unattributed(error))) => {
                    log::unparsed_command(error);
                }
                Ok(Some(_)) => {}
                Ok(None) => break Ok(()),
                Err(reason) => break Err(reason),
            }
        };
        if pushed {
            self.sink.wake();
            self.queue.events.notify_waiters();
        }
        result
    }
}

impl Drop for Reader {
    /// Fails all commands however the task ends, also with its runtime, so that no caller waits for ever.
    fn drop(&mut self) {
        let reason = self.reason.take().unwrap_or(CloseReason::ClosedLocally);
        for request in self.queue.close(reason.clone()) {
            drop(PendingReply::new(request.target, Err(ExecuteError::Closed { reason: reason.clone() })));
        }
        self.exchange.fail(&reason).for_each(PendingReply::release);
        self.sink.end(reason);
    }
}
