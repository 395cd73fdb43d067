//! Handles that execute commands, and replies on their way to who asked.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use qmp_wire::CommandError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use crate::Gone;
use crate::mailbox::{Asker, Mailbox, Request, TakeReply};

/// Executes commands on one monitor. Clones share the monitor; any number of callers may wait at once.
#[derive(Clone, Debug)]
pub struct Commander {
    handle: Arc<Handle>,
    timeout: Option<Duration>,
}

/// What all clones of one [`Commander`] share: with the last of them, the mailbox has no senders.
#[derive(Debug)]
struct Handle {
    mailbox: Arc<Mailbox>,
}

/// Errors of executing a command.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecuteError {
    /// The VM refused the command, or it failed.
    #[error(transparent)]
    Refused(#[from] CommandError),
    /// The connection ended before the reply came: whether the command had its effect is unknown.
    #[error("no reply: {reason}")]
    Gone {
        /// How the connection ended.
        reason: Gone,
    },
    /// The monitor is not attached at this moment; the command was not sent.
    #[error("the monitor is not attached")]
    NotAttached,
    /// No reply in time. The command stays with the VM and may yet have its effect.
    #[error("no reply within {waited:?}; the command may still take effect")]
    TimedOut {
        /// How long was waited.
        waited: Duration,
    },
    /// Too many commands wait for this monitor; this one was not sent.
    #[error("{waiting} commands wait for this monitor already: the VM is stuck or very busy")]
    Busy {
        /// How many wait.
        waiting: usize,
    },
    /// The arguments are no JSON object; the command was not sent.
    #[error("the arguments of a command are a JSON object: {what}")]
    InvalidArguments {
        /// What is wrong with them.
        what: Box<str>,
    },
    /// Descriptors can be passed over a unix socket only; the command was not sent.
    #[error("file descriptors can be passed over a unix socket only")]
    NoDescriptorPassing,
    /// A command takes no more descriptors along than this; it was not sent.
    #[error("a command takes at most {limit} file descriptors along")]
    TooManyDescriptors {
        /// The limit.
        limit: usize,
    },
    /// The reply is not of the type asked for.
    #[error("unexpected reply: {what}")]
    UnexpectedReply {
        /// What is wrong with it.
        what: Box<str>,
    },
}

/// A command that is passed on for somebody else.
#[derive(Debug)]
pub struct Passed<'a> {
    /// The command's name.
    pub command: &'a str,
    /// The text of a JSON object.
    pub arguments: Option<&'a str>,
    /// Whether it overtakes those that wait.
    pub out_of_band: bool,
    /// File descriptors that go along with a command in band.
    pub descriptors: Vec<OwnedFd>,
}

/// A reply that its asker does not have yet.
///
/// Everything that the server sent before it has been handed out. Dropping it releases it too.
#[derive(Debug)]
pub struct PendingReply {
    held: Option<(Asker, Result<Box<str>, ExecuteError>)>,
}

impl Commander {
    pub(crate) fn new(mailbox: Arc<Mailbox>) -> Self {
        Self { handle: Arc::new(Handle { mailbox }), timeout: None }
    }

    /// Waits for replies no longer than `timeout`, counted from the call. Without this, for as long as the connection
    /// lives: some commands take minutes.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Executes a command; `()` stands for no arguments. The result is the raw JSON of `return`.
    ///
    /// Events that come before the reply are in the stream of events by the time this returns.
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

    /// Executes a command; `arguments` is the text of a JSON object, and so the result is JSON text.
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

    /// Executes a command out of band: it overtakes those that wait. In band if that was not negotiated.
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

    /// Executes a command that takes file descriptors along, such as `getfd` or `add-fd`.
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

    /// Passes a command on for somebody else, who is given the reply when it is released. No timeout applies.
    ///
    /// # Errors
    ///
    /// `NotAttached`, `Gone`, `Busy` and `InvalidArguments`, if the command was not taken; `asker` is dropped then.
    pub fn pass(&self, command: Passed<'_>, asker: Box<dyn TakeReply>) -> Result<(), ExecuteError> {
        self.put(command, Asker::Told(asker))
    }

    /// Sends `query-status` ahead of the commands that wait, only to learn whether the VM answers: its answer makes the
    /// owner of the connection say [`Followed::Answered`](crate::Followed::Answered). One probe is under way at a time;
    /// while it has no answer, or as many commands as QEMU takes in have none, this sends no further one.
    ///
    /// # Errors
    ///
    /// `NotAttached` and `Gone`.
    pub fn probe(&self) -> Result<(), ExecuteError> {
        self.handle.mailbox.request_probe()
    }

    fn put(&self, passed: Passed<'_>, asker: Asker) -> Result<(), ExecuteError> {
        let Passed { command, arguments, out_of_band, descriptors } = passed;
        if let Some(arguments) = arguments {
            check_object(arguments)?;
        }
        let (command, arguments) = (command.into(), arguments.map(Into::into));
        self.handle.mailbox.put(Request { command, arguments, out_of_band, descriptors, asker })
    }

    async fn call(
        &self,
        command: &str,
        arguments: Option<&str>,
        out_of_band: bool,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Box<str>, ExecuteError> {
        let (asker, reply) = oneshot::channel();
        let passed = Passed { command, arguments, out_of_band, descriptors };
        self.put(passed, Asker::Waiting(asker))?;
        // An asker is dropped unanswered only together with the owner of the connection.
        let answer = async { reply.await.unwrap_or(Err(ExecuteError::Gone { reason: Gone::Left })) };
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
        self.mailbox.abandon();
    }
}

fn unexpected(error: &serde_json::Error) -> ExecuteError {
    ExecuteError::UnexpectedReply { what: error.to_string().into() }
}

/// The text of the arguments; `None` if there are none.
fn object_text(arguments: &impl Serialize) -> Result<Option<String>, ExecuteError> {
    let text = serde_json::to_string(arguments)
        .map_err(|error| ExecuteError::InvalidArguments { what: error.to_string().into() })?;
    Ok((text != "null").then_some(text))
}

/// What is sent must be one JSON object: anything else would change the command around it.
fn check_object(text: &str) -> Result<(), ExecuteError> {
    let invalid = |what: String| ExecuteError::InvalidArguments { what: what.into() };
    let value: &RawValue = serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
    if value.get().starts_with('{') { Ok(()) } else { Err(invalid(format!("this is `{}`", value.get()))) }
}

impl PendingReply {
    pub(crate) fn new(asker: Asker, result: Result<Box<str>, ExecuteError>) -> Self {
        Self { held: Some((asker, result)) }
    }

    /// Gives the reply to its asker.
    pub fn release(self) {}

    /// Whether the asker wants the events before it to be where they belong first.
    #[must_use]
    pub fn waits_for_events(&self) -> bool {
        self.held.as_ref().is_some_and(|(asker, _)| asker.waits_for_events())
    }

    /// Gives the reply to its asker although the events ahead of it are not yet where they belong, and says so.
    pub fn release_early(mut self) {
        if let Some((asker, result)) = self.held.take() {
            asker.answer_early(result);
        }
    }
}

impl Drop for PendingReply {
    fn drop(&mut self) {
        if let Some((asker, result)) = self.held.take() {
            asker.answer(result);
        }
    }
}
