//! The connections to an address at which a monitor may listen.

use qmp_host::process::ProcessStat;

/// Clients that are connected to a listening socket, and clients that wait.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Clients {
    /// The inode of the socket that listens.
    pub(super) listener: u64,
    /// Accepted connections whose client is connected.
    pub(super) connected: Vec<Client>,
    /// Accepted connections whose client left, and that the server has not closed.
    pub(super) abandoned: usize,
    /// Connections that were not accepted yet.
    pub(super) waiting: usize,
}

/// The client of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// The inode of its socket; 0 if it is on another host.
    pub(super) inode: u64,
    /// Its process; `None` if it is unknown.
    pub(super) process: Option<ProcessStat>,
}
