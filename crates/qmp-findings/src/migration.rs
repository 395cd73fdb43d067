//! Migrations: each is reported once when it is over, with its phases, passes, result and duration.
//!
//! QEMU reports migrations only to clients that enabled the capability `events`. An outgoing one begins with `setup`;
//! an incoming one with a VM that waits for it (`inmigrate`).

use qmp_events::EventKind as K;
use qmp_wire::UnixMicros;
use serde_json::json;

use crate::conclusion::Conclusions;
use crate::correlator::Correlator;
use crate::epoch::Span;
use crate::finding::Id;
use crate::jobs::Phases;
use crate::limits::CAUSES_MAX;
use crate::local_time::Moment;
use crate::observation::{Event, Observation, ObservationKind, Snapshot};
use crate::persist::persist;
use crate::state::JobState;
use crate::text;

pub(super) const MIGRATION: &str = "migration";

/// The migration of one VM, if there is one.
#[derive(Debug, Default)]
pub(super) struct Migrations {
    active: Option<Box<ActiveMigration>>,
    incoming: bool,
    /// When the VM was paused for the switchover.
    paused: Option<Moment>,
}

#[derive(Debug)]
struct ActiveMigration {
    phases: Phases,
    causes: Vec<Id>,
    began: Moment,
    began_unseen: bool,
    incoming: bool,
    passes: u64,
}

persist!(Migrations { active, incoming, paused });
persist!(ActiveMigration { phases, causes, began, began_unseen, incoming, passes });

impl Correlator for Migrations {
    fn take(&mut self, input: &Observation<'_>, _span: &Span, found: &mut Conclusions) {
        match input.kind {
            ObservationKind::Attached(snapshot) => self.attached(snapshot, input),
            ObservationKind::Event(event) => self.event(event, input, found),
            ObservationKind::Detached(_) => {
                if let Some(active) = self.active.take() {
                    active.report("unseen", None, input, found);
                }
            }
            ObservationKind::Command(_) | ObservationKind::ProcessEnded(_) | ObservationKind::Answer(_) => {}
        }
    }
}

impl Migrations {
    /// The migration that is not over, for the VM's status.
    pub(super) fn running(&self) -> Option<JobState> {
        let active = self.active.as_ref()?;
        let (status, since) = active.phases.last().unwrap_or(("setup", UnixMicros(0)));
        let ty = if active.incoming { "incoming" } else { "outgoing" };
        Some(JobState { id: None, ty: Some(ty.into()), status: status.into(), error: None, since })
    }

    fn attached(&mut self, snapshot: &Snapshot, input: &Observation<'_>) {
        *self = Self { incoming: snapshot.status.as_deref() == Some("inmigrate"), ..Self::default() };
        let status = snapshot.migration.as_deref().filter(|status| !is_last(status) && *status != "none");
        if let Some(status) = status {
            let mut active = ActiveMigration::new(input, self.incoming, true);
            active.phase(status, input);
            self.active = Some(Box::new(active));
        }
    }

    fn event(&mut self, event: &Event<'_>, input: &Observation<'_>, found: &mut Conclusions) {
        match event.kind {
            Some(K::Migration) => self.status(event.text("status").unwrap_or_default(), input, found),
            Some(K::MigrationPass) => {
                if let Some(active) = &mut self.active {
                    active.passes = active.passes.max(event.number("pass").unwrap_or(0));
                }
            }
            Some(K::Stop) => self.paused = self.active.is_some().then_some(input.now),
            Some(K::Resume) => {
                // The VM has arrived and runs; a later migration is an outgoing one.
                self.incoming &= self.active.is_some();
            }
            _ => {}
        }
    }

    fn status(&mut self, status: &str, input: &Observation<'_>, found: &mut Conclusions) {
        let incoming = self.incoming;
        let begin = || Box::new(ActiveMigration::new(input, incoming, !matches!(status, "setup" | "active")));
        self.active.get_or_insert_with(begin).phase(status, input);
        if !is_last(status) {
            return;
        }
        if let Some(active) = self.active.take() {
            let downtime = self.paused.take().filter(|_| status == "completed" && !incoming);
            active.report(status, downtime, input, found);
        }
        self.incoming = false;
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
            passes: 0,
        }
    }

    fn phase(&mut self, status: &str, input: &Observation<'_>) {
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
        input: &Observation<'_>,
        found: &mut Conclusions,
    ) {
        self.cause(input.id);
        let took = input.now.since(self.began);
        let paused = paused.map(|paused| input.now.since(paused));
        let way = if self.incoming { "The migration to here" } else { "The migration away" };
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
            "direction": if self.incoming { "incoming" } else { "outgoing" },
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
