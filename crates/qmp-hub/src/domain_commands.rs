//! Commands for domains that are followed through libvirt, and requests for their states, on their way to the follower of the
//! daemon.

use qmp_client::{CloseReason, CommandError, ExecuteError, ForwardedCommand, RawValue, ReplySink};
use qmp_libvirt::{Domain, Uuid};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// Most commands that wait for the follower of one daemon, which executes three at a time.
pub(crate) const DOMAIN_COMMANDS_MAX: usize = 64;

/// Sends commands to one domain.
#[derive(Clone, Debug)]
pub(crate) struct DomainCommander {
    pub(crate) uuid: Uuid,
    pub(crate) queue: mpsc::Sender<DomainCommand>,
}

/// Sends requests for the state of one domain.
#[derive(Clone, Debug)]
pub(crate) struct DomainLink {
    pub(crate) uuid: Uuid,
    pub(crate) requests: mpsc::UnboundedSender<DomainRequest>,
}

/// A request for the state of a domain, which libvirt knows: it asks no QEMU, and marks no domain as tainted.
#[derive(Debug)]
pub(crate) enum DomainRequest {
    /// With the state, the next epoch opens.
    Reopen(Uuid),
    /// The state answers a question.
    State { uuid: Uuid, sink: Box<dyn ReplySink> },
    /// A domain that is off has records in the journal under this name.
    Recorded { domain: Domain, name: Box<str> },
}

/// A command for a domain.
#[derive(Debug)]
pub(crate) struct DomainCommand {
    pub(crate) uuid: Uuid,
    /// The command as a line of QMP.
    pub(crate) text: String,
    pub(crate) sink: Box<dyn ReplySink>,
}

#[derive(Serialize)]
struct CommandLine<'a> {
    #[serde(rename = "execute", skip_serializing_if = "Option::is_none")]
    in_band: Option<&'a str>,
    #[serde(rename = "exec-oob", skip_serializing_if = "Option::is_none")]
    out_of_band: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct QemuReply<'a> {
    #[serde(borrow, rename = "return")]
    value: Option<&'a RawValue>,
    error: Option<QemuError>,
}

#[derive(Deserialize)]
struct QemuError {
    #[serde(default)]
    class: Box<str>,
    #[serde(default)]
    desc: Box<str>,
}

impl DomainLink {
    /// Requests the state for the next epoch. Without a follower nothing happens: its next session queries every state.
    pub(crate) fn reopen(&self) {
        let _ = self.requests.send(DomainRequest::Reopen(self.uuid));
    }

    /// Requests the state for `sink`.
    ///
    /// # Errors
    ///
    /// `NotAttached`: the follower ended.
    pub(crate) fn query_state(&self, sink: Box<dyn ReplySink>) -> Result<(), ExecuteError> {
        let request = DomainRequest::State { uuid: self.uuid, sink };
        self.requests.send(request).map_err(|_| ExecuteError::NotAttached)
    }
}

impl DomainCommander {
    /// Passes a command to the follower of the daemon.
    ///
    /// # Errors
    ///
    /// `NotAttached`, `Busy`, `InvalidArguments`, `NoDescriptorPassing`: the command was not queued.
    pub(crate) fn forward(
        &self,
        command: ForwardedCommand<'_>,
        sink: Box<dyn ReplySink>,
    ) -> Result<(), ExecuteError> {
        let ForwardedCommand { command, arguments, out_of_band, descriptors } = command;
        if !descriptors.is_empty() {
            return Err(ExecuteError::NoDescriptorPassing);
        }
        let invalid =
            |error: serde_json::Error| ExecuteError::InvalidArguments { what: error.to_string().into() };
        let line = CommandLine {
            in_band: (!out_of_band).then_some(command),
            out_of_band: out_of_band.then_some(command),
            arguments: arguments.map(serde_json::from_str).transpose().map_err(invalid)?,
        };
        let text = serde_json::to_string(&line).map_err(invalid)?;
        let command = DomainCommand { uuid: self.uuid, text, sink };
        self.queue.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ExecuteError::Busy { waiting: DOMAIN_COMMANDS_MAX },
            mpsc::error::TrySendError::Closed(_) => ExecuteError::NotAttached,
        })
    }
}

/// The result in QEMU's reply, as libvirt passes it on.
pub(crate) fn result_of(reply: &str) -> Result<Box<str>, ExecuteError> {
    let unexpected = |what: String| ExecuteError::UnexpectedReply { what: what.into() };
    let read: QemuReply<'_> = serde_json::from_str(reply).map_err(|error| unexpected(error.to_string()))?;
    match (read.value, read.error) {
        (_, Some(QemuError { class, desc })) => Err(CommandError { class, desc }.into()),
        (Some(value), None) => Ok(value.get().into()),
        (None, None) => Err(unexpected("neither `return` nor `error`".to_owned())),
    }
}

/// The error of a command whose reply will not be received: the connection to the daemon ended.
pub(crate) fn lost() -> ExecuteError {
    ExecuteError::Closed { reason: CloseReason::PeerClosed }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Discards its reply.
    #[derive(Debug)]
    struct Discard;

    impl ReplySink for Discard {
        fn is_cancelled(&self) -> bool {
            false
        }

        fn deliver(self: Box<Self>, _: Result<Box<str>, ExecuteError>) {}
    }

    #[test]
    fn command_is_a_line_of_qmp() {
        let (queue, mut commands) = mpsc::channel(1);
        let commander = DomainCommander { uuid: Uuid::from_bytes([1; 16]), queue };
        let forward = |command, arguments, out_of_band| {
            let command = ForwardedCommand { command, arguments, out_of_band, descriptors: Vec::new() };
            commander.forward(command, Box::new(Discard))
        };
        let cases = [
            ("stop", None, false, r#"{"execute":"stop"}"#),
            ("a\"b", Some(r#"{"n": 1e3}"#), false, r#"{"execute":"a\"b","arguments":{"n": 1e3}}"#),
            ("yank", None, true, r#"{"exec-oob":"yank"}"#),
        ];
        for (command, arguments, out_of_band, expected) in cases {
            forward(command, arguments, out_of_band).expect("room");
            assert_eq!(commands.try_recv().expect("a command").text, expected);
        }
        forward("stop", None, false).expect("room");
        assert!(matches!(forward("stop", None, false), Err(ExecuteError::Busy { .. })));
        drop(commands);
        assert!(matches!(forward("stop", None, false), Err(ExecuteError::NotAttached)));
    }

    #[test]
    fn reply_of_qemu_is_a_result_or_a_refusal() {
        let cases = [
            (r#"{"return":{"a": 1.0},"id":"libvirt-7"}"#, r#"{"a": 1.0}"#),
            (
                r#"{"id":"libvirt-8","error":{"class":"CommandNotFound","desc":"The command x has not been found"}}"#,
                "CommandNotFound: The command x has not been found",
            ),
            (r#"{"id":"libvirt-9"}"#, "unexpected reply: neither `return` nor `error`"),
        ];
        for (reply, expected) in cases {
            let result = result_of(reply).map(String::from).unwrap_or_else(|error| error.to_string());
            assert_eq!(result, expected, "{reply}");
        }
    }
}
