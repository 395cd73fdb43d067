//! The state that the clients of one relay share: its configuration, its counters, and which clients it admits.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use qmp_client::Commander;
use qmp_host::{Budget, LogLimit, Share, lock, peer_groups};
use qmp_journal::Appender;
use tokio::net::UnixStream;

use super::config::RelayConfig;
use super::connected::ConnectedClients;
use super::limits::RELAY_CLIENTS_MAX;
use super::line::Line;
use super::refusal;
use super::replay::Replays;
use super::status::RelayStatus;
use crate::audit::{ClientIdentity, Peer};
use crate::commands::CommandsInFlight;

/// The state that the clients of one relay share.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) config: RelayConfig,
    pub(super) line: Arc<Line>,
    pub(super) commander: Commander,
    /// Commands to the VM without a reply.
    pub(super) commands: Arc<CommandsInFlight>,
    pub(super) appender: Appender,
    pub(super) replays: Replays,
    /// The connections of clients that may be open.
    open_files: Arc<Budget>,
    pub(super) counters: Counters,
    pub(super) connected: ConnectedClients,
    refused_said: LogLimit,
    pub(super) slow_said: LogLimit,
    pub(super) not_accepted_said: LogLimit,
    /// Why no client is served.
    error: Mutex<Option<Box<str>>>,
}

/// Counters of one relay.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) accepted: AtomicU64,
    turned_away: AtomicU64,
    pub(super) closed_slow: AtomicU64,
    pub(super) commands: AtomicU64,
    pub(super) refused: AtomicU64,
}

impl Relay {
    pub(super) fn new(
        config: RelayConfig,
        line: Arc<Line>,
        (commander, commands): (Commander, Arc<CommandsInFlight>),
        appender: Appender,
        replays: Replays,
        open_files: Arc<Budget>,
    ) -> Self {
        Self {
            config,
            line,
            commander,
            commands,
            appender,
            replays,
            open_files,
            counters: Counters::default(),
            connected: ConnectedClients::default(),
            refused_said: LogLimit::default(),
            slow_said: LogLimit::default(),
            not_accepted_said: LogLimit::default(),
            error: Mutex::default(),
        }
    }

    pub(super) fn status(&self) -> RelayStatus {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RelayStatus {
            vm: self.line.vm.clone(),
            path: PathBuf::clone(&self.config.path),
            role: self.config.role.name(),
            clients: self.connected.len(),
            connected: self.connected.statuses(),
            accepted: read(&self.counters.accepted),
            turned_away: read(&self.counters.turned_away),
            closed_slow: read(&self.counters.closed_slow),
            commands: read(&self.counters.commands),
            refused: read(&self.counters.refused),
            error: self.lock_error().clone(),
        }
    }

    /// Sets or clears the reason why no client is served. Returns whether it changed.
    pub(super) fn set_error(&self, error: Option<&str>) -> bool {
        let mut known = self.lock_error();
        let is_news = known.as_deref() != error;
        *known = error.map(Into::into);
        is_news
    }

    fn lock_error(&self) -> MutexGuard<'_, Option<Box<str>>> {
        // Each change is one assignment.
        lock(&self.error)
    }

    /// Authorizes the client at the other end.
    pub(super) fn admit(&self, stream: &UnixStream, peer: Peer) -> Option<ClientIdentity> {
        let RelayConfig { uids, gids, path, .. } = &self.config;
        let is_listed = match &peer {
            Peer::Process { uid, gid, .. } => {
                let is_in_group = || peer_groups(stream).iter().any(|group| gids.contains(group));
                uids.contains(uid) || gids.contains(gid) || is_in_group()
            }
            Peer::Remote(_) => false,
        };
        if is_listed || uids.is_empty() && gids.is_empty() {
            return Some(ClientIdentity { peer, token: None, at: path.to_string_lossy().into() });
        }
        let reason = "neither its user nor one of its groups is listed in `uids` and `gids` of this relay's configuration";
        self.turn_away(stream, &peer, reason);
        None
    }

    /// Reserves the open file of one more client, or returns why it is not served.
    pub(super) fn room_for_one_more(&self, clients: usize) -> Result<Share, String> {
        if clients >= RELAY_CLIENTS_MAX {
            return Err(format!("it has {RELAY_CLIENTS_MAX} clients already"));
        }
        let max = self.open_files.max();
        let too_many =
            || format!("{max} clients are connected to this hub, as many as its limit of open files permits");
        self.open_files.take(1).ok_or_else(too_many)
    }

    pub(super) fn turn_away_one_more(&self, stream: &UnixStream, reason: &str) {
        match Peer::of(stream) {
            Ok(peer) => self.turn_away(stream, &peer, reason),
            Err(error) => tracing::debug!("cannot tell which client was one too many: {error}"),
        }
    }

    /// Sends the reason to a client that is not served, in place of the greeting, and logs which client it was.
    pub(super) fn turn_away(&self, stream: &UnixStream, peer: &Peer, reason: &str) {
        self.counters.turned_away.fetch_add(1, Ordering::Relaxed);
        let desc = format!("The relay of {} does not serve this client ({peer}): {reason}", self.line.vm);
        // A socket that was just connected has room.
        let _ = stream.try_write(&refusal::without_request(&desc));
        let Some(more) = self.refused_said.pass(Instant::now()) else { return };
        let relay = self.config.path.display();
        let (uid, gid, pid) = match peer {
            Peer::Process { uid, gid, pid, .. } => (Some(*uid), Some(*gid), *pid),
            Peer::Remote(_) => (None, None, None),
        };
        tracing::warn!(vm = %self.line.vm, uid, gid, pid, "{relay}: a client was refused: {reason}{more}");
    }
}
