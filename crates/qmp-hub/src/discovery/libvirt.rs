//! A source: the domains of a libvirt daemon, whose events the daemon passes on.
//!
//! One task reads the connection and does nothing else: libvirtd keeps the messages of a client that does not read, without a
//! limit. The task records events at once (see [`DomainRecorder`]), and other tasks remove VMs, which may wait for the journal.
//!
//! A VM appears with the first run of its domain, stays as detached after it, also over a restart of the hub, and goes when the
//! domain does. A domain whose own
//! monitor is followed under its UUID is left to that monitor.

mod snapshot;
mod followed_domain;
mod replies;
mod recorded;
mod elsewhere;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use qmp_client::{Address, ExecuteError, ReplySink};
use qmp_findings::LIBVIRT_DETAIL;
use qmp_libvirt::{
    Attachment, Domain, EndReason, FollowItem, FollowSocket, RemoteError, SessionError, Source, Uuid,
};
use qmp_wire::DetachReason;
use tokio::sync::{mpsc, watch};

use super::keeper::RuleKeeper;
use super::naming;
use super::rule::user_directory;
use super::vm_source::DISCOVERED_MAX;
use crate::domain_commands::{
    DOMAIN_COMMANDS_MAX, DomainCommand, DomainCommander, DomainLink, DomainRequest,
};
use crate::domain_recorder::DomainRecorder;
use crate::registry::VmRegistryError;
use crate::vm::VmName;
use elsewhere::{followed_elsewhere, remove, wait_for_named};
use followed_domain::{DomainProcess, FollowedDomain, OCCUPIED, OFF, UNREADABLE, certain_until, parts};
use recorded::OffDomain;
use replies::Replies;
use snapshot::{ProcessText, snapshot};

/// The first pause after a session ended or could not be opened. A daemon that restarts needs some of them.
const RETRY_FIRST: Duration = Duration::from_millis(250);

/// The longest pause between two attempts to connect.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// How often the VMs are compared with those that are followed otherwise.
const COMPARE_INTERVAL: Duration = Duration::from_millis(500);

/// The domains of a daemon.
struct Domains {
    source: Source,
    keeper: RuleKeeper,
    by_uuid: HashMap<Uuid, FollowedDomain>,
    /// Domains that are off and new, until the list is complete.
    off: Vec<OffDomain>,
    /// Takes requests for the states of domains.
    requests: mpsc::UnboundedSender<DomainRequest>,
    /// Takes the commands of clients; `None` if the rule does not allow commands.
    commands: Option<mpsc::Sender<DomainCommand>>,
}

/// What other tasks ask of the follower.
struct Requests {
    states: mpsc::UnboundedReceiver<DomainRequest>,
    commands: mpsc::Receiver<DomainCommand>,
    replies: Replies,
    stop: watch::Receiver<bool>,
}

/// Follows the domains until the end of the hub or of the rule.
///
/// Once `stop` is true, it ends the connection as libvirtd demands; otherwise libvirtd would log an error.
pub(super) async fn serve(source: Source, keeper: RuleKeeper, stop: watch::Receiver<bool>) {
    let (requests, states) = mpsc::unbounded_channel();
    let (sender, commands) = mpsc::channel(DOMAIN_COMMANDS_MAX);
    let sender = keeper.rule.commands.then_some(sender);
    let mut domains =
        Domains { source, keeper, by_uuid: HashMap::new(), off: Vec::new(), requests, commands: sender };
    let mut requests = Requests { states, commands, replies: Replies::default(), stop };
    wait_for_named(&domains.keeper.registry).await;
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
                domains.note_absence(&error.to_string());
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

impl Domains {
    /// Follows one session. Returns what ended it, and how long before libvirtd was last heard; `None` if that is `stop`.
    async fn follow(
        &mut self,
        mut follow: FollowSocket,
        Requests { states, commands, replies, stop }: &mut Requests,
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
                Some(request) = states.recv() => match request {
                    DomainRequest::Reopen(uuid) => follow.reopen(uuid),
                    DomainRequest::State { uuid, sink } => replies.query_state(uuid, sink, &mut follow),
                    DomainRequest::Recorded { domain, name } => self.add_off(domain, &name, &follow).await,
                },
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
                    Ok(FollowItem::State { call, result }) => {
                        if let Some((_, sink)) = replies.take(call) {
                            // The events before it are in the journal's queue.
                            sink.deliver(replies::state(result));
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
            FollowItem::Off(domain) if !self.by_uuid.contains_key(&domain.uuid) => {
                let text = self.keeper.rule.name.fill(&parts(&domain, follow.info()));
                self.off.push((domain, text));
            }
            FollowItem::Listed => {
                self.look_up_the_others(follow);
                self.look_for_the_off();
            }
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
                    remove(&self.keeper.registry, &recorder, "libvirt does not have it any more");
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
                let certain_until = certain_until(recorder.now(), heard_ago);
                recorder.detached(&DetachReason::SourceLost, &error.to_string(), Some(certain_until));
                known.process.watch(recorder);
            }
        }
    }

    /// libvirtd is away: the status of each VM says so, with the next step.
    fn note_absence(&self, error: &str) {
        for recorder in self.by_uuid.values().filter_map(|known| known.recorder.as_ref()) {
            recorder.vm.attempt_failed(error, None, recorder.now());
        }
    }

    /// Looks in the journal for the domains that are off: those without records had no run that the hub followed.
    fn look_for_the_off(&mut self) {
        let off = std::mem::take(&mut self.off);
        if !off.is_empty() {
            tokio::spawn(recorded::look(self.keeper.registry.reader(), off, self.requests.clone()));
        }
    }

    /// Adds the VM of a domain that is off, under the name that it has in the journal.
    async fn add_off(&mut self, domain: Domain, name: &str, follow: &FollowSocket) {
        let uuid = domain.uuid;
        let Ok(name) = name.parse() else { return };
        let is_full = self.by_uuid.len() >= DISCOVERED_MAX;
        if is_full || self.by_uuid.contains_key(&uuid) || self.is_left_alone(&domain, follow) {
            return;
        }
        let Ok(recorder) = self.add_as(&name, &domain, follow).await else { return };
        recorder.vm.detached(OFF, None, recorder.now());
        let known = FollowedDomain { recorder: Some(recorder), ..FollowedDomain::new(domain) };
        self.by_uuid.insert(uuid, known);
    }

    /// Asks for each domain that ran earlier, and is not listed now, whether it exists still.
    fn look_up_the_others(&self, follow: &mut FollowSocket) {
        for known in self.by_uuid.values().filter(|known| !known.is_running) {
            if let Some(recorder) = &known.recorder {
                recorder.vm.attempt_failed(OFF, None, recorder.now());
            }
            follow.look_up(known.domain.clone());
        }
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
                    let other = followed_elsewhere(&self.keeper.registry, uuid);
                    if let Some(other) = &other {
                        remove(
                            &self.keeper.registry,
                            recorder,
                            &format!("its own monitor is followed as {other}"),
                        );
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
        if self.is_left_alone(domain, follow) {
            return None;
        }
        let text = self.keeper.rule.name.fill(&parts(domain, follow.info()));
        for name in naming::candidates(&text) {
            match self.add_as(&name, domain, follow).await {
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

    /// Adds the VM of a domain under this name.
    async fn add_as(
        &self,
        name: &VmName,
        domain: &Domain,
        follow: &FollowSocket,
    ) -> Result<Arc<DomainRecorder>, VmRegistryError> {
        let address = Address::Unix { path: follow.socket().to_owned(), listen: false };
        let queue = self.commands.clone();
        let commander = queue.map(|queue| DomainCommander { uuid: domain.uuid, queue });
        let link = DomainLink { uuid: domain.uuid, requests: self.requests.clone() };
        self.keeper.add_domain(name, address, link, commander).await
    }

    /// Whether the rule excludes the domain, or its own monitor is followed.
    fn is_left_alone(&self, domain: &Domain, follow: &FollowSocket) -> bool {
        self.keeper.is_excluded(&parts(domain, follow.info()))
            || followed_elsewhere(&self.keeper.registry, domain.uuid).is_some()
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
}
