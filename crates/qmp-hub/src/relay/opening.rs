//! A relay whose socket cannot be had: reported, and tried again until it can.

use std::sync::Arc;
use std::time::Duration;

use qmp_host::{SocketError, SocketFile, listen_unix};
use tokio::net::UnixListener;
use tokio::sync::watch;

use super::serve::{Stop, serve};
use super::shared::Relay;

/// How long after a first failure the socket of a relay is tried again; each further pause is twice as long.
const RELAY_RETRY_FIRST: Duration = Duration::from_secs(1);

/// The longest pause between two tries: within a minute of what was mended, the relay is there.
const RELAY_RETRY_MAX: Duration = Duration::from_secs(60);

/// A socket that listens, or why it cannot be had.
pub(super) type Bound = Result<(UnixListener, SocketFile), SocketError>;

/// Serves at the socket, as soon as it can be had, until the relay is to stop.
pub(super) async fn open(relay: Arc<Relay>, mut socket: Bound, mut stop: watch::Receiver<Stop>) {
    let mut pause = RELAY_RETRY_FIRST;
    loop {
        if let Ok((listener, file)) = socket {
            return serve(relay, listener, file, stop).await;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.wait_for(|stop| *stop != Stop::No) => return,
        }
        pause = (pause * 2).min(RELAY_RETRY_MAX);
        socket = listen_unix(&relay.config.path, relay.config.mode).await;
        note(&relay, socket.as_ref().err());
    }
}

/// Notes why the socket cannot be had, or that it can, and logs what is news.
pub(super) fn note(relay: &Relay, error: Option<&SocketError>) {
    let error = error.map(ToString::to_string);
    if !relay.set_error(error.as_deref()) {
        return;
    }
    match error {
        Some(error) => {
            tracing::warn!(vm = %relay.line.vm, "a relay cannot be served, and is tried again: {error}");
        }
        None => {
            tracing::info!(vm = %relay.line.vm, "the relay at {} is served", relay.config.path.display());
        }
    }
}
