//! The connections to an address at which a monitor may listen.

/// Who is connected to a listening socket, and who waits.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Clients {
    /// The inode of the socket that listens.
    pub(super) listener: u64,
    /// Connections that were accepted and whose client is there.
    pub(super) connected: Vec<Client>,
    /// Connections that were accepted, whose client left, and that the server keeps all the same.
    pub(super) abandoned: usize,
    /// Connections that were not accepted yet.
    pub(super) waiting: usize,
}

/// The client of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// The inode of its socket; 0 if it is on another host.
    pub(super) inode: u64,
    /// Who it is, such as `process 4242 (socat)`; `None` where that is not known.
    pub(super) name: Option<String>,
}
