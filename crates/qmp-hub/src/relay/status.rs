//! How one relay stands, as the hub reports it.

use std::path::PathBuf;

use serde::Serialize;

/// How one relay stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RelayStatus {
    /// The VM.
    pub vm: Box<str>,
    /// The socket.
    pub path: PathBuf,
    /// `observe` or `operate`.
    pub role: &'static str,
    /// Clients at this moment.
    pub clients: u64,
    /// Clients that were let in since the hub started.
    pub accepted: u64,
    /// Connections that were not served: the client is not listed, or one too many.
    pub turned_away: u64,
    /// Clients that were closed because they did not read.
    pub closed_slow: u64,
    /// Commands that were passed to the VM.
    pub commands: u64,
    /// Commands that the role refused.
    pub refused: u64,
    /// Why no client is served at the socket; it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Box<str>>,
}
