//! Handles that execute commands, and replies on their way to their callers.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::futures::Notified;
use tokio::sync::oneshot;

use crate::close_reason::CloseReason;
use crate::command_queue::{CommandQueue, ReplySink, ReplyTarget, Request};
use crate::execute_error::ExecuteError;

/// Executes commands on one monitor. Clones share the monitor; any number of callers may wait at once.
#[derive(Clone, Debug)]
pub struct Commander {
    handle: Arc<Handle>,
    timeout: Option<Duration>,
}

/// The state that all clones of one [`Commander`] share: with the last of them, the queue has no senders.
#[derive(Debug)]
struct Handle {
    queue: Arc<CommandQueue>,
}

/// A command that is forwarded for another client, whose [`ReplySink`] receives the reply.
#[derive(Debug)]
pub struct ForwardedCommand<'a> {
    /// The command's name.
    pub command: &'a str,
    /// The text of a JSON object.
    pub arguments: Option<&'a str>,
    /// Whether it is executed out of band, ahead of the commands that wait.
    pub out_of_band: bool,
    /// File descriptors to send with an in-band command.
    pub descriptors: Vec<OwnedFd>,
}

/// A reply that was not yet delivered.
///
/// Everything that the server sent before it has been handed out. Dropping it delivers it, too.
#[derive(Debug)]
pub struct PendingReply {
    held: Option<(ReplyTarget, Result<Box<str>, ExecuteError>)>,
}

impl Commander {
    pub(crate) fn new(queue: Arc<CommandQueue>) -> Self {
        Self { handle: Arc::new(Handle { queue }), timeout: None }
    }

    /// Waits for replies no longer than `timeout`, counted from the call. By default a call waits as long as the
    /// connection lives: some commands take minutes.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Executes a command; pass `()` for no arguments. The result is the raw JSON of `return`.
    ///
    /// When this returns, all events that the server sent before the reply are in the stream of events.
    ///
    /// With [`follow`](crate::follow) the reply arrives only while another task calls `Follow::next`: see
    /// `Follow::commander`.
    ///
    /// # Errors
    ///
    /// Any [`ExecuteError`] but `UnexpectedReply`.
    pub async fn execute(
        &self,
        command: &str,
        arguments: impl Serialize,
    ) -> Result<Box<RawValue>, ExecuteError> {
        let reply = self.execute_raw(command, object_text(&arguments)?.as_deref()).await?;
        RawValue::from_string(reply.into()).map_err(|error| unexpected(&error))
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
        let reply = self.execute_raw(command, object_text(&arguments)?.as_deref()).await?;
        serde_json::from_str(&reply).map_err(|error| unexpected(&error))
    }

    /// Executes a command; `arguments` is the text of a JSON object. The result is JSON text.
    ///
    /// # Errors
    ///
    /// Any [`ExecuteError`] but `UnexpectedReply`.
    pub async fn execute_raw(
        &self,
        command: &str,
        arguments: Option<&str>,
    ) -> Result<Box<str>, ExecuteError> {
        self.call(command, arguments, false, Vec::new()).await
    }

    /// Executes a command out of band, ahead of the commands that wait. In band if that was not negotiated.
    ///
    /// # Errors
    ///
    /// As [`execute_raw`](Self::execute_raw); a command that does not support it is `Refused`.
    pub async fn execute_raw_out_of_band(
        &self,
        command: &str,
        arguments: Option<&str>,
    ) -> Result<Box<str>, ExecuteError> {
        self.call(command, arguments, true, Vec::new()).await
    }

    /// Executes a command that needs file descriptors, such as `getfd` or `add-fd`.
    ///
    /// # Errors
    ///
    /// As [`execute_raw`](Self::execute_raw), and `NoDescriptorPassing` on anything but a unix socket.
    pub async fn execute_with_descriptors(
        &self,
        command: &str,
        arguments: Option<&str>,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Box<str>, ExecuteError> {
        self.call(command, arguments, false, descriptors).await
    }

    /// Forwards a command for another client; `sink` receives the reply when it is released. No timeout applies.
    ///
    /// # Errors
    ///
    /// `NotAttached`, `Closed`, `Busy` and `InvalidArguments`: the command was not queued, and `sink` is dropped.
    pub fn forward(
        &self,
        command: ForwardedCommand<'_>,
        sink: Box<dyn ReplySink>,
    ) -> Result<(), ExecuteError> {
        self.push(command, ReplyTarget::Sink(sink))
    }

    /// Sends `query-status` ahead of the commands that wait, only to learn whether the VM replies. The reply yields
    /// `FollowEvent::ProbeAnswered` to the owner of the connection. At most one probe is in flight: no further one is
    /// sent while it has no reply, or while as many commands as QEMU accepts at a time have none.
    ///
    /// # Errors
    ///
    /// `NotAttached` and `Closed`.
    pub fn probe(&self) -> Result<(), ExecuteError> {
        self.handle.queue.request_probe()
    }

    /// Completes at the next event of the connection, or at its end.
    pub(crate) fn next_event(&self) -> Notified<'_> {
        self.handle.queue.events.notified()
    }

    fn push(&self, forwarded: ForwardedCommand<'_>, target: ReplyTarget) -> Result<(), ExecuteError> {
        let ForwardedCommand { command, arguments, out_of_band, descriptors } = forwarded;
        if let Some(arguments) = arguments {
            check_object(arguments)?;
        }
        let (command, arguments) = (command.into(), arguments.map(Into::into));
        self.handle.queue.push(Request { command, arguments, out_of_band, descriptors, target })
    }

    async fn call(
        &self,
        command: &str,
        arguments: Option<&str>,
        out_of_band: bool,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Box<str>, ExecuteError> {
        let (sender, reply) = oneshot::channel();
        let command = ForwardedCommand { command, arguments, out_of_band, descriptors };
        self.push(command, ReplyTarget::Channel(sender))?;
        // A target is dropped without a reply only together with the owner of the connection.
        let answer =
            async { reply.await.unwrap_or(Err(ExecuteError::Closed { reason: CloseReason::ClosedLocally })) };
        match self.timeout {
            None => answer.await,
            Some(waited) => {
                tokio::time::timeout(waited, answer).await.unwrap_or(Err(ExecuteError::TimedOut { waited }))
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}

fn unexpected(error: &serde_json::Error) -> ExecuteError {
    ExecuteError::UnexpectedReply { what: error.to_string().into() }
}

/// The JSON text of the arguments; `None` if there are none.
fn object_text(arguments: &impl Serialize) -> Result<Option<String>, ExecuteError> {
    let text = serde_json::to_string(arguments)
        .map_err(|error| ExecuteError::InvalidArguments { what: error.to_string().into() })?;
    Ok((text != "null").then_some(text))
}

/// Requires one JSON object: any other text would change the command around it.
fn check_object(text: &str) -> Result<(), ExecuteError> {
    let invalid = |what: String| ExecuteError::InvalidArguments { what: what.into() };
    let value: &RawValue = serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
    if value.get().starts_with('{') { Ok(()) } else { Err(invalid(format!("this is `{}`", value.get()))) }
}

impl PendingReply {
    pub(crate) fn new(target: ReplyTarget, result: Result<Box<str>, ExecuteError>) -> Self {
        Self { held: Some((target, result)) }
    }

    /// Delivers the reply.
    pub fn release(mut self) {
        self.deliver();
    }

    /// Whether the reply is to be held back until the events before it are processed: see
    /// [`ReplySink::waits_for_events`].
    #[must_use]
    pub fn waits_for_events(&self) -> bool {
        self.held.as_ref().is_some_and(|(target, _)| target.waits_for_events())
    }

    /// Delivers the reply before the events ahead of it are processed, by [`ReplySink::deliver_early`].
    pub fn release_early(mut self) {
        if let Some((target, result)) = self.held.take() {
            target.answer_early(result);
        }
    }

    fn deliver(&mut self) {
        if let Some((target, result)) = self.held.take() {
            target.answer(result);
        }
    }
}

impl Drop for PendingReply {
    fn drop(&mut self) {
        self.deliver();
    }
}
