//! How one relay is set up.

use std::path::PathBuf;

use crate::role::Role;

/// The mode of a relay's socket unless configured otherwise: for the hub's own user.
pub const DEFAULT_MODE: u32 = 0o600;

/// One relay socket of a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// Where.
    pub path: PathBuf,
    /// What its clients may do.
    pub role: Role,
    /// The permissions of the socket's file: who may write to it may connect.
    pub mode: u32,
    /// Users who are let in; with no users and no groups, everybody whom the file lets in.
    pub uids: Vec<u32>,
    /// Groups who are let in: the peer's primary one counts.
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
            mode: DEFAULT_MODE,
            uids: Vec::new(),
            gids: Vec::new(),
            pretty: false,
        }
    }
}
