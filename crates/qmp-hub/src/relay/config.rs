//! How one relay is set up.

use std::path::PathBuf;

use qmp_host::SocketAccess;

use crate::role::Role;

/// One relay socket of a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// The path of the socket.
    pub path: PathBuf,
    /// The rights of its clients.
    pub role: Role,
    /// The permissions of the socket's file: a user with write permission may connect.
    pub access: SocketAccess,
    /// Users who may connect; with no users and no groups, every user to whom the file's permissions apply.
    pub uids: Vec<u32>,
    /// Groups that may connect: the primary group of the peer or one of its supplementary groups.
    pub gids: Vec<u32>,
    /// Whether messages are spread over many lines, as with `pretty=on`.
    pub pretty: bool,
}

impl RelayConfig {
    /// A socket for observers, open to the hub's own user.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            role: Role::Observe,
            access: SocketAccess::OWNER,
            uids: Vec::new(),
            gids: Vec::new(),
            pretty: false,
        }
    }
}
