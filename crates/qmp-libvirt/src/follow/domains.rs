//! The domains of a session, and when the epochs of their runs open and close.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::held::{HELD_MAX_BYTES_OF_ALL, Held};
use super::item::{Attachment, Began, EndReason, FollowItem};
use super::question::Question;
use super::run::{Phase, Run};
use crate::domain::{DOMAINS_MAX, Domain};
use crate::event::{Event, EventKind, MonitorEvent};
use crate::lifecycle::{Lifecycle, LifecycleEvent};
use crate::remote_error::RemoteError;
use crate::state::{Control, DomainState};
use crate::uuid::Uuid;

/// How often libvirtd is asked again for a domain whose monitor it has not connected yet.
const OCCUPIED_INTERVAL: Duration = Duration::from_millis(250);

/// How often libvirtd says that a monitor is not connected before that is reported. A libvirtd that restarts needs some time.
const OCCUPIED_REPLIES: u32 = 8;

/// How long the first event of a run waits for libvirt to say how the run started. An incoming migration says so only at
/// its end.
const STARTED_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a lost monitor waits for libvirt to say that the run has ended: it reports an error of the monitor first if it noticed
/// the end of QEMU while it wrote.
const MONITOR_LOST_AFTER: Duration = Duration::from_secs(3);

/// Number of runs that ended whose late events are recognized.
const ENDED_RUNS_MAX: usize = 64;

/// The domains of a session. Questions and items are results; replies and events are arguments.
#[derive(Debug, Default)]
pub(crate) struct Domains {
    runs: BTreeMap<Uuid, Run>,
    /// Domains that were reported, running or not.
    known: BTreeSet<Uuid>,
    ended: VecDeque<(Uuid, i32)>,
    /// Domains that stopped before the list arrived, which may still name them, with the number of the run if it is known.
    stopped_early: BTreeMap<Uuid, Option<i32>>,
    /// Bytes of the events of all runs that wait for states.
    held_bytes: usize,
    timers: BTreeSet<(Instant, Uuid)>,
    /// The list of domains that run has arrived.
    is_listed: bool,
    questions: VecDeque<Question>,
    items: VecDeque<FollowItem>,
}

impl Domains {
    /// Handles the list of all domains.
    pub(crate) fn handle_list(&mut self, domains: Vec<Domain>) {
        self.is_listed = true;
        let stopped = std::mem::take(&mut self.stopped_early);
        let has_stopped = |domain: &Domain| {
            stopped.get(&domain.uuid).is_some_and(|run| run.is_none_or(|id| id == domain.id))
        };
        let (running, off): (Vec<_>, Vec<_>) = domains.into_iter().partition(|domain| domain.run().is_some());
        for domain in running {
            let is_followed = self.runs.get(&domain.uuid).is_some_and(|run| run.domain.id == domain.id);
            if !is_followed && !has_stopped(&domain) && !self.has_ended(&domain) {
                self.questions.push_back(Question::Control(domain.clone()));
                self.begin(domain, Began::Found, Phase::Connecting);
            }
        }
        for domain in off {
            if !self.runs.contains_key(&domain.uuid) {
                self.known.insert(domain.uuid);
                self.items.push_back(FollowItem::Off(domain));
            }
        }
        self.items.push_back(FollowItem::Listed);
    }

    pub(crate) fn handle_event(&mut self, event: Event, now: Instant) {
        let Event { domain, kind } = event;
        match kind {
            EventKind::Monitor(event) => self.handle_monitor_event(domain, event, now),
            EventKind::ControlError => self.lose_monitor(&domain, now),
            EventKind::Lifecycle(lifecycle) => match lifecycle.event {
                LifecycleEvent::Started if lifecycle.detail != Lifecycle::WAKEUP => {
                    self.start(domain, lifecycle);
                }
                LifecycleEvent::Stopped => self.stop(&domain, lifecycle),
                LifecycleEvent::Undefined => self.undefine(domain.uuid),
                _ => {}
            },
        }
    }

    pub(crate) fn handle_control(
        &mut self,
        asked: &Domain,
        result: Result<Control, RemoteError>,
        now: Instant,
    ) {
        let Some(run) = self.run_in(asked, Phase::Connecting) else { return };
        match result {
            Ok(Control::Ok | Control::Job) => run.phase = Phase::Asking,
            Ok(Control::Occupied | Control::Other(_)) => {
                run.occupied += 1;
                if run.occupied == OCCUPIED_REPLIES {
                    self.items.push_back(FollowItem::Occupied(asked.clone()));
                }
                self.timers.insert((now + OCCUPIED_INTERVAL, asked.uuid));
                return;
            }
            Ok(Control::Error) => {
                run.phase = Phase::Unreadable;
                self.items.push_back(FollowItem::Unreadable(asked.clone()));
                return;
            }
            Err(error) if error.code == RemoteError::NO_DOMAIN => {
                self.remove_run(asked);
                self.forget(asked.uuid);
                return;
            }
            Err(_) => run.phase = Phase::Asking,
        }
        self.questions.push_back(Question::State(asked.clone()));
    }

    pub(crate) fn handle_state(&mut self, asked: &Domain, result: Result<DomainState, RemoteError>) {
        let Some(run) = self.run_in(asked, Phase::Asking) else { return };
        // Events that wait say that libvirtd had its monitor: they stand in an epoch, however short.
        if run.began == Began::Found && run.held.is_empty() && !runs(&result) {
            let lifecycle = run.stopped.or_else(|| result.ok().and_then(DomainState::how_stopped));
            return self.end_unopened(asked, lifecycle);
        }
        let held_bytes = run.held.bytes();
        let events = run.held.take();
        self.held_bytes -= held_bytes;
        let Some(events) = events else {
            self.questions.push_back(Question::State(asked.clone()));
            return;
        };
        let Some(run) = self.runs.get_mut(&asked.uuid) else { return };
        run.phase = Phase::Open;
        let stopped = run.stopped;
        let (domain, began, started) = (run.domain.clone(), run.began, run.started);
        let attachment = Attachment { domain, began, started, state: result };
        self.items.push_back(FollowItem::Attached(Box::new(attachment)));
        let uuid = asked.uuid;
        self.items.extend(events.into_iter().map(|event| FollowItem::Event { uuid, event }));
        if let Some(lifecycle) = stopped {
            self.end(asked.clone(), EndReason::Stopped(lifecycle));
        }
    }

    pub(crate) fn handle_exists(&mut self, asked: &Domain, result: &Result<DomainState, RemoteError>) {
        let is_gone = result.as_ref().is_err_and(|error| error.code == RemoteError::NO_DOMAIN);
        if is_gone && !self.runs.contains_key(&asked.uuid) {
            self.forget(asked.uuid);
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, uuid)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, uuid));
            let Some(run) = self.runs.get_mut(&uuid) else { continue };
            match run.phase {
                Phase::Connecting => self.questions.push_back(Question::Control(run.domain.clone())),
                Phase::Starting => {
                    run.phase = Phase::Asking;
                    self.questions.push_back(Question::State(run.domain.clone()));
                }
                // The timer may be that of an earlier phase.
                Phase::Losing { since } if now >= since + MONITOR_LOST_AFTER => {
                    self.report_lost(uuid, now - since);
                }
                _ => {}
            }
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub(crate) fn poll_question(&mut self) -> Option<Question> {
        self.questions.pop_front()
    }

    pub(crate) fn poll_item(&mut self) -> Option<FollowItem> {
        self.items.pop_front()
    }

    /// Returns the domain, if it runs.
    pub(crate) fn domain(&self, uuid: Uuid) -> Option<&Domain> {
        self.runs.get(&uuid).map(|run| &run.domain)
    }

    /// Asks whether a domain that does not run exists still.
    pub(crate) fn look_up(&mut self, domain: Domain) {
        self.known.insert(domain.uuid);
        self.questions.push_back(Question::Exists(domain));
    }

    /// Begins an epoch again whose owner has lost events: with the state of now.
    pub(crate) fn reopen(&mut self, uuid: Uuid) {
        let Some(run) = self.runs.get_mut(&uuid).filter(|run| run.phase == Phase::Open) else { return };
        (run.phase, run.began) = (Phase::Asking, Began::Reopened);
        self.questions.push_back(Question::State(run.domain.clone()));
    }

    fn handle_monitor_event(&mut self, domain: Domain, event: MonitorEvent, now: Instant) {
        let uuid = domain.uuid;
        if self.has_ended(&domain) {
            return;
        }
        self.replace(&domain);
        if !self.runs.contains_key(&uuid) {
            if domain.run().is_none() {
                return;
            }
            let (began, phase) = if self.is_listed {
                self.timers.insert((now + STARTED_TIMEOUT, uuid));
                (Began::Started, Phase::Starting)
            } else {
                self.questions.push_back(Question::State(domain.clone()));
                (Began::Found, Phase::Asking)
            };
            self.begin(domain, began, phase);
        }
        let Some(run) = self.runs.get_mut(&uuid) else { return };
        if run.phase == Phase::Open {
            return self.items.push_back(FollowItem::Event { uuid, event });
        }
        if let Phase::Losing { since } = run.phase {
            self.report_lost(uuid, now - since);
        }
        let Some(run) = self.runs.get_mut(&uuid) else { return };
        self.held_bytes -= run.held.bytes();
        run.held.push(event, HELD_MAX_BYTES_OF_ALL - self.held_bytes);
        self.held_bytes += run.held.bytes();
        // An event says what control would: libvirtd can speak to QEMU.
        if matches!(run.phase, Phase::Connecting | Phase::Unreadable) {
            run.phase = Phase::Asking;
            self.questions.push_back(Question::State(run.domain.clone()));
        }
    }

    fn start(&mut self, domain: Domain, lifecycle: Lifecycle) {
        if domain.run().is_none() || self.has_ended(&domain) {
            return;
        }
        self.replace(&domain);
        let uuid = domain.uuid;
        self.stopped_early.remove(&uuid);
        if !self.runs.contains_key(&uuid) {
            self.begin(domain, Began::Started, Phase::Starting);
        }
        let Some(run) = self.runs.get_mut(&uuid) else { return };
        run.started = Some(lifecycle);
        if run.phase != Phase::Open {
            run.began = Began::Started;
        }
        if run.phase == Phase::Starting {
            run.phase = Phase::Asking;
            self.questions.push_back(Question::State(run.domain.clone()));
        }
    }

    /// The domain's id is −1 if libvirt itself ended the run.
    fn stop(&mut self, domain: &Domain, lifecycle: Lifecycle) {
        let Some(run) = self.runs.get_mut(&domain.uuid) else {
            if !self.is_listed && self.stopped_early.len() < DOMAINS_MAX as usize {
                self.stopped_early.insert(domain.uuid, domain.run());
            }
            return;
        };
        if domain.run().is_some_and(|id| id != run.domain.id) {
            return;
        }
        match run.phase {
            Phase::Starting => {
                (run.phase, run.stopped) = (Phase::Asking, Some(lifecycle));
                self.questions.push_back(Question::State(run.domain.clone()));
            }
            // The events that wait stand behind the state.
            Phase::Asking => run.stopped = Some(lifecycle),
            Phase::Connecting | Phase::Open | Phase::Losing { .. } | Phase::Unreadable => {
                let domain = run.domain.clone();
                self.end(domain, EndReason::Stopped(lifecycle));
            }
        }
    }

    fn lose_monitor(&mut self, domain: &Domain, now: Instant) {
        let Some(run) = self.runs.get_mut(&domain.uuid) else { return };
        match run.phase {
            Phase::Open => {
                run.phase = Phase::Losing { since: now };
                self.timers.insert((now + MONITOR_LOST_AFTER, domain.uuid));
            }
            Phase::Losing { .. } => {}
            _ => self.set_unreadable(domain.uuid),
        }
    }

    /// Closes the epoch of a run whose monitor libvirtd lost so long ago.
    fn report_lost(&mut self, uuid: Uuid, ago: Duration) {
        self.items.push_back(FollowItem::Detached { uuid, reason: EndReason::MonitorLost { ago } });
        self.set_unreadable(uuid);
    }

    fn set_unreadable(&mut self, uuid: Uuid) {
        let Some(run) = self.runs.get_mut(&uuid) else { return };
        run.phase = Phase::Unreadable;
        run.began = Began::Found;
        self.items.push_back(FollowItem::Unreadable(run.domain.clone()));
    }

    fn undefine(&mut self, uuid: Uuid) {
        if !self.runs.contains_key(&uuid) {
            self.forget(uuid);
        }
    }

    /// Ends the run of the domain if the message names another one.
    fn replace(&mut self, domain: &Domain) {
        let Some(id) = domain.run() else { return };
        let Some(run) = self.runs.get(&domain.uuid).filter(|run| run.domain.id != id) else { return };
        let reason = run.stopped.map_or(EndReason::Replaced { id }, EndReason::Stopped);
        let ended = run.domain.clone();
        self.remove(&ended, reason);
    }

    /// Begins a run, unless there are as many as libvirt can list.
    fn begin(&mut self, domain: Domain, began: Began, phase: Phase) {
        if self.runs.len() >= DOMAINS_MAX as usize {
            return;
        }
        self.known.insert(domain.uuid);
        self.items.push_back(FollowItem::Running(domain.clone()));
        let uuid = domain.uuid;
        let run =
            Run { domain, began, started: None, stopped: None, phase, occupied: 0, held: Held::default() };
        self.runs.insert(uuid, run);
    }

    /// Ends a run, and asks whether the domain exists still: a transient one does not.
    fn end(&mut self, domain: Domain, reason: EndReason) {
        self.remove(&domain, reason);
        self.questions.push_back(Question::Exists(domain));
    }

    /// Ends a run that was listed and does not run: `lifecycle` says how it stopped, unless the domain does not exist.
    fn end_unopened(&mut self, domain: &Domain, lifecycle: Option<Lifecycle>) {
        match lifecycle {
            Some(lifecycle) => self.end(domain.clone(), EndReason::Stopped(lifecycle)),
            None => {
                self.remove_run(domain);
                self.forget(domain.uuid);
            }
        }
    }

    fn remove(&mut self, domain: &Domain, reason: EndReason) {
        self.remove_run(domain);
        self.items.push_back(FollowItem::Detached { uuid: domain.uuid, reason });
    }

    fn remove_run(&mut self, domain: &Domain) {
        self.held_bytes -= self.runs.remove(&domain.uuid).map_or(0, |run| run.held.bytes());
        self.ended.push_back((domain.uuid, domain.id));
        if self.ended.len() > ENDED_RUNS_MAX {
            self.ended.pop_front();
        }
    }

    fn forget(&mut self, uuid: Uuid) {
        if self.known.remove(&uuid) {
            self.items.push_back(FollowItem::Gone { uuid });
        }
    }

    fn has_ended(&self, domain: &Domain) -> bool {
        self.ended.contains(&(domain.uuid, domain.id))
    }

    fn run_in(&mut self, domain: &Domain, phase: Phase) -> Option<&mut Run> {
        self.runs.get_mut(&domain.uuid).filter(|run| run.domain.id == domain.id && run.phase == phase)
    }
}

/// Whether a QEMU belongs to the domain, as far as the reply tells.
fn runs(state: &Result<DomainState, RemoteError>) -> bool {
    match state {
        Ok(state) => state.has_process(),
        Err(error) => error.code != RemoteError::NO_DOMAIN,
    }
}
