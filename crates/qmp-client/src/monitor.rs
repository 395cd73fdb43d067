//! One connection with a task that reads it: commands for any number of callers, and the stream of events.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use qmp_wire::{Greeting, Output, Version};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::commander::PendingReply;
use crate::events::{EventSink, Events, QUEUE_MAX_BYTES, QUEUE_MAX_EVENTS, queue};
use crate::exchange::Exchange;
use crate::mailbox::Mailbox;
use crate::{Address, Commander, ConnectConfig, ConnectError, Connection, ExecuteError, Gone};

/// A monitor in command mode. Clones share the connection, which lives as long as one of them or the [`Events`] do.
#[derive(Clone, Debug)]
pub struct Monitor {
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

/// Connects to a monitor and brings it to command mode. Must be called in a tokio runtime.
///
/// # Errors
///
/// Any [`ConnectError`]; its text says what to do.
pub async fn connect(address: &Address) -> Result<(Monitor, Events), ConnectError> {
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
) -> Result<(Monitor, Events), ConnectError> {
    let mut connection = Connection::open(address, config).await?;
    let (sink, events) = queue(QUEUE_MAX_EVENTS, QUEUE_MAX_BYTES);
    let greeting = greet(&mut connection, &sink).await?;
    let out_of_band = connection.out_of_band();
    let mailbox = Arc::new(Mailbox::default());
    mailbox.open();
    let commander = Commander::new(Arc::clone(&mailbox));
    let exchange = Exchange::new(Arc::clone(&mailbox));
    let mut reader = Reader { connection, exchange, mailbox, sink, gone: None };
    tokio::spawn(async move { poll_fn(|cx| reader.poll(cx)).await });
    Ok((Monitor { commander, greeting: Arc::new(greeting), out_of_band }, events))
}

/// Goes to command mode; events that come on the way are the first of the stream.
async fn greet(connection: &mut Connection, sink: &EventSink) -> Result<OwnedGreeting, ConnectError> {
    let mut greeting = OwnedGreeting::default();
    while !connection.is_negotiated() {
        let step = match connection.poll_output() {
            Ok(Some(Output::Event(event))) => {
                sink.push(&event, SystemTime::now());
                Ok(())
            }
            Ok(Some(Output::Greeting(Greeting { version, capabilities, raw }))) => {
                greeting = OwnedGreeting { version, capabilities, raw: raw.into() };
                Ok(())
            }
            Ok(Some(_)) => Ok(()),
            Ok(None) => connection.drive().await,
            Err(gone) => Err(gone),
        };
        step.map_err(|gone| connection.connect_error(gone))?;
    }
    Ok(greeting)
}

impl Monitor {
    /// What the server said first.
    #[must_use]
    pub fn greeting(&self) -> Greeting<'_> {
        Greeting {
            version: self.greeting.version.clone(),
            capabilities: self.greeting.capabilities.clone(),
            raw: &self.greeting.raw,
        }
    }

    /// Whether `exec-oob` was negotiated.
    #[must_use]
    pub fn out_of_band(&self) -> bool {
        self.out_of_band
    }

    /// All the ways to execute a command: with a timeout, out of band, with file descriptors.
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

    /// Executes a command, JSON text in and JSON text out; see [`Commander::execute_raw`].
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

/// Reads the connection until it ends or nobody is interested.
struct Reader {
    connection: Connection,
    exchange: Exchange,
    mailbox: Arc<Mailbox>,
    sink: EventSink,
    gone: Option<Gone>,
}

impl Reader {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let step = match self.hand_out() {
                Ok(()) => {
                    self.exchange.poll_commands(&mut self.connection, cx);
                    if self.sink.poll_abandoned(cx) && self.mailbox.is_abandoned() {
                        return Poll::Ready(());
                    }
                    self.connection.poll_drive(cx)
                }
                Err(gone) => Poll::Ready(Err(gone)),
            };
            match step {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(gone)) => {
                    self.gone = Some(gone);
                    return Poll::Ready(());
                }
            }
        }
    }

    /// Passes on everything that was read. The events before a reply are in the queue before the reply is.
    fn hand_out(&mut self) -> Result<(), Gone> {
        let received_at = SystemTime::now();
        let mut pushed = false;
        let result = loop {
            match self.connection.poll_output() {
                Ok(Some(Output::Event(event))) => {
                    self.sink.push(&event, received_at);
                    pushed = true;
                }
                Ok(Some(Output::Reply { id, result })) => {
                    if let Some(reply) = self.exchange.reply(id, result) {
                        reply.release();
                    }
                }
                Ok(Some(Output::Unattributed(error))) => {
                    tracing::warn!(%error, "the VM could not read a command");
                }
                Ok(Some(_)) => {}
                Ok(None) => break Ok(()),
                Err(gone) => break Err(gone),
            }
        };
        if pushed {
            self.sink.wake();
        }
        result
    }
}

impl Drop for Reader {
    /// However the task ends, also with its runtime: nobody waits for ever.
    fn drop(&mut self) {
        let gone = self.gone.take().unwrap_or(Gone::Left);
        for request in self.mailbox.close(gone.clone()) {
            drop(PendingReply::new(request.asker, Err(ExecuteError::Gone { reason: gone.clone() })));
        }
        self.exchange.fail(&gone).for_each(PendingReply::release);
        self.sink.end(gone);
    }
}
