//! Which users may connect to a socket, by the permissions of its file.

/// The permissions of a socket's file: a user with write permission may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketAccess {
    /// The mode.
    pub mode: u32,
    /// The group of the file; that of this process unless given.
    pub group: Option<u32>,
}

impl SocketAccess {
    /// Only this user may connect.
    pub const OWNER: Self = Self { mode: 0o600, group: None };

    /// The configured access; with a group, its users may connect unless a mode is given.
    #[must_use]
    pub const fn new(mode: Option<u32>, group: Option<u32>) -> Self {
        let mode = match (mode, group) {
            (Some(mode), _) => mode,
            (None, Some(_)) => 0o660,
            (None, None) => 0o600,
        };
        Self { mode, group }
    }
}
