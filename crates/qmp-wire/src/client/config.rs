//! Configuration and outputs of the client state machine.

use std::fmt;
use std::time::Duration;

use crate::frame::FRAME_MAX_BYTES;
use crate::frame_error::FrameError;
use crate::message::{CommandError, Greeting, RawEvent};

/// Default time limit of [`ClientConfig::new`] for greeting and negotiation.
///
/// QEMU greets when it accepts the connection and replies to `qmp_capabilities` at once, unless another client
/// holds the monitor, or its main loop is busy: loading a large machine takes seconds.
pub const NEGOTIATION_TIMEOUT: Duration = Duration::from_secs(5);

/// Configuration of a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Whether to enable out-of-band execution when the server offers it.
    ///
    /// Not with QEMU 2.12, which had it in another form.
    pub out_of_band: bool,
    /// Time limit for greeting and negotiation, counted from [`Client::new`](crate::Client::new).
    pub negotiation_timeout: Duration,
    /// Longest message accepted, in bytes.
    pub frame_max_bytes: usize,
    /// A number that no other connection to the same monitor has: the ids of commands contain it.
    ///
    /// QEMU may write the reply to a command of the previous client to us; with ids that differ from connection to
    /// connection such a reply is not mistaken for ours.
    pub connection_nonce: u64,
}

impl ClientConfig {
    /// Creates the default configuration: no out-of-band execution, [`NEGOTIATION_TIMEOUT`], [`FRAME_MAX_BYTES`].
    #[must_use]
    pub fn new(connection_nonce: u64) -> Self {
        Self {
            out_of_band: false,
            negotiation_timeout: NEGOTIATION_TIMEOUT,
            frame_max_bytes: FRAME_MAX_BYTES,
            connection_nonce,
        }
    }
}

/// Identifies one command of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// An output of the state machine, in the order of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientOutput<'a> {
    /// The server greeted. `qmp_capabilities` has been queued for sending.
    Greeting(Greeting<'a>),
    /// Command mode is reached: from here on no event is missed.
    Negotiated {
        /// Whether `exec-oob` may be used.
        out_of_band: bool,
    },
    /// An event, in any phase.
    Event(RawEvent<'a>),
    /// The reply to a command of ours.
    Reply {
        /// The command of the reply.
        id: CommandId,
        /// Result as raw JSON, or the server's error.
        result: Result<&'a str, CommandError>,
    },
    /// An error that belongs to no command: the server could not read a message of ours. Reported, not paired.
    Unattributed(CommandError),
    /// A reply to no command of this connection (of the previous client), or an object that is no message: the
    /// whole of it, as raw JSON. Ignorable.
    Stray(&'a str),
}

/// Errors that end the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The peer broke the framing.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The first bytes of the peer, in place of the greeting, are no message.
    #[error("not a QMP monitor{}: it sent {beginning:?}", PeerGuess(beginning))]
    NotQmp {
        /// The start of these bytes, as text, as far as received.
        beginning: Box<str>,
    },
    /// The greeting lacks what each QMP server sends: the list `capabilities`. Only QEMU 0.12 has no `version`; where there
    /// is one, it is an object.
    #[error("invalid greeting: {what}")]
    InvalidGreeting {
        /// The missing or invalid part.
        what: &'static str,
    },
    /// No greeting arrived in time: the monitor is in use by another client, or the peer is no QMP server.
    #[error("no greeting within {waited:?}: another client holds the monitor, or it is no QMP monitor")]
    NoGreeting {
        /// The time waited.
        waited: Duration,
    },
    /// The server greeted but did not reply to `qmp_capabilities` in time.
    #[error("no reply to qmp_capabilities within {waited:?}")]
    NegotiationTimeout {
        /// The time waited.
        waited: Duration,
    },
    /// The server refused `qmp_capabilities`.
    #[error("negotiation refused: {0}")]
    NegotiationRefused(CommandError),
    /// The server greeted a second time: it has restarted the session, and the state of all commands under way is
    /// unknown.
    #[error("the server greeted a second time")]
    GreetedAgain,
    /// The peer closed its side before it greeted.
    #[error("closed before the greeting")]
    ClosedBeforeGreeting,
    /// The peer closed its side before it replied to `qmp_capabilities`.
    #[error("closed before the reply to qmp_capabilities")]
    ClosedBeforeReply,
}

/// Names the kind of server on a socket that is not a QMP monitor, by its first bytes.
struct PeerGuess<'a>(&'a str);

impl fmt::Display for PeerGuess<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SERVERS: [(&str, &str); 4] = [
            ("QEMU ", " but a human monitor (QMP needs -qmp, or -mon with mode=control)"),
            ("SSH-", " but an SSH server"),
            ("HTTP/", " but an HTTP server"),
            ("RFB ", " but a VNC server"),
        ];
        match SERVERS.iter().find(|(start, _)| self.0.starts_with(start)) {
            Some((_, server)) => f.write_str(server),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_texts_fit_after_a_colon() {
        let refusal = CommandError { class: "GenericError".into(), desc: "no".into() };
        let not_qmp = |beginning: &str| ClientError::NotQmp { beginning: beginning.into() };
        let cases = [
            (not_qmp("SSH-2.0-x\r\n"), r#"not a QMP monitor but an SSH server: it sent "SSH-2.0-x\r\n""#),
            (not_qmp("HTTP/1.1 400"), r#"not a QMP monitor but an HTTP server: it sent "HTTP/1.1 400""#),
            (not_qmp("RFB 003.008\n"), r#"not a QMP monitor but a VNC server: it sent "RFB 003.008\n""#),
            (
                not_qmp("QEMU 7.2.22 monitor"),
                "not a QMP monitor but a human monitor (QMP needs -qmp, or -mon with mode=control): it sent \
                 \"QEMU 7.2.22 monitor\"",
            ),
            (not_qmp("220 mail"), r#"not a QMP monitor: it sent "220 mail""#),
            (
                ClientError::NoGreeting { waited: Duration::from_secs(10) },
                "no greeting within 10s: another client holds the monitor, or it is no QMP monitor",
            ),
            (
                ClientError::NegotiationTimeout { waited: Duration::from_millis(2500) },
                "no reply to qmp_capabilities within 2.5s",
            ),
            (ClientError::NegotiationRefused(refusal), "negotiation refused: GenericError: no"),
            (ClientError::GreetedAgain, "the server greeted a second time"),
            (ClientError::ClosedBeforeGreeting, "closed before the greeting"),
            (ClientError::ClosedBeforeReply, "closed before the reply to qmp_capabilities"),
            (
                FrameError::TooLong { limit_bytes: FRAME_MAX_BYTES }.into(),
                "message exceeds the limit of 67108864 bytes",
            ),
        ];
        for (error, expected) in cases {
            assert_eq!(error.to_string(), expected);
        }
    }
}
