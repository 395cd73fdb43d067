//! Errors of a server, each with what an operator can do.

use std::io;
use std::path::PathBuf;

use serde::Deserialize;

/// Errors of a server or of its streams.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// A file of credentials cannot be read.
    #[error("cannot read the credentials in {}: {source}", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file of certificates cannot be read.
    #[error("cannot read the certificates in {}: {source}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// There is no connection with TLS.
    #[error(
        "cannot connect with TLS: {cause}: `ca-file` names the authority of the server's certificate, and `certificate` \
         that of this client if the server asks for one"
    )]
    Tls {
        /// The cause.
        cause: Box<str>,
    },
    /// There is no connection.
    #[error("cannot connect: {cause}")]
    Connect {
        /// The cause.
        cause: Box<str>,
    },
    /// The server does not accept the credentials.
    #[error(
        "the server refuses the credentials: check `credentials-file`, or the user and password in the address, and the \
         users of the server"
    )]
    Unauthorized,
    /// The connection was lost.
    #[error("the connection was lost")]
    Lost,
    /// The user lacks a permission.
    #[error("{violation}: grant it to this user in the configuration of the server")]
    Denied {
        /// The permission, as the server names it.
        violation: Box<str>,
    },
    /// The account has no `JetStream`.
    #[error("the server has no JetStream for this account: add `jetstream {{}}` to its configuration")]
    NoJetStream,
    /// There is no such stream.
    #[error(
        "the server has no stream {stream}: the rule of a host creates the stream; check its `stream` and its server"
    )]
    NoSuchStream {
        /// The stream.
        stream: Box<str>,
    },
    /// No stream takes the subject.
    #[error(
        "no stream takes the subject {subject}: was the stream deleted, or has its cluster no leader at the moment?"
    )]
    NoStream {
        /// The subject.
        subject: Box<str>,
    },
    /// The stream takes other subjects.
    #[error("the stream {stream} takes {subjects}, and not {wanted}: add it to the subjects of the stream")]
    StreamSubjects {
        /// The stream.
        stream: Box<str>,
        /// Its subjects.
        subjects: Box<str>,
        /// The subjects that are published.
        wanted: Box<str>,
    },
    /// The stream cannot be published to.
    #[error("the stream {stream} has the option `{option}`, with which nothing can be published: change it")]
    StreamOption {
        /// The stream.
        stream: Box<str>,
        /// The option.
        option: &'static str,
    },
    /// The server refuses a request or a message.
    #[error("{doing}: {error}{}", error.advice())]
    Server {
        /// The operation.
        doing: Box<str>,
        /// The error.
        error: ServerError,
    },
    /// The server does not answer.
    #[error("{doing}: no answer within {seconds} s")]
    Timeout {
        /// The operation.
        doing: Box<str>,
        /// How long the answer was waited for.
        seconds: u64,
    },
    /// The server returned something that is not understood.
    #[error("{doing}: the reply of the server is invalid: {cause}")]
    Reply {
        /// The operation.
        doing: Box<str>,
        /// The fault.
        cause: Box<str>,
    },
    /// The server accepts no message of this size.
    #[error("the message has {bytes} bytes, and the server accepts {max}: raise `max_payload` of the server")]
    TooLarge {
        /// The size of the message with its headers.
        bytes: usize,
        /// The limit of the server.
        max: usize,
    },
    /// The server ignored the filter of a consumer.
    #[error(
        "the server has not applied the filter {requested}: it is older than 2.10, or another program changed the consumer"
    )]
    Filter {
        /// The requested filter.
        requested: Box<str>,
    },
}

/// An error as a server reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, thiserror::Error)]
#[error("{description} (error {err_code})")]
pub struct ServerError {
    /// The class, as of HTTP.
    #[serde(default)]
    pub code: u32,
    /// The number of the error.
    #[serde(default)]
    pub err_code: u32,
    /// The error for people.
    #[serde(default)]
    pub description: Box<str>,
}

/// No such stream.
pub(crate) const STREAM_NOT_FOUND: u32 = 10_059;

impl ServerError {
    /// What an operator can do, by the numbers in `server/errors.json` of nats-server.
    fn advice(&self) -> &'static str {
        match self.err_code {
            10_023 | 10_028 | 10_047 => {
                "; free disk space of the server, or raise `max_file_store` of its JetStream; the records wait in the \
                 journal"
            }
            10_002 | 10_120 => "; raise the limits of the account; the records wait in the journal",
            10_077 | 10_122 => {
                "; raise `max_bytes` of the stream, or lower its `max_age`; if the disk of the server is full, free \
                 space; the records wait in the journal"
            }
            10_054 => "; raise `max_msg_size` of the stream",
            10_058 | 10_065 => "; use the name of that stream, or other subjects for it",
            10_074 | 10_005 => "; `replicas` must not exceed the number of servers in the cluster",
            10_008 | 10_009 | 10_118 => "; the cluster has no leader at the moment",
            10_076 | 10_039 => "; enable JetStream for this account",
            _ => "",
        }
    }
}

impl FleetError {
    /// Whether there is a connection to a server, which reported the error or caused it.
    #[must_use]
    pub fn is_of_server(&self) -> bool {
        !matches!(
            self,
            Self::Credentials { .. }
                | Self::Certificates { .. }
                | Self::Tls { .. }
                | Self::Connect { .. }
                | Self::Unauthorized
                | Self::Lost
        )
    }

    /// Whether the next attempt cannot succeed, because of the message itself.
    #[must_use]
    pub fn is_of_message(&self) -> bool {
        match self {
            Self::TooLarge { .. } => true,
            Self::Server { error, .. } => error.err_code == 10_054,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_of_server_has_the_next_move() {
        let cases = [
            (r#"{"code":503,"err_code":10077,"description":"maximum bytes exceeded"}"#, "raise `max_bytes`"),
            (r#"{"code":500,"err_code":10047,"description":"insufficient storage"}"#, "free disk space"),
            (r#"{"code":500,"err_code":10074,"description":"replicas > 1"}"#, "`replicas` must not exceed"),
            (r#"{"code":400,"err_code":10065,"description":"overlap"}"#, "other subjects"),
            (r#"{"code":500}"#, "publish:  (error 0)"),
        ];
        for (json, expected) in cases {
            let error: ServerError = serde_json::from_str(json).expect(json);
            let error = FleetError::Server { doing: "publish".into(), error };
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!error.is_of_message());
        }
    }
}
