//! A migration, told once when it is over: its phases, its passes, what came of it, how long it took.
//!
//! QEMU reports migrations only to those who switched the capability `events` on. The one that leaves begins with
//! `setup`; the one that arrives, with a VM that waits for it (`inmigrate`).

use qmp_events::EventKind as K;
use qmp_wire::UnixMicros;
use serde_json::json;

use crate::conclusion::Found;
use crate::correlator::Correlator;
use crate::epoch::Span;
use crate::finding::Id;
use crate::jobs::Phases;
use crate::limits::CAUSES_MAX;
use crate::local_time::Moment;
use crate::observation::{Event, Input, Snapshot, What};
use crate::saved::saved;
use crate::state::Running;
use crate::text;

pub(super) const MIGRATION: &str = "migration";

/// The migration of one VM, if there is one.
#[derive(Debug, Default)]
pub(super) struct Migrations {
    under_way: Option<Box<UnderWay>>,
    incoming: bool,
    /// QEMU began to switch: when the VM was paused.
    paused: Option<Moment>,
}

#[derive(Debug)]
struct UnderWay {
    phases: Phases,
    causes: Vec<Id>,
    began: Moment,
    began_unseen: bool,
    incoming: bool,
    passes: u64,
}

saved!(Migrations { under_way, incoming, paused });
saved!(UnderWay { phases, causes, began, began_unseen, incoming, passes });

impl Correlator for Migrations {
    fn take(&mut self, input: &Input<'_>, _span: &Span, found: &mut Found) {
        match input.what {
            What::Attached(snapshot) => self.attached(snapshot, input),
            What::Event(event) => self.event(event, input, found),
            What::Detached(_) => {
                if let Some(under_way) = self.under_way.take() {
                    under_way.tell("unseen", None, input, found);
                }
            }
            What::Command(_) | What::ProcessEnded(_) | What::Answer(_) => {}
        }
    }
}

impl Migrations {
    /// The migration that is not over, for people who ask.
    pub(super) fn running(&self) -> Option<Running> {
        let under_way = self.under_way.as_ref()?;
        let (status, since) = under_way.phases.last().unwrap_or(("setup", UnixMicros(0)));
        let ty = if under_way.incoming { "incoming" } else { "outgoing" };
        Some(Running { id: None, ty: Some(ty.into()), status: status.into(), error: None, since })
    }

    fn attached(&mut self, snapshot: &Snapshot, input: &Input<'_>) {
        *self = Self { incoming: snapshot.status.as_deref() == Some("inmigrate"), ..Self::default() };
        let status = snapshot.migration.as_deref().filter(|status| !is_last(status) && *status != "none");
        if let Some(status) = status {
            let mut under_way = UnderWay::begun(input, self.incoming, true);
            under_way.phase(status, input);
            self.under_way = Some(Box::new(under_way));
        }
    }

    fn event(&mut self, event: &Event<'_>, input: &Input<'_>, found: &mut Found) {
        match event.kind {
            Some(K::Migration) => self.status(event.text("status").unwrap_or_default(), input, found),
            Some(K::MigrationPass) => {
                if let Some(under_way) = &mut self.under_way {
                    under_way.passes = under_way.passes.max(event.number("pass").unwrap_or(0));
                }
            }
            Some(K::Stop) => self.paused = self.under_way.is_some().then_some(input.now),
            Some(K::Resume) => {
                // A VM that arrived runs; what leaves from here on is another migration.
                self.incoming &= self.under_way.is_some();
            }
            _ => {}
        }
    }

    fn status(&mut self, status: &str, input: &Input<'_>, found: &mut Found) {
        let incoming = self.incoming;
        let begun = || Box::new(UnderWay::begun(input, incoming, !matches!(status, "setup" | "active")));
        self.under_way.get_or_insert_with(begun).phase(status, input);
        if !is_last(status) {
            return;
        }
        if let Some(under_way) = self.under_way.take() {
            let downtime = self.paused.take().filter(|_| status == "completed" && !incoming);
            under_way.tell(status, downtime, input, found);
        }
        self.incoming = false;
    }
}

fn is_last(status: &str) -> bool {
    matches!(status, "completed" | "failed" | "cancelled")
}

impl UnderWay {
    fn begun(input: &Input<'_>, incoming: bool, began_unseen: bool) -> Self {
        Self {
            phases: Phases::default(),
            causes: Vec::new(),
            began: input.now,
            began_unseen,
            incoming,
            passes: 0,
        }
    }

    fn phase(&mut self, status: &str, input: &Input<'_>) {
        self.phases.push(status, input.received);
        self.cause(input.id);
    }

    fn cause(&mut self, id: Id) {
        if self.causes.len() >= CAUSES_MAX {
            self.causes.pop();
        }
        self.causes.push(id);
    }

    fn tell(mut self, result: &str, paused: Option<Moment>, input: &Input<'_>, found: &mut Found) {
        self.cause(input.id);
        let took = input.now.since(self.began);
        let paused = paused.map(|paused| input.now.since(paused));
        let way = if self.incoming { "The migration to here" } else { "The migration away" };
        let came = match result {
            "completed" => "completed",
            "failed" => "failed",
            "cancelled" => "was cancelled",
            _ => "was under way when the epoch closed; what came of it is not known",
        };
        let at_least = if self.began_unseen { "at least " } else { "" };
        let passes = match self.passes {
            0 => String::new(),
            passes => format!(", its memory sent up to pass {passes}"),
        };
        let stood = paused.map(|paused| format!(", the VM paused for the last {}", text::span(paused)));
        let summary = format!(
            "{way} {came} after {at_least}{}{passes}{}.",
            text::span(took),
            stood.unwrap_or_default()
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
