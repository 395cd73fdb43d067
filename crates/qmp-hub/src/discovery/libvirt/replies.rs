//! Commands of clients that libvirtd has, and their replies.

use std::collections::HashMap;

use qmp_client::{CommandError, ExecuteError, ReplySink};
use qmp_libvirt::{CallId, DomainState, FollowSocket, RemoteError, Uuid};
use serde_json::json;

use crate::domain_commands::{lost, result_of};

/// The class of an error that is libvirt's and not QEMU's.
pub(super) const LIBVIRT_ERROR: &str = "LibvirtError";

/// The clients that wait for replies, by the calls.
#[derive(Debug, Default)]
pub(super) struct Replies(HashMap<CallId, (Uuid, Box<dyn ReplySink>)>);

impl Replies {
    /// A command was passed to libvirtd, whose reply is for `sink`.
    pub(super) fn sent(&mut self, call: CallId, uuid: Uuid, sink: Box<dyn ReplySink>) {
        self.0.insert(call, (uuid, sink));
    }

    /// Queries the state of a domain for a question that is still open.
    pub(super) fn query_state(&mut self, uuid: Uuid, sink: Box<dyn ReplySink>, follow: &mut FollowSocket) {
        if sink.is_cancelled() {
            return;
        }
        match follow.query_state(uuid) {
            Some(call) => drop(self.0.insert(call, (uuid, sink))),
            None => sink.deliver(Err(ExecuteError::NotAttached)),
        }
    }

    /// Takes the client that waits for the reply to a call, and the domain.
    pub(super) fn take(&mut self, call: CallId) -> Option<(Uuid, Box<dyn ReplySink>)> {
        self.0.remove(&call)
    }

    /// The session ended: whether the commands took effect is unknown.
    pub(super) fn lose(&mut self) {
        for (_, (_, sink)) in self.0.drain() {
            sink.deliver(Err(lost()));
        }
    }
}

/// The answer about the state of a domain.
pub(super) fn state(reply: Result<DomainState, RemoteError>) -> Result<Box<str>, ExecuteError> {
    match reply {
        Ok(state) => {
            Ok(json!({"state": state.state_word(), "reason": state.reason_word()}).to_string().into())
        }
        Err(error) => {
            Err(CommandError { class: LIBVIRT_ERROR.into(), desc: error.to_string().into() }.into())
        }
    }
}

/// The result of a command from libvirtd's reply.
pub(super) fn result(reply: Result<Box<str>, RemoteError>) -> Result<Box<str>, ExecuteError> {
    match reply {
        Ok(reply) => result_of(&reply),
        Err(error) => {
            Err(CommandError { class: LIBVIRT_ERROR.into(), desc: error.to_string().into() }.into())
        }
    }
}
