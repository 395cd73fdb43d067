//! A source: the domains of a libvirt daemon, whose events the daemon passes on.
//!
//! One task reads the connection and does nothing else: libvirtd keeps the messages of a client that does not read, without a
//! limit. The task records events at once (see [`DomainRecorder`]), and other tasks remove VMs, which may wait for the journal.
//!
//! A VM appears with the first run of its domain, stays as detached after it, also over a restart of the hub, and goes when the
//! domain does. A domain whose own monitor is followed under its UUID is left to that monitor.

mod process_text;
mod snapshot;
mod followed_domain;
mod own_monitors;
mod command_queue;
mod replies;
mod spare_lanes;
mod requests;
mod recorded;
mod pauses;
mod domain_vms;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use qmp_client::{ExecuteError, ReplySink};
use qmp_findings::LIBVIRT_DETAIL;
use qmp_libvirt::{
    Attachment, DaemonInfo, Domain, EndReason, FollowItem, FollowSocket, SessionError, Source, Uuid,
};
use qmp_wire::DetachReason;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::keeper::RuleKeeper;
use super::rule::user_directory;
use super::rule_update::RuleUpdate;
use super::vm_source::DISCOVERED_MAX;
use crate::domain_commands::{DOMAIN_COMMANDS_MAX, DomainRequest};
use crate::domain_recorder::DomainRecorder;
use domain_vms::DomainVms;
use followed_domain::{DomainProcess, FollowedDomain, OCCUPIED, OFF, UNREADABLE, certain_until, parts};
use own_monitors::OwnMonitors;
use pauses::Pauses;
use process_text::ProcessReader;
use recorded::OffDomain;
use requests::Requests;
use snapshot::snapshot;

/// How often the VMs are compared with those that are followed otherwise.
const COMPARE_INTERVAL: Duration = Duration::from_millis(500);

/// VMs that one comparison tries to add, so that the connection is read again soon.
const ADDED_AT_ONCE: usize = 256;

/// The domains of a daemon.
struct Domains {
    source: Source,
    vms: DomainVms,
    by_uuid: HashMap<Uuid, FollowedDomain>,
    /// What the daemon said of itself when it was last connected.
    info: DaemonInfo,
    /// Domains that are off and new, until the list is complete.
    off: Vec<OffDomain>,
    /// Domains that are off and have records under these names, until a comparison adds their VMs.
    recorded: VecDeque<(Domain, Box<str>)>,
    processes: ProcessReader,
}

/// Follows the domains until the end of the hub or of the rule.
///
/// Once `stop` is true, it ends the connection as libvirtd demands; otherwise libvirtd would log an error.
pub(super) async fn serve(source: Source, keeper: RuleKeeper, stop: watch::Receiver<bool>) {
    let (requests, states) = mpsc::unbounded_channel();
    let (sender, commands) = mpsc::channel(DOMAIN_COMMANDS_MAX);
    let sender = keeper.rule.commands.then_some(sender);
    let own_monitors = OwnMonitors::default();
    let mut domains = Domains {
        source,
        vms: DomainVms { keeper, own_monitors, requests, commands: sender },
        by_uuid: HashMap::new(),
        info: DaemonInfo::default(),
        off: Vec::new(),
        recorded: VecDeque::new(),
        processes: ProcessReader::default(),
    };
    let mut requests = Requests::new(states, commands, stop);
    own_monitors::wait_for_named(domains.vms.keeper.registry.vms()).await;
    let mut pauses = Pauses::default();
    loop {
        let directory = user_directory();
        let source = domains.source.clone();
        let connecting = FollowSocket::connect(&source, &directory);
        tokio::pin!(connecting);
        let connected = loop {
            tokio::select! {
                () = Requests::stopped(&mut requests.stop) => return,
                Some(update) = domains.vms.keeper.updates.recv() => domains.follow_rule(update),
                connected = &mut connecting => break connected,
            }
        };
        match connected {
            Ok(follow) => {
                let began = Instant::now();
                let ended = domains.follow(follow, &mut requests).await;
                requests.lose();
                match ended {
                    Some((error, heard_ago)) => domains.lose(&error, heard_ago),
                    None => return,
                }
                pauses.session_ended(began.elapsed());
            }
            Err(error) => {
                domains.vms.keeper.say_once(&error.to_string(), &error.to_string());
                domains.note_absence(&error.to_string());
            }
        }
        let pause = tokio::time::sleep(pauses.next());
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = Requests::stopped(&mut requests.stop) => return,
                Some(update) = domains.vms.keeper.updates.recv() => domains.follow_rule(update),
                Some(command) = requests.commands.recv() => command.sink.deliver(Err(ExecuteError::NotAttached)),
                () = &mut pause => break,
            }
        }
    }
}

impl Domains {
    /// Follows one session. Returns what ended it, and how long before libvirtd was last heard; `None` if that is `stop`.
    async fn follow(
        &mut self,
        mut follow: FollowSocket,
        requests: &mut Requests,
    ) -> Option<(SessionError, Duration)> {
        self.info = follow.info().clone();
        let (socket, version) =
            (follow.socket().display(), self.info.version.map(|version| version.to_string()));
        tracing::info!(%socket, version, "connected to libvirt");
        let mut compare = tokio::time::interval(COMPARE_INTERVAL);
        loop {
            requests.execute(&self.source, &self.by_uuid, &mut follow);
            let Requests { states, commands, queue, replies, spare, stop } = requests;
            tokio::select! {
                biased;
                () = Requests::stopped(stop) => {
                    self.by_uuid.values().flat_map(|known| &known.recorder).for_each(|one| one.end_reading());
                    follow.close().await;
                    return None;
                }
                Some(update) = self.vms.keeper.updates.recv() => self.follow_rule(update),
                Some(request) = states.recv() => match request {
                    DomainRequest::Reopen(uuid) => follow.reopen(uuid),
                    DomainRequest::State { uuid, sink } => replies.query_state(uuid, sink, &mut follow),
                    DomainRequest::Recorded { domain, name } => self.recorded.push_back((domain, name)),
                },
                Some(command) = commands.recv() => queue.push(command),
                (uuid, sink, result) = spare.next() => {
                    queue.replied(uuid);
                    if let Some(sink) = sink {
                        self.reply(uuid, sink, result);
                    }
                }
                _ = compare.tick() => {
                    for uuid in self.compare(&follow).await {
                        follow.reopen(uuid);
                    }
                    // Between two comparisons the connection is read, however long they take.
                    compare.reset();
                }
                item = follow.next() => match item {
                    Ok(FollowItem::Reply { call, result }) => {
                        if let Some((uuid, sink)) = replies.take(call) {
                            queue.replied(uuid);
                            self.reply(uuid, sink, replies::result(result));
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
                let text = self.vms.keeper.rule.name.fill(&parts(&domain, follow.info()));
                self.off.push((domain, text));
            }
            FollowItem::Listed => {
                self.look_up_the_others(follow);
                self.look_for_the_off();
            }
            FollowItem::Occupied(domain) => self.fail(domain.uuid, OCCUPIED),
            FollowItem::Unreadable(domain) => self.fail(domain.uuid, UNREADABLE),
            FollowItem::Attached(attachment) => self.attach(&attachment, follow).await,
            FollowItem::Event { uuid, event } => {
                if let Some(recorder) = self.recorder(uuid) {
                    recorder.event(&event);
                }
            }
            FollowItem::Detached { uuid, reason } => self.detach(uuid, reason),
            FollowItem::Gone { uuid } => {
                if let Some(recorder) = self.by_uuid.remove(&uuid).and_then(|domain| domain.recorder) {
                    let detail = "libvirt does not have it any more".to_owned();
                    self.vms.keeper.remove_soon(&recorder.vm.name, detail, None);
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
            return self.vms.keeper.say_once("", &text);
        }
        let mut known = self.by_uuid.remove(&uuid).unwrap_or_else(|| FollowedDomain::new(domain.clone()));
        (known.domain, known.is_running, known.next_attempt) = (domain, true, Some(Instant::now()));
        if known.recorder.is_none() {
            self.vms.add(&mut known, follow).await;
        }
        self.by_uuid.insert(uuid, known);
    }

    async fn attach(&mut self, attachment: &Attachment, follow: &FollowSocket) {
        let Some(known) = self.by_uuid.get_mut(&attachment.domain.uuid) else { return };
        let Some(recorder) = &known.recorder else { return };
        let process = self.processes.read(follow.socket(), &attachment.domain.name).await;
        let text = snapshot(&self.source, follow, attachment, process.as_ref(), known.process.text());
        recorder.attached(&text);
        known.process = DomainProcess::new(process);
    }

    fn detach(&mut self, uuid: Uuid, reason: EndReason) {
        let Some(known) = self.by_uuid.get_mut(&uuid) else { return };
        let lost_ago = reason.lost_ago();
        let (reason, detail) = match reason {
            EndReason::Stopped(lifecycle) => {
                (DetachReason::PeerClosed, format!("{LIBVIRT_DETAIL}{}", lifecycle.detail_word()))
            }
            EndReason::Replaced { id } => {
                (DetachReason::PeerClosed, format!("libvirt runs the domain again, with the number {id}"))
            }
            EndReason::MonitorLost { .. } => (DetachReason::ProtocolError, UNREADABLE.to_owned()),
        };
        known.is_running &= reason == DetachReason::ProtocolError;
        if let Some(recorder) = &known.recorder {
            recorder.detached(&reason, &detail, lost_ago.map(|ago| certain_until(recorder.now(), ago)));
        }
        if reason == DetachReason::PeerClosed {
            std::mem::take(&mut known.process).end(known.recorder.as_ref());
        }
    }

    /// The session ended, in which libvirtd was last heard so long ago: whether the domains run on is unknown.
    fn lose(&mut self, error: &SessionError, heard_ago: Duration) {
        tracing::warn!(source = %self.source, "the connection to libvirt has ended: {error}");
        // The next session lists the domains anew.
        self.off.clear();
        self.recorded.clear();
        for known in self.by_uuid.values_mut().filter(|known| known.is_running) {
            known.is_running = false;
            if let Some(recorder) = &known.recorder {
                let certain_until = certain_until(recorder.now(), heard_ago);
                recorder.detached(&DetachReason::SourceLost, &error.to_string(), Some(certain_until));
                known.process.watch(recorder);
            }
        }
    }

    /// The rule has changed: removes the VMs that it does not select or names otherwise. The next comparison adds those of domains
    /// that run.
    fn follow_rule(&mut self, RuleUpdate { rule, done }: RuleUpdate) {
        self.vms.keeper.rule = rule;
        let keeper = &self.vms.keeper;
        for known in self.by_uuid.values_mut() {
            let parts = parts(&known.domain, &self.info);
            let removed = known.recorder.take_if(|recorder| {
                let rejection = keeper.rule.rejection(&parts, &recorder.vm.name);
                if let Some(detail) = rejection {
                    keeper.remove_soon(&recorder.vm.name, detail.to_owned(), Some(done.clone()));
                }
                rejection.is_some()
            });
            if removed.is_some() || known.recorder.is_none() {
                known.next_attempt = Some(Instant::now());
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
            tokio::spawn(recorded::look(self.vms.keeper.registry.reader(), off, self.vms.requests.clone()));
        }
    }

    /// Adds the VMs of some domains that are off.
    async fn add_off(&mut self, follow: &FollowSocket) {
        for _ in 0..ADDED_AT_ONCE {
            let Some((domain, name)) = self.recorded.pop_front() else { return };
            let uuid = domain.uuid;
            if self.by_uuid.len() >= DISCOVERED_MAX || self.by_uuid.contains_key(&uuid) {
                continue;
            }
            let known = self.vms.add_off(domain, &name, follow).await;
            self.by_uuid.extend(known.map(|known| (uuid, known)));
        }
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
        let vms = self.vms.keeper.registry.vms().clone();
        self.vms.own_monitors.refresh(&vms);
        let mut without = Vec::new();
        for (uuid, known) in &mut self.by_uuid {
            match &known.recorder {
                Some(recorder) => {
                    let other = self.vms.own_monitors.get(*uuid);
                    if let Some(other) = other {
                        self.vms.keeper.remove_soon(
                            &recorder.vm.name,
                            format!("its own monitor is followed as {other}"),
                            None,
                        );
                    }
                    if other.is_some() || vms.get(recorder.vm.name.as_str()).is_none() {
                        known.recorder = None;
                    }
                }
                None if known.is_running && known.next_attempt.is_some_and(|at| at <= Instant::now()) => {
                    without.push(*uuid);
                }
                None => {}
            }
        }
        let mut added = Vec::new();
        without.retain(|uuid| self.vms.own_monitors.get(*uuid).is_none());
        for uuid in without.into_iter().take(ADDED_AT_ONCE) {
            let Some(mut known) = self.by_uuid.remove(&uuid) else { continue };
            self.vms.add(&mut known, follow).await;
            added.extend(known.recorder.is_some().then_some(uuid));
            self.by_uuid.insert(uuid, known);
        }
        self.add_off(follow).await;
        added
    }

    /// Passes a reply on to its client.
    fn reply(&self, uuid: Uuid, sink: Box<dyn ReplySink>, result: Result<Box<str>, ExecuteError>) {
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
