//! The listening socket of a relay, and the open files that it is counted with.

use std::sync::Arc;

use qmp_host::{Budget, FILES_OF_A_SOCKET, Share, SocketError, SocketFile, listen_unix};
use tokio::net::UnixListener;

use super::config::RelayConfig;

/// A listening socket.
#[derive(Debug)]
pub(super) struct RelaySocket {
    pub(super) listener: UnixListener,
    _file: SocketFile,
    _open_files: Share,
}

/// A listening socket, or why there is none.
pub(super) type BindResult = Result<RelaySocket, SocketError>;

/// Listens at the socket of that relay, if `open_files` has room for it.
pub(super) async fn bind(config: &RelayConfig, open_files: &Arc<Budget>) -> BindResult {
    let Some(_open_files) = open_files.take(FILES_OF_A_SOCKET) else {
        return Err(SocketError::NoDescriptors { path: config.path.clone(), max: open_files.max() });
    };
    let (listener, _file) = listen_unix(&config.path, config.access).await?;
    Ok(RelaySocket { listener, _file, _open_files })
}
