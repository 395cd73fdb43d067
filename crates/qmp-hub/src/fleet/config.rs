//! A stream that a fleet hub reads, and from which hosts.

use std::fmt;
use std::str::FromStr;

use qmp_fleet::{ServerAddress, ServerAddressError, ServerConfig, filter_subject};
use qmp_journal::Globs;

/// The stream that is read if none is named: that of the sink `nats`.
pub const FLEET_STREAM_DEFAULT: &str = "qmp";

/// The name of this program at the servers.
const CONNECTION_NAME: &str = "qmp fleet hub";

/// A stream that a fleet hub reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetSourceConfig {
    /// The servers, and how to authenticate.
    pub server: ServerConfig,
    /// The stream.
    pub stream: Box<str>,
    /// The hosts whose records are taken; all if it is empty.
    pub hosts: Vec<Box<str>>,
}

/// Errors of a source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetSourceError {
    /// The address is not one of NATS.
    #[error(transparent)]
    Address(#[from] ServerAddressError),
    /// A stream cannot have this name.
    #[error("{name:?} is no name of a stream: it has no blanks, '.', '*', '>' or slashes, and is not empty")]
    Stream {
        /// The name.
        name: Box<str>,
    },
}

impl FleetSourceConfig {
    /// A stream at these servers.
    ///
    /// # Errors
    ///
    /// [`FleetSourceError::Stream`].
    pub fn new(addresses: Vec<ServerAddress>, stream: &str) -> Result<Self, FleetSourceError> {
        let is_invalid = |character: char| character.is_whitespace() || ".*>/\\".contains(character);
        if stream.is_empty() || stream.contains(is_invalid) {
            return Err(FleetSourceError::Stream { name: stream.into() });
        }
        let server = ServerConfig {
            addresses,
            credentials_file: None,
            ca_file: None,
            certificate: None,
            name: CONNECTION_NAME.into(),
        };
        Ok(Self { server, stream: stream.into(), hosts: Vec::new() })
    }

    /// The patterns of hosts; `None` takes all. A pattern that cannot be read takes its own text.
    pub(super) fn patterns(&self) -> Option<Globs> {
        if self.hosts.is_empty() {
            return None;
        }
        let parsed = Globs::parse(self.hosts.iter().map(|host| &**host));
        Some(parsed.unwrap_or_else(|_| Globs::of_names(self.hosts.iter().map(|host| &**host))))
    }

    /// The subjects that the server selects, if all hosts are named without patterns.
    pub(super) fn filters(&self) -> Vec<String> {
        if self.hosts.iter().any(|host| host.contains(['*', '?', '[', '{', '!', '\\'])) {
            return Vec::new();
        }
        self.hosts.iter().map(|host| filter_subject(Some(host), None, None, None)).collect()
    }

    /// Whether both read the same stream, whose position is kept once.
    #[must_use]
    pub fn reads_the_same(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

/// Reads `nats://HOST:PORT` or `nats://HOST:PORT/STREAM`.
impl FromStr for FleetSourceConfig {
    type Err = FleetSourceError;

    fn from_str(text: &str) -> Result<Self, FleetSourceError> {
        let after_scheme = text.find("://").map_or(0, |at| at + 3);
        let slash = text[after_scheme..].find('/').map(|at| after_scheme + at);
        let (address, stream) = match slash {
            Some(slash) if slash + 1 < text.len() => (&text[..slash], &text[slash + 1..]),
            _ => (text, FLEET_STREAM_DEFAULT),
        };
        Self::new(vec![address.parse()?], stream)
    }
}

/// The servers without logins, and the stream.
impl fmt::Display for FleetSourceConfig {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}/{}", self.server.shown(), self.stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_is_read_with_or_without_stream() {
        let cases = [
            ("nats://127.0.0.1:4222", "nats://127.0.0.1:4222/qmp"),
            ("nats://127.0.0.1:4222/", "nats://127.0.0.1:4222/qmp"),
            ("nats://me:s%40crt@h:1/site-a", "nats://h:1/site-a"),
            ("tls://h/x y", "\"x y\" is no name of a stream"),
            ("http://h", "expected an address"),
            ("h/qmp", "expected an address"),
        ];
        for (text, expected) in cases {
            let shown = text
                .parse::<FleetSourceConfig>()
                .map_or_else(|error| error.to_string(), |source| source.to_string());
            assert!(shown.starts_with(expected), "{text}: {shown}");
        }
    }
}
