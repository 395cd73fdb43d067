//! A relay's socket: connections are accepted and authorized, and each becomes a client.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use qmp_host::Share;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::client::{Client, ClientExit};
use super::connected::ConnectedClient;
use super::limits::RELAY_OUTBOX_MAX_BYTES;
use super::listening::RelaySocket;
use super::outbox::Outbox;
use super::session::ClientSession;
use super::shared::Relay;
use crate::audit::Peer;

/// How long the relay rests when the system refuses a connection, such as for lack of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Whether a relay goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stop {
    #[default]
    No,
    /// Its VM goes, which its clients are told when they have got what was said last.
    WithVm,
    /// Its VM goes on without it.
    Alone,
}

/// Serves at the socket until it is to stop; then its clients have got what was said last.
pub(super) async fn serve(relay: Arc<Relay>, socket: RelaySocket, mut stop: watch::Receiver<Stop>) {
    let mut greeted = relay.line.greeted();
    let (mut clients, mut outboxes) = (JoinSet::new(), Vec::<Weak<Outbox>>::new());
    let how = loop {
        let is_open = greeted.borrow_and_update().is_some();
        tokio::select! {
            accepted = socket.listener.accept(), if is_open => match accepted {
                Ok((stream, _)) => {
                    let open_file = match relay.room_for_one_more(clients.len()) {
                        Ok(open_file) => open_file,
                        Err(reason) => {
                            relay.turn_away_one_more(&stream, &reason);
                            continue;
                        }
                    };
                    let outbox = Arc::new(Outbox::new(relay.config.pretty, RELAY_OUTBOX_MAX_BYTES, &relay.replays.memory));
                    outboxes.retain(|outbox| outbox.strong_count() > 0);
                    outboxes.push(Arc::downgrade(&outbox));
                    clients.spawn(serve_client(stream, open_file, outbox, Arc::clone(&relay)));
                }
                Err(error) => {
                    if let Some(more) = relay.not_accepted_said.pass(Instant::now()) {
                        tracing::warn!("cannot accept at {}: {error}{more}", relay.config.path.display());
                    }
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
            _ = clients.join_next(), if !clients.is_empty() => {}
            // The sender lives as long as the relay.
            _ = greeted.changed() => {}
            how = stopped(&mut stop) => break how,
        }
    };
    if how == Stop::Alone {
        let outboxes: Vec<_> = outboxes.iter().filter_map(Weak::upgrade).collect();
        relay.line.part(&outboxes);
    }
    while clients.join_next().await.is_some() {}
}

async fn stopped(stop: &mut watch::Receiver<Stop>) -> Stop {
    stop.wait_for(|stop| *stop != Stop::No).await.map_or(Stop::WithVm, |stop| *stop)
}

/// One connection.
async fn serve_client(stream: UnixStream, _open_file: Share, outbox: Arc<Outbox>, relay: Arc<Relay>) {
    let path = relay.config.path.display();
    let peer = match Peer::of(&stream) {
        Ok(peer) => peer,
        Err(error) => return tracing::warn!("{path}: cannot tell which client connects: {error}"),
    };
    let Some(identity) = relay.admit(&stream, peer) else { return };
    let Some(joined) = relay.line.join(&outbox) else {
        return relay.turn_away(&stream, &identity.peer, "the VM went away in this moment; connect again");
    };
    relay.counters.accepted.fetch_add(1, Ordering::Relaxed);
    let client = relay.connected.add(identity);
    let guard =
        ClientGuard { relay: Arc::clone(&relay), client: Arc::clone(&client), outbox: Arc::clone(&outbox) };
    let session = ClientSession::new(Arc::clone(&relay), client, outbox, joined);
    let exit = Client::new(stream, session).run().await;
    drop(guard);
    if exit == ClientExit::Slow {
        relay.counters.closed_slow.fetch_add(1, Ordering::Relaxed);
        if let Some(more) = relay.slow_said.pass(Instant::now()) {
            tracing::warn!("{path}: a client was closed because it did not read{more}");
        }
    }
}

/// Takes a client out of the list and of its line when this is dropped, also when its task is aborted.
struct ClientGuard {
    relay: Arc<Relay>,
    client: Arc<ConnectedClient>,
    outbox: Arc<Outbox>,
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        self.relay.line.leave(&self.outbox);
        self.relay.connected.remove(&self.client);
    }
}
