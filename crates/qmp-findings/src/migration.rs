//! Migrations: each is reported once when it is over, with its phases, passes, result and duration.
//!
//! QEMU reports migrations only to clients that enabled the capability `events`. An outgoing one begins with `setup`;
//! an incoming one with a VM that waits for it (`inmigrate`). A snapshot has the same events, without a status between
//! `setup` and the last one: if it completes, it is recognised by that; if it fails, only a VM that ran at `setup` shows
//! that it was a migration, because QEMU stops the VM before it saves a snapshot.
//!
//! libvirt saves, dumps and restores a VM by the same means, with all of the events. Its words tell: a VM that libvirt restores is
//! not reported, and a migration that seems to lead away is reported once libvirt says that the VM was migrated, or not at all if
//! it says that the VM was saved.
//!
//! Source: QEMU `migration/savevm.c`, `qemu_savevm_state()`.

use qmp_events::EventKind as K;
use qmp_wire::UnixMicros;
use serde_json::json;

use crate::conclusion::Conclusions;
use crate::correlator::Correlator;
use crate::epoch::Span;
use crate::finding::Id;
use crate::jobs::Phases;
use crate::libvirt::{self, DomainWords};
use crate::limits::{CAUSES_MAX, LIBVIRT_WORD_MAX};
use crate::local_time::Moment;
use crate::observation::{Arrival, Event, Observation, ObservationKind, Snapshot};
use crate::persist::persist;
use crate::state::JobState;
use crate::text;

pub(super) const MIGRATION: &str = "migration";

/// The migration of one VM, if there is one.
#[derive(Debug, Default)]
pub(super) struct Migrations {
    active: Option<Box<ActiveMigration>>,
    incoming: bool,
    /// Whether the VM arrived by the migration to here.
    has_arrived: bool,
    /// Whether the VM is known to run.
    runs: bool,
    /// When the VM was paused for the switchover.
    paused: Option<Moment>,
    /// Whether libvirt paused the VM to write its memory into a file.
    is_written_to_file: bool,
    /// A completed migration away or into a file, until libvirt says which.
    held: Option<Box<HeldMigration>>,
}

/// A migration that has completed.
#[derive(Debug)]
struct HeldMigration {
    active: ActiveMigration,
    paused: Option<Moment>,
    id: Id,
    now: Moment,
}

#[derive(Debug)]
struct ActiveMigration {
    phases: Phases,
    causes: Vec<Id>,
    began: Moment,
    began_unseen: bool,
    incoming: bool,
    /// Whether it may be a snapshot instead.
    may_be_snapshot: bool,
    passes: u64,
}

persist!(Migrations { active, incoming, has_arrived, runs, paused, is_written_to_file, held });
persist!(HeldMigration { active, paused, id, now });
persist!(ActiveMigration { phases, causes, began, began_unseen, incoming, may_be_snapshot, passes });

impl Correlator for Migrations {
    fn take(&mut self, input: &Observation<'_>, span: &Span, found: &mut Conclusions) {
        match input.kind {
            ObservationKind::Attached(snapshot) => self.attached(snapshot, input),
            ObservationKind::Event(event) => self.event(event, input, span, found),
            ObservationKind::Detached(_, detail) => self.detached(detail, input, found),
            ObservationKind::Answer(ref answer) => {
                let returned = answer.returned();
                if returned.and_then(DomainWords::of_answer).is_some_and(DomainWords::is_written_to_file) {
                    (self.is_written_to_file, self.held) = (true, None);
                }
                let status = returned.and_then(|returned| returned.get("status")?.as_str());
                if status.is_some_and(|status| status != "inmigrate") {
                    self.arrived();
                }
            }
            ObservationKind::Command(_) | ObservationKind::ProcessEnded(_) => {}
        }
    }

    fn deadline(&self) -> Option<Moment> {
        self.held.as_ref().map(|held| held.now.after(LIBVIRT_WORD_MAX))
    }

    fn overdue(&mut self, _now: Moment, _span: &Span, found: &mut Conclusions) {
        self.report_held(false, found);
    }
}

impl Migrations {
    /// The migration that is not over, for the VM's status.
    pub(super) fn running(&self) -> Option<JobState> {
        let active = self.active.as_ref().filter(|_| !self.is_written_to_file)?;
        let (status, since) = active.phases.last().unwrap_or(("setup", UnixMicros(0)));
        let ty = active.direction().map(Box::from);
        Some(JobState { id: None, ty, status: status.into(), error: None, since })
    }

    fn attached(&mut self, snapshot: &Snapshot, input: &Observation<'_>) {
        let arrival = snapshot.libvirt.as_ref().and_then(|libvirt| libvirt.arrival());
        let incoming = snapshot.status.as_deref() == Some("inmigrate")
            || matches!(arrival, Some(Arrival::Migration | Arrival::Unknown));
        *self = Self { incoming, runs: snapshot.running == Some(true), ..Self::default() };
        let status = snapshot.migration.as_deref().filter(|status| !is_last(status) && *status != "none");
        if let Some(status) = status {
            let mut active = ActiveMigration::new(input, self.incoming, true);
            active.may_be_snapshot = !self.incoming;
            active.phase(status, input);
            self.active = Some(Box::new(active));
        }
    }

    /// The epoch closes. libvirt's word decides about a migration that has completed.
    fn detached(&mut self, detail: Option<&str>, input: &Observation<'_>, found: &mut Conclusions) {
        let word = detail.and_then(libvirt::ended_word);
        if word != Some("saved") {
            self.report_held(word == Some("migrated"), found);
        }
        self.held = None;
        if let Some(active) = self.active.take().filter(|_| !self.is_written_to_file) {
            active.report("unseen", None, (input.id, input.now), found);
        }
    }

    /// Reports the migration that was held. Unless `is_sure`, it may have written the memory into a file.
    fn report_held(&mut self, is_sure: bool, found: &mut Conclusions) {
        if let Some(held) = self.held.take() {
            let HeldMigration { mut active, paused, id, now } = *held;
            active.may_be_snapshot = !is_sure;
            active.report("completed", paused, (id, now), found);
        }
    }

    fn event(&mut self, event: &Event<'_>, input: &Observation<'_>, span: &Span, found: &mut Conclusions) {
        match event.kind {
            Some(K::Migration) if span.arrival == Some(Arrival::Restore) => {}
            Some(K::Migration) => {
                self.status(event.text("status").unwrap_or_default(), input, span, found);
            }
            Some(K::MigrationPass) => {
                if let Some(active) = &mut self.active {
                    active.passes = active.passes.max(event.number("pass").unwrap_or(0));
                }
            }
            Some(K::Stop) => {
                self.runs = false;
                self.paused = self.active.is_some().then_some(input.now);
            }
            Some(K::Suspend) => self.runs = false,
            Some(K::Resume) => {
                (self.runs, self.is_written_to_file) = (true, false);
                self.report_held(false, found);
                self.arrived();
            }
            _ => {}
        }
    }

    /// Notes that the VM has arrived, if it was to. Without the capability, no event but `setup` is sent for the migration
    /// to here, and none for its end.
    fn arrived(&mut self) {
        if self.incoming {
            self.has_arrived = true;
            self.active.take_if(|active| active.is_in_setup() || active.is_of_snapshot());
        }
    }

    fn status(&mut self, status: &str, input: &Observation<'_>, span: &Span, found: &mut Conclusions) {
        if self.has_arrived && status == "setup" {
            // After the migration to here, a migration leads away.
            (self.incoming, self.has_arrived, self.active) = (false, false, None);
        }
        let (incoming, runs) = (self.incoming, self.runs);
        let begin = || {
            let mut active = ActiveMigration::new(input, incoming, !matches!(status, "setup" | "active"));
            active.may_be_snapshot = !incoming && !runs && status == "setup";
            Box::new(active)
        };
        let active = self.active.get_or_insert_with(begin);
        let is_snapshot = status == "completed" && !incoming && active.is_in_setup();
        active.phase(status, input);
        if !is_last(status) {
            return;
        }
        if let Some(active) = self.active.take().filter(|_| !is_snapshot && !self.is_written_to_file) {
            let is_away = status == "completed" && !incoming;
            let paused = self.paused.take().filter(|_| is_away);
            let (id, now) = (input.id, input.now);
            if is_away && span.snapshot.libvirt.is_some() {
                self.held = Some(Box::new(HeldMigration { active: *active, paused, id, now }));
            } else {
                active.report(status, paused, (id, now), found);
            }
        }
        (self.incoming, self.has_arrived) = (false, false);
    }
}

fn is_last(status: &str) -> bool {
    matches!(status, "completed" | "failed" | "cancelled")
}

impl ActiveMigration {
    fn new(input: &Observation<'_>, incoming: bool, began_unseen: bool) -> Self {
        Self {
            phases: Phases::default(),
            causes: Vec::new(),
            began: input.now,
            began_unseen,
            incoming,
            may_be_snapshot: false,
            passes: 0,
        }
    }

    /// Whether its only status so far is `setup`.
    fn is_in_setup(&self) -> bool {
        self.phases.count() == 1 && self.phases.last().is_some_and(|(status, _)| status == "setup")
    }

    /// Whether its only status so far is that of the snapshot when the epoch opened.
    fn is_of_snapshot(&self) -> bool {
        self.phases.count() == 1 && self.causes.iter().all(|(_, seq)| seq.0 == 0)
    }

    /// The direction; `None` if it may be a snapshot.
    fn direction(&self) -> Option<&'static str> {
        match self.incoming {
            true => Some("incoming"),
            false if self.may_be_snapshot => None,
            false => Some("outgoing"),
        }
    }

    fn phase(&mut self, status: &str, input: &Observation<'_>) {
        // A snapshot that fails has no other status, and `failing` since 11.0.
        self.may_be_snapshot &= matches!(status, "setup" | "failing" | "failed");
        self.phases.push(status, input.received);
        self.cause(input.id);
    }

    fn cause(&mut self, id: Id) {
        if self.causes.len() >= CAUSES_MAX {
            self.causes.pop();
        }
        self.causes.push(id);
    }

    fn report(
        mut self,
        result: &str,
        paused: Option<Moment>,
        (id, now): (Id, Moment),
        found: &mut Conclusions,
    ) {
        self.cause(id);
        let took = now.since(self.began);
        let paused = paused.map(|paused| now.since(paused));
        let direction = self.direction();
        let way = match direction {
            Some("incoming") => "The migration to here",
            Some(_) => "The migration away",
            None => "A migration away or a snapshot",
        };
        let ended = match result {
            "completed" => "completed",
            "failed" => "failed",
            "cancelled" => "was cancelled",
            _ => "was under way when the epoch closed; its result is not known",
        };
        let at_least = if self.began_unseen { "at least " } else { "" };
        let passes = match self.passes {
            0 => String::new(),
            passes => format!(", its memory sent up to pass {passes}"),
        };
        let pause = paused.map(|paused| format!(", the VM paused for the last {}", text::span(paused)));
        let summary = format!(
            "{way} {ended} after {at_least}{}{passes}{}.",
            text::span(took),
            pause.unwrap_or_default()
        );
        let data = json!({
            "direction": direction,
            "result": result,
            "duration_seconds": text::seconds(took),
            "began_unseen": self.began_unseen,
            "paused_seconds": paused.map(text::seconds),
            "passes": self.passes,
            "phases": self.phases.json(),
            "phase_count": self.phases.count(),
        });
        found.push(MIGRATION, summary, self.causes, data);
    }
}
