//! A command that was handed over, and the way of its reply.

use std::{fmt, sync::Arc};

use qmp_events::EventKind;
use qmp_wire::{
    dialect::{self, Object, Value},
    server::{Refusal, RequestId},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{caller::Caller, connection::ConnectionKey, panics, types::Type};

/// A command that was handed over and waits for its reply.
///
/// If it is dropped without a reply, or by a panic, its client gets an error, so that it does not wait forever;
/// after a request to stop the monitor, the client gets no reply.
#[derive(Debug)]
pub struct PendingCommand {
    pub(crate) name: Box<str>,
    pub(crate) arguments: Object,
    pub(crate) out_of_band: bool,
    pub(crate) request: RequestId,
    pub(crate) connection: ConnectionKey,
    /// Consumed by the reply.
    pub(crate) replies: Option<Arc<dyn ReplyQueue>>,
    pub(crate) arms: Option<Arms>,
    pub(crate) returns: Arc<Type>,
    pub(crate) caller: Caller,
}

/// The event whose source a successful command re-arms, and the source; `None` for all sources.
pub(crate) type Arms = (EventKind, Option<String>);

/// The way of replies to the monitor's loop.
pub(crate) trait ReplyQueue: fmt::Debug + Send + Sync {
    /// Queues the reply to a command, after the events that this thread emitted before.
    fn queue_reply(&self, command: &PendingCommand, result: Result<Vec<u8>, Refusal>);

    /// Returns whether the monitor is shut down, or about to be.
    fn is_stopping(&self) -> bool;
}

impl PendingCommand {
    /// Returns the command's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the client that sent the command.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Returns whether the client requested out-of-band execution.
    #[must_use]
    pub fn is_out_of_band(&self) -> bool {
        self.out_of_band
    }

    /// Returns the arguments, which fit their description.
    #[must_use]
    pub fn arguments(&self) -> &Object {
        &self.arguments
    }

    /// Returns the arguments as a type of the embedder.
    ///
    /// # Errors
    ///
    /// `GenericError` if the type does not agree with the description of the arguments.
    pub fn read_arguments<A: DeserializeOwned>(&self) -> Result<A, Refusal> {
        A::deserialize(Value::Object(self.arguments.clone()))
            .map_err(|error| Refusal::generic(error.to_string()))
    }

    /// Sends the reply. Events that this thread emitted before precede the reply.
    ///
    /// Does nothing if the client has disconnected.
    pub fn reply(mut self, result: Result<impl Serialize, Refusal>) {
        self.send(result.and_then(|value| return_text(&value)));
    }

    fn send(&mut self, result: Result<Vec<u8>, Refusal>) {
        if let Some(replies) = self.replies.take() {
            replies.queue_reply(self, result);
        }
    }
}

impl Drop for PendingCommand {
    fn drop(&mut self) {
        if self.replies.as_ref().is_some_and(|replies| !replies.is_stopping()) {
            let refusal = if std::thread::panicking() {
                panics::refusal(&self.name)
            } else {
                Refusal::generic(format!("The command {} was not answered", self.name))
            };
            self.send(Err(refusal));
        }
    }
}

/// Returns the text of a value to return.
pub(crate) fn return_text(value: &impl Serialize) -> Result<Vec<u8>, Refusal> {
    let mut text = Vec::new();
    dialect::write(value, &[], &mut text).map_err(|error| Refusal::generic(error.to_string()))?;
    Ok(text)
}
