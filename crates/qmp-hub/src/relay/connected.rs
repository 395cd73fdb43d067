//! The clients that are connected to one relay.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use qmp_host::{clock, lock};
use qmp_wire::UnixMicros;

use super::status::RelayClientStatus;
use crate::audit::{ClientIdentity, Peer};

/// A client, from its first greeting to its end.
#[derive(Debug)]
pub(super) struct ConnectedClient {
    pub(super) identity: Arc<ClientIdentity>,
    since: UnixMicros,
    commands: AtomicU64,
}

/// All clients of a relay, in the order in which they connected.
#[derive(Debug, Default)]
pub(super) struct ConnectedClients(Mutex<Vec<Arc<ConnectedClient>>>);

impl ConnectedClient {
    /// Counts a command that is passed to the VM.
    pub(super) fn count_command(&self) {
        self.commands.fetch_add(1, Ordering::Relaxed);
    }

    fn status(&self) -> RelayClientStatus {
        let (uid, pid, comm) = match &self.identity.peer {
            Peer::Process { uid, pid, comm, .. } => (Some(*uid), *pid, comm.clone()),
            Peer::Remote(_) => (None, None, None),
        };
        RelayClientStatus {
            user: self.identity.who(),
            uid,
            pid,
            comm,
            since: self.since.to_string(),
            commands: self.commands.load(Ordering::Relaxed),
        }
    }
}

impl ConnectedClients {
    pub(super) fn add(&self, identity: ClientIdentity) -> Arc<ConnectedClient> {
        let client = ConnectedClient {
            identity: Arc::new(identity),
            since: clock::now(),
            commands: AtomicU64::default(),
        };
        let client = Arc::new(client);
        lock(&self.0).push(Arc::clone(&client));
        client
    }

    pub(super) fn remove(&self, client: &Arc<ConnectedClient>) {
        lock(&self.0).retain(|other| !Arc::ptr_eq(other, client));
    }

    pub(super) fn len(&self) -> u64 {
        lock(&self.0).len() as u64
    }

    pub(super) fn statuses(&self) -> Vec<RelayClientStatus> {
        let clients = lock(&self.0).clone();
        clients.iter().map(|client| client.status()).collect()
    }
}
