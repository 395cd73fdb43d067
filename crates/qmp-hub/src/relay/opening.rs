//! Opens the socket of a relay: a failure is reported, and retried.

use std::sync::Arc;
use std::time::Duration;

use qmp_host::{Budget, SocketError};
use tokio::sync::watch;

use super::listening::{BindResult, bind};
use super::serve::{Stop, serve};
use super::shared::Relay;

/// How long after the first failure the socket of a relay is retried; each further pause is twice as long.
const RELAY_RETRY_FIRST: Duration = Duration::from_secs(1);

/// The longest pause between two attempts: the relay is served within a minute after its cause of failure is removed.
const RELAY_RETRY_MAX: Duration = Duration::from_secs(60);

/// Serves at the socket, retrying until it is open, until the relay must stop.
pub(super) async fn open(
    relay: Arc<Relay>,
    mut socket: BindResult,
    open_files: Arc<Budget>,
    mut stop: watch::Receiver<Stop>,
) {
    let mut pause = RELAY_RETRY_FIRST;
    loop {
        if let Ok(socket) = socket {
            return serve(relay, socket, stop).await;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.wait_for(|stop| *stop != Stop::No) => return,
        }
        pause = (pause * 2).min(RELAY_RETRY_MAX);
        socket = bind(&relay.config, &open_files).await;
        note(&relay, socket.as_ref().err());
    }
}

/// Sets or clears the error of the socket, and logs a change.
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
