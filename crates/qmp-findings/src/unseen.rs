//! Reports changes between two epochs: the difference between the state when an epoch ended and the VM's answers when
//! the next one opens.
//!
//! Only known facts are compared. Where the run state was assumed, the VM's later answer corrects the hub and is no
//! change of the VM.

use serde_json::{Map, json};

use crate::conclusion::Conclusions;
use crate::correlator::Correlator;
use crate::epoch::KnownState;
use crate::epoch::{PreviousEpoch, Span};
use crate::finding::Id;
use crate::observation::Snapshot;
use crate::observation::{Observation, ObservationKind};
use crate::persist::persist;
use crate::process::Identity;
use crate::text;

pub(super) const STATE_CHANGED_UNSEEN: &str = "state-changed-unseen";

/// Compares epochs; has no state, since the span has the state before.
#[derive(Debug, Default)]
pub(super) struct UnseenChanges;

persist!(UnseenChanges {});

impl Correlator for UnseenChanges {
    fn take(&mut self, input: &Observation<'_>, span: &Span, found: &mut Conclusions) {
        if let (ObservationKind::Attached(snapshot), Some(before)) = (&input.kind, &span.before) {
            compare(before, snapshot, input.id, found);
        }
    }
}

fn compare(before: &PreviousEpoch, snapshot: &Snapshot, id: Id, found: &mut Conclusions) {
    let mut sentences = Vec::new();
    let mut data = Map::new();
    let is_another = before.process_is(snapshot) == Identity::Another;
    if let (Some(old), Some(fresh), true, false) =
        (&before.snapshot.process, &snapshot.process, is_another, before.is_end_seen)
    {
        let (old, fresh) = (old.pid, fresh.pid);
        sentences.push(format!("QEMU was process {old} and is process {fresh}"));
        data.insert("process".to_owned(), json!({"before": old, "after": fresh}));
    }
    let mut differs = |what: &str, name: &str, old: &Option<Box<str>>, fresh: &Option<Box<str>>| {
        if let (Some(old), Some(fresh)) = (old, fresh)
            && old != fresh
        {
            sentences.push(format!("{name} was {} and is {}", text::shown(old), text::shown(fresh)));
            data.insert(what.to_owned(), json!({"before": old, "after": fresh}));
        }
    };
    let run_state = match &before.known {
        // Another QEMU starts in its own state.
        _ if is_another => None,
        Some(KnownState::RunState(state)) => Some(state.clone()),
        // Only a VM that runs differs: the run state in which the VM was stopped is unknown.
        Some(KnownState::Stopped) if snapshot.running == Some(true) => Some("stopped".into()),
        Some(KnownState::Stopped) | None => None,
    };
    differs("run_state", "the run state", &run_state, &snapshot.status);
    differs("uuid", "the UUID", &before.snapshot.uuid, &snapshot.uuid);
    differs("name", "the name", &before.snapshot.name, &snapshot.name);
    differs("qemu", "the version of QEMU", &before.snapshot.version, &snapshot.version);
    if !sentences.is_empty() {
        let summary = format!("Unseen between two epochs, this changed: {}.", sentences.join("; "));
        found.push(STATE_CHANGED_UNSEEN, summary, vec![before.last, id], data.into());
    }
}
