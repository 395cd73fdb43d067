//! The status of one relay, as the hub reports it.

use std::path::PathBuf;

use serde::Serialize;

/// The status of one relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RelayStatus {
    /// The VM.
    pub vm: Box<str>,
    /// The socket.
    pub path: PathBuf,
    /// `observe` or `operate`.
    pub role: &'static str,
    /// Clients that are connected.
    pub clients: u64,
    /// These clients, in the order in which they connected.
    pub connected: Vec<RelayClientStatus>,
    /// Clients that were served since the hub started.
    pub accepted: u64,
    /// Connections that were not served: the client is not authorized, or there were too many clients.
    pub turned_away: u64,
    /// Clients that were closed because they did not read.
    pub closed_slow: u64,
    /// Commands that were passed to the VM.
    pub commands: u64,
    /// Commands that the role refused.
    pub refused: u64,
    /// Why no client is served at the socket; it is retried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Box<str>>,
}

/// A client that is connected to a relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RelayClientStatus {
    /// The name of its user, or `uid N`.
    pub user: String,
    /// Its user.
    pub uid: Option<u32>,
    /// Its process; `None` if the system did not report it.
    pub pid: Option<i32>,
    /// The name of its program.
    pub comm: Option<Box<str>>,
    /// When it connected, RFC 3339.
    pub since: String,
    /// Its commands that were passed to the VM.
    pub commands: u64,
}
