//! A source: the domains of a libvirt daemon, whose events the daemon passes on.
//!
//! One task reads the connection and does nothing else: libvirtd keeps the messages of a client that does not read, without a
//! limit. The task records events at once (see [`DomainRecorder`]), and other tasks remove VMs, which may wait for the journal.
//!
//! A VM appears with the first run of its domain, stays as detached after it, and goes when the domain does. A domain whose own
//! monitor is followed under its UUID is left to that monitor.

mod snapshot;
mod followed_domain;
mod replies;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use qmp_client::{Address, ExecuteError, ReplySink};
use qmp_findings::LIBVIRT_DETAIL;
use qmp_libvirt::{
    Attachment, Domain, EndReason, FollowItem, FollowSocket, RemoteError, SessionError, Source, Uuid,
};
use qmp_wire::{DetachReason, UnixMicros};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::keeper::RuleKeeper;
use super::naming;
use super::vm_source::DISCOVERED_MAX;
use crate::domain_commands::{DOMAIN_COMMANDS_MAX, DomainCommand, DomainCommander};
use crate::domain_recorder::DomainRecorder;
use crate::layout::Parts;
use crate::registry::VmRegistryError;
use crate::vm::{FollowedVm, MonitorState, VmName};
use followed_domain::{DomainProcess, FollowedDomain};
use replies::Replies;
use snapshot::{ProcessText, snapshot};

/// The first pause after a session ended or could not be opened. A daemon that restarts needs some of them.
const RETRY_FIRST: Duration = Duration::from_millis(250);

/// The longest pause between two attempts to connect.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// How often the VMs are compared with those that are followed otherwise.
const COMPARE_INTERVAL: Duration = Duration::from_millis(500);

/// How long the first session waits for monitors that the configuration names, whose UUIDs decide what libvirt is left.
const NAMED_TIMEOUT: Duration = Duration::from_secs(2);

/// How long libvirtd may take to pass an event on, so that events of this time before its last message may be missing when it ends.
/// 2 s were observed, while it destroys the domain.
const PASSING_MAX: Duration = Duration::from_secs(2);

/// What a domain has in the status while libvirtd has no connection to its monitor.
const OCCUPIED: &str = "libvirt has not connected the VM's monitor; another client may hold it";

/// What a domain has in the status after libvirtd lost its monitor.
const UNREADABLE: &str = "libvirt can no longer read the VM's monitor; restart libvirtd";

/// The domains of a daemon.
struct Domains {
    source: Source,
    keeper: RuleKeeper,
    by_uuid: HashMap<Uuid, FollowedDomain>,
    reopen: mpsc::UnboundedSender<Uuid>,
    /// Takes the commands of clients; `None` if the rule does not allow commands.
    commands: Option<mpsc::Sender<DomainCommand>>,
}

/// What other tasks ask of the follower.
struct Requests {
    reopened: mpsc::UnboundedReceiver<Uuid>,
    commands: mpsc::Receiver<DomainCommand>,
    replies: Replies,
    stop: watch::Receiver<bool>,
}

/// Follows the domains until the end of the hub or of the rule.
///
/// Once `stop` is true, it ends the connection as libvirtd demands; otherwise libvirtd would log an error.
pub(super) async fn serve(source: Source, keeper: RuleKeeper, stop: watch::Receiver<bool>) {
    let (reopen, reopened) = mpsc::unbounded_channel();
    let (sender, commands) = mpsc::channel(DOMAIN_COMMANDS_MAX);
    let sender = keeper.rule.commands.then_some(sender);
    let mut domains = Domains { source, keeper, by_uuid: HashMap::new(), reopen, commands: sender };
    let mut requests = Requests { reopened, commands, replies: Replies::default(), stop };
    domains.wait_for_named().await;
    let mut pause = RETRY_FIRST;
    loop {
        let directory = user_directory();
        let connected = tokio::select! {
            () = stopped(&mut requests.stop) => return,
            connected = FollowSocket::connect(&domains.source, &directory) => connected,
        };
        match connected {
            Ok(follow) => {
                pause = RETRY_FIRST;
                let ended = domains.follow(follow, &mut requests).await;
                requests.replies.lose();
                match ended {
                    Some((error, heard_ago)) => domains.lose(&error, heard_ago),
                    None => return,
                }
            }
            Err(error) => {
                domains.keeper.say_once(&error.to_string(), &error.to_string());
                pause = RETRY_MAX.min(pause * 2);
            }
        }
        let pause = tokio::time::sleep(pause);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = stopped(&mut requests.stop) => return,
                Some(command) = requests.commands.recv() => command.sink.deliver(Err(ExecuteError::NotAttached)),
                () = &mut pause => break,
            }
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the hub was dropped.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// `$XDG_RUNTIME_DIR`, or what libvirt takes in its place.
fn user_directory() -> PathBuf {
    let directory = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    directory("XDG_RUNTIME_DIR")
        .or_else(|| directory("XDG_CACHE_HOME"))
        .or_else(|| directory("HOME").map(|home| home.join(".cache")))
        .unwrap_or_default()
}

impl Domains {
    /// Follows one session. Returns what ended it, and how long before libvirtd was last heard; `None` if that is `stop`.
    async fn follow(
        &mut self,
        mut follow: FollowSocket,
        Requests { reopened, commands, replies, stop }: &mut Requests,
    ) -> Option<(SessionError, Duration)> {
        tracing::info!(
            socket = %follow.socket().display(),
            version = follow.info().version.map(|version| version.to_string()),
            "connected to libvirt",
        );
        let mut compare = tokio::time::interval(COMPARE_INTERVAL);
        loop {
            tokio::select! {
                biased;
                () = stopped(stop) => {
                    self.by_uuid.values().flat_map(|known| &known.recorder).for_each(|one| one.end_reading());
                    follow.close().await;
                    return None;
                }
                Some(uuid) = reopened.recv() => follow.reopen(uuid),
                Some(command) = commands.recv() => replies.execute(command, &mut follow),
                _ = compare.tick() => {
                    for uuid in self.compare(&follow).await {
                        follow.reopen(uuid);
                    }
                }
                item = follow.next() => match item {
                    Ok(FollowItem::Reply { call, result }) => {
                        if let Some((uuid, sink)) = replies.take(call) {
                            self.reply(uuid, sink, result);
                        }
                    }
                    Ok(item) => self.take(item, &mut follow).await,
                    Err(error) => return Some((error, follow.heard_at().elapsed())),
                },
            }
        }
    }

    async fn take(&mut self, item: FollowItem, follow: &mut FollowSocket) {
        match item {
            FollowItem::Running(domain) => self.run(domain, follow).await,
            FollowItem::Listed => self.look_up_the_others(follow),
            FollowItem::Occupied(domain) => self.fail(domain.uuid, OCCUPIED),
            FollowItem::Unreadable(domain) => self.fail(domain.uuid, UNREADABLE),
            FollowItem::Attached(attachment) => self.attach(&attachment, follow),
            FollowItem::Event { uuid, event } => {
                if let Some(recorder) = self.recorder(uuid) {
                    recorder.event(&event);
                }
            }
            FollowItem::Detached { uuid, reason } => self.detach(uuid, reason),
            FollowItem::Gone { uuid } => {
                if let Some(recorder) = self.by_uuid.remove(&uuid).and_then(|domain| domain.recorder) {
                    self.remove(&recorder, "libvirt does not have it any more");
                }
            }
            // Frames of no known kind, and kinds of a later version.
            _ => {}
        }
    }

    /// A domain runs: adds its VM, if it is new.
    async fn run(&mut self, domain: Domain, follow: &FollowSocket) {
        let uuid = domain.uuid;
        if !self.by_uuid.contains_key(&uuid) && self.by_uuid.len() >= DISCOVERED_MAX {
            let text = format!("more than {DISCOVERED_MAX} domains; the others are not followed");
            return self.keeper.say_once("", &text);
        }
        let mut known = self.by_uuid.remove(&uuid).unwrap_or_else(|| FollowedDomain::new(domain.clone()));
        if known.recorder.is_none() {
            known.recorder = self.add(&domain, follow).await;
        }
        (known.domain, known.is_running) = (domain, true);
        self.by_uuid.insert(uuid, known);
    }

    fn attach(&mut self, attachment: &Attachment, follow: &FollowSocket) {
        let Some(known) = self.by_uuid.get_mut(&attachment.domain.uuid) else { return };
        let Some(recorder) = &known.recorder else { return };
        let process = ProcessText::of_domain(follow.socket(), &attachment.domain.name);
        let text = snapshot(&self.source, follow, attachment, process.as_ref(), known.process.text());
        recorder.attached(&text);
        known.process = DomainProcess::new(process);
    }

    fn detach(&mut self, uuid: Uuid, reason: EndReason) {
        let Some(known) = self.by_uuid.get_mut(&uuid) else { return };
        let (reason, detail) = match reason {
            EndReason::Stopped(lifecycle) => {
                (DetachReason::PeerClosed, format!("{LIBVIRT_DETAIL}{}", lifecycle.detail_word()))
            }
            EndReason::Replaced { id } => {
                (DetachReason::PeerClosed, format!("libvirt runs the domain again, with the number {id}"))
            }
            EndReason::MonitorLost => (DetachReason::ProtocolError, UNREADABLE.to_owned()),
        };
        known.is_running &= reason == DetachReason::ProtocolError;
        if let Some(recorder) = &known.recorder {
            recorder.detached(&reason, &detail, None);
        }
        if reason == DetachReason::PeerClosed {
            std::mem::take(&mut known.process).end(known.recorder.as_ref());
        }
    }

    /// The session ended, in which libvirtd was last heard so long ago: whether the domains run on is unknown.
    fn lose(&mut self, error: &SessionError, heard_ago: Duration) {
        tracing::warn!(source = %self.source, "the connection to libvirt has ended: {error}");
        for known in self.by_uuid.values_mut().filter(|known| known.is_running) {
            known.is_running = false;
            if let Some(recorder) = &known.recorder {
                let certain_until = before(recorder.now(), heard_ago + PASSING_MAX);
                recorder.detached(&DetachReason::SourceLost, &error.to_string(), Some(certain_until));
                known.process.watch(recorder);
            }
        }
    }

    /// Asks for each domain that ran earlier, and is not listed now, whether it exists still.
    fn look_up_the_others(&self, follow: &mut FollowSocket) {
        let others = self.by_uuid.values().filter(|known| !known.is_running);
        others.for_each(|known| follow.look_up(known.domain.clone()));
    }

    /// Leaves domains to monitors that are followed otherwise, and takes them back. Returns the domains whose state has to be
    /// queried, because their VMs were added.
    async fn compare(&mut self, follow: &FollowSocket) -> Vec<Uuid> {
        let mut added = Vec::new();
        let uuids: Vec<Uuid> = self.by_uuid.keys().copied().collect();
        for uuid in uuids {
            let Some(known) = self.by_uuid.get(&uuid) else { continue };
            match &known.recorder {
                Some(recorder) => {
                    let is_there = self.keeper.registry.vms().get(recorder.vm.name.as_str());
                    let other = self.followed_elsewhere(uuid);
                    if let Some(other) = &other {
                        self.remove(recorder, &format!("its own monitor is followed as {other}"));
                    }
                    if (other.is_some() || is_there.is_none())
                        && let Some(known) = self.by_uuid.get_mut(&uuid)
                    {
                        known.recorder = None;
                    }
                }
                None if known.is_running => {
                    let domain = known.domain.clone();
                    let recorder = self.add(&domain, follow).await;
                    added.extend(recorder.is_some().then_some(uuid));
                    if let Some(known) = self.by_uuid.get_mut(&uuid) {
                        known.recorder = recorder;
                    }
                }
                None => {}
            }
        }
        added
    }

    /// Adds the VM of a domain; `None` if it is left alone, or its name is not free yet.
    async fn add(&mut self, domain: &Domain, follow: &FollowSocket) -> Option<Arc<DomainRecorder>> {
        let parts = Parts {
            name: domain.name.to_string(),
            uuid: domain.uuid.to_string(),
            host: follow.info().host_name.as_deref().unwrap_or_default().to_owned(),
            ..Parts::default()
        };
        if self.keeper.is_excluded(&parts) || self.followed_elsewhere(domain.uuid).is_some() {
            return None;
        }
        let address = Address::Unix { path: follow.socket().to_owned(), listen: false };
        let text = self.keeper.rule.name.fill(&parts);
        for name in naming::candidates(&text) {
            let queue = self.commands.clone();
            let commander = queue.map(|queue| DomainCommander { uuid: domain.uuid, queue });
            let reopen = self.reopen.clone();
            match self.keeper.add_domain(&name, address.clone(), domain.uuid, reopen, commander).await {
                Ok(recorder) => {
                    tracing::info!(vm = %name, "found by {}", self.keeper.origin());
                    return Some(recorder);
                }
                Err(VmRegistryError::NameTaken { .. }) => {}
                Err(_) => return None,
            }
        }
        let text = format!("too many VMs are called {text:?}; the domain {} is left alone", domain.uuid);
        self.keeper.say_once(&domain.uuid.to_string(), &text);
        None
    }

    /// The VM of this UUID whose own monitor is followed, and is not in use by another client.
    fn followed_elsewhere(&self, uuid: Uuid) -> Option<VmName> {
        let uuid = uuid.to_string();
        let all = self.keeper.registry.vms().all();
        let is_it = |vm: &&Arc<FollowedVm>| {
            !vm.is_through_libvirt() && vm.has_uuid(&uuid) && vm.status().state != MonitorState::InUse
        };
        let found = all.iter().find(is_it);
        found.map(|vm| vm.name.clone())
    }

    /// Removes a VM in a task of its own, because that may wait for the journal.
    fn remove(&self, recorder: &DomainRecorder, detail: &str) {
        let (registry, name) = (self.keeper.registry.clone(), recorder.vm.name.clone());
        let detail = detail.to_owned();
        tokio::spawn(async move {
            // An error means that it was removed already.
            let _ = registry.remove(name.as_str(), &detail).await;
        });
    }

    /// Passes a reply on to its client.
    fn reply(&self, uuid: Uuid, sink: Box<dyn ReplySink>, reply: Result<Box<str>, RemoteError>) {
        let result = replies::result(reply);
        match self.recorder(uuid) {
            Some(recorder) => recorder.reply(sink, result),
            None => sink.deliver(result),
        }
    }

    /// The domain runs, and no epoch can open.
    fn fail(&self, uuid: Uuid, error: &str) {
        if let Some(recorder) = self.recorder(uuid) {
            recorder.failed(error);
        }
    }

    fn recorder(&self, uuid: Uuid) -> Option<&DomainRecorder> {
        self.by_uuid.get(&uuid)?.recorder.as_deref()
    }

    async fn wait_for_named(&self) {
        let end = Instant::now() + NAMED_TIMEOUT;
        let is_connecting = || {
            let all = self.keeper.registry.vms().all();
            all.iter().any(|vm| vm.status().state == MonitorState::Connecting)
        };
        while is_connecting() && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn before(now: UnixMicros, span: Duration) -> UnixMicros {
    UnixMicros(now.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
}
