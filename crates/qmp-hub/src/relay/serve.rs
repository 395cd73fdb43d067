//! A relay's socket: who comes is looked at, counted, and served.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use qmp_client::Commander;
use qmp_host::{Budget, Rarely, Share, SocketFile};
use qmp_journal::Appender;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::client::{Client, Departure};
use super::line::Line;
use super::outbox::Outbox;
use super::replay::Replays;
use super::{RELAY_CLIENTS_MAX, RELAY_OUTBOX_MAX_BYTES, RelayConfig, RelayStatus, refusal};
use crate::audit::{Peer, Who};
use crate::commands::Commands;

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

/// What the clients of one relay share.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) config: RelayConfig,
    pub(super) line: Arc<Line>,
    pub(super) commander: Commander,
    /// Commands to the VM without a reply.
    pub(super) commands: Arc<Commands>,
    pub(super) appender: Appender,
    pub(super) replays: Replays,
    /// The connections of clients that may be open.
    open_files: Arc<Budget>,
    pub(super) counters: Counters,
    turned_away_said: Rarely,
    slow_said: Rarely,
    not_accepted_said: Rarely,
    /// Why no client is served at it.
    error: Mutex<Option<Box<str>>>,
}

/// What happened at one relay.
#[derive(Debug, Default)]
pub(super) struct Counters {
    clients: AtomicU64,
    accepted: AtomicU64,
    turned_away: AtomicU64,
    closed_slow: AtomicU64,
    pub(super) commands: AtomicU64,
    pub(super) refused: AtomicU64,
}

impl Relay {
    pub(super) fn new(
        config: RelayConfig,
        line: Arc<Line>,
        (commander, commands): (Commander, Arc<Commands>),
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
            turned_away_said: Rarely::default(),
            slow_said: Rarely::default(),
            not_accepted_said: Rarely::default(),
            error: Mutex::default(),
        }
    }

    pub(super) fn status(&self) -> RelayStatus {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RelayStatus {
            vm: self.line.vm.clone(),
            path: PathBuf::clone(&self.config.path),
            role: self.config.role.name(),
            clients: read(&self.counters.clients),
            accepted: read(&self.counters.accepted),
            turned_away: read(&self.counters.turned_away),
            closed_slow: read(&self.counters.closed_slow),
            commands: read(&self.counters.commands),
            refused: read(&self.counters.refused),
            error: self.lock_error().clone(),
        }
    }

    /// Notes why no client is served at the socket, or that they are. Returns whether that is news.
    pub(super) fn set_error(&self, error: Option<&str>) -> bool {
        let mut known = self.lock_error();
        let is_news = known.as_deref() != error;
        *known = error.map(Into::into);
        is_news
    }

    fn lock_error(&self) -> MutexGuard<'_, Option<Box<str>>> {
        // What it guards is replaced whole.
        self.error.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client at the other end, if this relay is for it.
    fn admit(&self, stream: &UnixStream, peer: Peer) -> Option<Who> {
        let RelayConfig { uids, gids, path, .. } = &self.config;
        let is_listed = match &peer {
            Peer::Process { uid, gid, .. } => uids.contains(uid) || gids.contains(gid),
            Peer::Remote(_) => false,
        };
        if is_listed || uids.is_empty() && gids.is_empty() {
            return Some(Who { peer, token: None, at: path.to_string_lossy().into() });
        }
        let reason =
            "neither its user nor its group is listed in `uids` and `gids` of this relay's configuration";
        self.turn_away(stream, &peer, reason);
        None
    }

    /// The open file of one client more than there are, or why it is not served.
    fn room_for_one_more(&self, clients: usize) -> Result<Share, String> {
        if clients >= RELAY_CLIENTS_MAX {
            return Err(format!("it has {RELAY_CLIENTS_MAX} clients already"));
        }
        let max = self.open_files.max();
        let too_many =
            || format!("{max} clients are connected to this hub, as many as its limit of open files permits");
        self.open_files.take(1).ok_or_else(too_many)
    }

    fn turn_away_one_more(&self, stream: &UnixStream, reason: &str) {
        match Peer::of(stream) {
            Ok(peer) => self.turn_away(stream, &peer, reason),
            Err(error) => tracing::debug!("cannot tell which client was one too many: {error}"),
        }
    }

    /// Tells a client why it is not served, in place of the greeting, and the log which client that was.
    fn turn_away(&self, stream: &UnixStream, peer: &Peer, reason: &str) {
        self.counters.turned_away.fetch_add(1, Ordering::Relaxed);
        let desc = format!("The relay of {} does not serve this client ({peer}): {reason}", self.line.vm);
        // A socket that was just connected has room; a client that left needs no reason.
        let _ = stream.try_write(&refusal::without_request(&desc));
        let Some(more) = self.turned_away_said.pass(Instant::now()) else { return };
        let relay = self.config.path.display();
        let (uid, gid, pid) = match peer {
            Peer::Process { uid, gid, pid, .. } => (Some(*uid), Some(*gid), *pid),
            Peer::Remote(_) => (None, None, None),
        };
        tracing::warn!(vm = %self.line.vm, uid, gid, pid, "{relay}: a client was turned away: {reason}{more}");
    }
}

/// Serves at the socket until it is to stop; then its clients have got what was said last.
pub(super) async fn serve(
    relay: Arc<Relay>,
    listener: UnixListener,
    _file: SocketFile,
    mut stop: watch::Receiver<Stop>,
) {
    let mut greeted = relay.line.greeted();
    let (mut clients, mut outboxes) = (JoinSet::new(), Vec::<Weak<Outbox>>::new());
    let how = loop {
        let is_open = greeted.borrow_and_update().is_some();
        tokio::select! {
            accepted = listener.accept(), if is_open => match accepted {
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
                    clients.spawn(visit(stream, open_file, outbox, Arc::clone(&relay)));
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
async fn visit(stream: UnixStream, _open_file: Share, outbox: Arc<Outbox>, relay: Arc<Relay>) {
    let path = relay.config.path.display();
    let peer = match Peer::of(&stream) {
        Ok(peer) => peer,
        Err(error) => return tracing::warn!("{path}: cannot tell which client connects: {error}"),
    };
    let Some(who) = relay.admit(&stream, peer) else { return };
    let Some(joined) = relay.line.join(&outbox) else {
        return relay.turn_away(&stream, &who.peer, "the VM went away in this moment; connect again");
    };
    relay.counters.accepted.fetch_add(1, Ordering::Relaxed);
    relay.counters.clients.fetch_add(1, Ordering::Relaxed);
    let visitor = Visitor { relay: Arc::clone(&relay), outbox: Arc::clone(&outbox) };
    let departure = Client::new(stream, Arc::clone(&relay), who, outbox, joined).run().await;
    drop(visitor);
    if departure == Departure::Slow {
        relay.counters.closed_slow.fetch_add(1, Ordering::Relaxed);
        if let Some(more) = relay.slow_said.pass(Instant::now()) {
            tracing::warn!("{path}: a client was closed because it did not read{more}");
        }
    }
}

/// A client that is there; it leaves when this is dropped, also when its task is ended.
struct Visitor {
    relay: Arc<Relay>,
    outbox: Arc<Outbox>,
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.relay.line.leave(&self.outbox);
        self.relay.counters.clients.fetch_sub(1, Ordering::Relaxed);
    }
}
