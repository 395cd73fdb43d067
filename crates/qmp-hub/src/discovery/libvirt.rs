//! A source: the domains of a libvirt daemon, whose events the daemon passes on.
//!
//! One task reads the connection and does nothing else: libvirtd keeps the messages of a client that does not read, without a
//! limit. The task records events at once (see [`DomainRecorder`]), and other tasks remove VMs, which may wait for the journal.
//!
//! A VM appears with the first run of its domain, stays as detached after it, and goes when the domain does. A domain whose own
//! monitor is followed under its UUID is left to that monitor.

mod snapshot;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use qmp_client::Address;
use qmp_findings::LIBVIRT_DETAIL;
use qmp_libvirt::{
    Attachment, ConnectionError, Domain, EndReason, FollowItem, FollowSocket, SILENCE_TIMEOUT, SessionError,
    Source, Uuid,
};
use qmp_wire::{DetachReason, UnixMicros};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::keeper::RuleKeeper;
use super::naming;
use super::vm_source::DISCOVERED_MAX;
use crate::domain_recorder::DomainRecorder;
use crate::layout::Parts;
use crate::registry::VmRegistryError;
use crate::vm::{MonitorState, VmName};
use snapshot::{ProcessText, snapshot};

/// The first pause after a session ended or could not be opened. A daemon that restarts needs some of them.
const RETRY_FIRST: Duration = Duration::from_millis(250);

/// The longest pause between two attempts to connect.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// How often the VMs are compared with those that are followed otherwise.
const COMPARE_INTERVAL: Duration = Duration::from_millis(500);

/// How long the first session waits for monitors that the configuration names, whose UUIDs decide what libvirt is left.
const NAMED_TIMEOUT: Duration = Duration::from_secs(2);

/// What a domain has in the status while libvirtd cannot read its monitor.
const UNREADABLE: &str = "libvirt can no longer read the VM's monitor; restart libvirtd";

/// The domains of a daemon.
struct Domains {
    source: Source,
    keeper: RuleKeeper,
    by_uuid: HashMap<Uuid, FollowedDomain>,
    reopen: mpsc::UnboundedSender<Uuid>,
}

/// A domain that ran while the hub did.
struct FollowedDomain {
    domain: Domain,
    /// A run is known in this session.
    is_running: bool,
    /// `None` if the domain is left to its own monitor, or its name is not free.
    recorder: Option<Arc<DomainRecorder>>,
    /// The process of the last epoch.
    process: Option<ProcessText>,
}

/// Follows the domains until the end of the hub or of the rule.
///
/// Once `stop` is true, it ends the connection as libvirtd demands; otherwise libvirtd would log an error.
pub(super) async fn serve(source: Source, keeper: RuleKeeper, mut stop: watch::Receiver<bool>) {
    let (reopen, mut reopened) = mpsc::unbounded_channel();
    let mut domains = Domains { source, keeper, by_uuid: HashMap::new(), reopen };
    domains.wait_for_named().await;
    let mut pause = RETRY_FIRST;
    loop {
        let directory = user_directory();
        let connected = tokio::select! {
            () = stopped(&mut stop) => return,
            connected = FollowSocket::connect(&domains.source, &directory) => connected,
        };
        match connected {
            Ok(follow) => {
                pause = RETRY_FIRST;
                match domains.follow(follow, &mut reopened, &mut stop).await {
                    Some(error) => domains.lose(&error),
                    None => return,
                }
            }
            Err(error) => {
                domains.keeper.say_once(&error.to_string(), &error.to_string());
                pause = RETRY_MAX.min(pause * 2);
            }
        }
        tokio::select! {
            () = stopped(&mut stop) => return,
            () = tokio::time::sleep(pause) => {}
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
    /// Follows one session, and returns what ended it; `None` if that is `stop`.
    async fn follow(
        &mut self,
        mut follow: FollowSocket,
        reopened: &mut mpsc::UnboundedReceiver<Uuid>,
        stop: &mut watch::Receiver<bool>,
    ) -> Option<SessionError> {
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
                _ = compare.tick() => {
                    for uuid in self.compare(&follow).await {
                        follow.reopen(uuid);
                    }
                }
                item = follow.next() => match item {
                    Ok(item) => self.take(item, &mut follow).await,
                    Err(error) => return Some(error),
                },
            }
        }
    }

    async fn take(&mut self, item: FollowItem, follow: &mut FollowSocket) {
        match item {
            FollowItem::Running(domain) => self.run(domain, follow).await,
            FollowItem::Listed => self.look_up_the_others(follow),
            FollowItem::Unreadable(domain) => {
                if let Some(recorder) = self.recorder(domain.uuid) {
                    recorder.failed(UNREADABLE);
                }
            }
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
        let known = self.by_uuid.remove(&uuid);
        if known.is_none() && self.by_uuid.len() >= DISCOVERED_MAX {
            let text = format!("more than {DISCOVERED_MAX} domains; the others are not followed");
            return self.keeper.say_once("", &text);
        }
        let (process, recorder) = known.map_or((None, None), |known| (known.process, known.recorder));
        let recorder = match recorder {
            Some(recorder) => Some(recorder),
            None => self.add(&domain, follow).await,
        };
        self.by_uuid.insert(uuid, FollowedDomain { domain, is_running: true, recorder, process });
    }

    fn attach(&mut self, attachment: &Attachment, follow: &FollowSocket) {
        let Some(known) = self.by_uuid.get_mut(&attachment.domain.uuid) else { return };
        let Some(recorder) = &known.recorder else { return };
        let process = ProcessText::of_domain(follow.socket(), &attachment.domain.name);
        let before = std::mem::replace(&mut known.process, process);
        let text = snapshot(&self.source, follow, attachment, known.process.as_ref(), before.as_ref());
        recorder.attached(&text);
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
        if reason == DetachReason::PeerClosed {
            known.process = None;
        }
        if let Some(recorder) = &known.recorder {
            recorder.detached(&reason, &detail, None);
        }
    }

    /// The session ended: whether the domains run on is unknown.
    fn lose(&mut self, error: &SessionError) {
        tracing::warn!(source = %self.source, "the connection to libvirt has ended: {error}");
        let is_silent = *error == SessionError::Connection(ConnectionError::Silent);
        for known in self.by_uuid.values_mut().filter(|known| known.is_running) {
            known.is_running = false;
            if let Some(recorder) = &known.recorder {
                let heard = is_silent.then(|| before(recorder.now(), SILENCE_TIMEOUT));
                recorder.detached(&DetachReason::SourceLost, &error.to_string(), heard);
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
            match self.keeper.add_domain(&name, address.clone(), domain.uuid, self.reopen.clone()).await {
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

    /// The VM whose own monitor is followed and reported this UUID.
    fn followed_elsewhere(&self, uuid: Uuid) -> Option<VmName> {
        let uuid = uuid.to_string();
        let all = self.keeper.registry.vms().all();
        let found = all.iter().find(|vm| !vm.is_through_libvirt() && vm.has_uuid(&uuid));
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
