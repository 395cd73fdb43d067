//! Reports a postcopy migration whose connection broke, at once, with the commands that recover it.
//!
//! In postcopy the memory of the VM is on both hosts, so neither side may be ended: QEMU pauses the migration
//! (`postcopy-paused`) and waits for an operator. Source: QEMU `docs/devel/migration/postcopy.rst`, "Postcopy
//! recovery".

use qmp_events::EventKind as K;
use serde_json::{Value, json};

use crate::conclusion::Conclusions;
use crate::correlator::Correlator;
use crate::epoch::Span;
use crate::finding::Id;
use crate::observation::{Observation, ObservationKind, Snapshot};
use crate::persist::persist;

pub(super) const MIGRATION_INTERRUPTED: &str = "migration-interrupted";

/// The status of a migration that waits for recovery.
const PAUSED: &str = "postcopy-paused";

/// The facts about the migration of one VM that an interruption needs.
#[derive(Debug, Default)]
pub(super) struct MigrationInterruptions {
    /// Whether the VM arrives here; `None` if unknown.
    incoming: Option<bool>,
    paused: bool,
    /// Whether the VM runs here: the next migration leads away.
    has_run: bool,
}

persist!(MigrationInterruptions { incoming, paused, has_run });

impl Correlator for MigrationInterruptions {
    fn take(&mut self, input: &Observation<'_>, _span: &Span, found: &mut Conclusions) {
        match input.kind {
            ObservationKind::Attached(snapshot) => self.attached(snapshot, input.id, found),
            ObservationKind::Event(event) if event.kind == Some(K::Migration) => {
                self.status(event.text("status").unwrap_or_default(), input.id, found);
            }
            ObservationKind::Event(event) if event.kind == Some(K::Resume) => self.has_run = true,
            _ => {}
        }
    }
}

impl MigrationInterruptions {
    fn attached(&mut self, snapshot: &Snapshot, id: Id, found: &mut Conclusions) {
        let status = snapshot.migration.as_deref().unwrap_or_default();
        self.has_run = false;
        let in_postcopy = status.starts_with("postcopy-");
        self.incoming = match (snapshot.status.as_deref(), snapshot.running) {
            (Some("inmigrate"), _) => Some(true),
            // After the switch, the VM runs at the destination only.
            (_, Some(running)) => Some(in_postcopy && running),
            (_, None) => None,
        };
        self.status(status, id, found);
    }

    fn status(&mut self, status: &str, id: Id, found: &mut Conclusions) {
        let was_paused = std::mem::replace(&mut self.paused, status == PAUSED);
        if self.paused && !was_paused {
            self.report(id, found);
        }
        if matches!(status, "completed" | "failed" | "cancelled") || (self.has_run && status == "setup") {
            self.incoming = Some(false);
        }
    }

    fn report(&self, id: Id, found: &mut Conclusions) {
        let (which, recover) = match self.incoming {
            Some(true) => (
                "The migration to here",
                "`migrate-recover` with a new `uri` here, then `migrate` with that `uri` and `resume: true` on the source",
            ),
            Some(false) => (
                "The migration away",
                "`migrate-recover` with a new `uri` on the destination, then `migrate` with that `uri` and `resume: true` here",
            ),
            None => (
                "The migration",
                "`migrate-recover` with a new `uri` on the destination, then `migrate` with that `uri` and `resume: true` on the source",
            ),
        };
        let summary = format!(
            "{which} was interrupted after the switch (postcopy), and each side has memory that the other needs: end \
             neither. To recover it: {recover}."
        );
        let direction = self.incoming.map(|incoming| if incoming { "incoming" } else { "outgoing" });
        let recover: [Value; 2] = [
            json!({"on": "destination", "execute": "migrate-recover"}),
            json!({"on": "source", "execute": "migrate", "arguments": {"resume": true}}),
        ];
        let data = json!({"direction": direction, "status": PAUSED, "recover": recover});
        found.push(MIGRATION_INTERRUPTED, summary, vec![id], data);
    }
}
