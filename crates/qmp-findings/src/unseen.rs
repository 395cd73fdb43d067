//! What changed while nobody looked: the difference between what was known when an epoch ended and what the VM
//! says of itself when the next one opens.
//!
//! Only what is known is compared. Where the run state was assumed, what the VM says at last is the hub's own
//! correction and no change of the VM.

use serde_json::{Map, json};

use crate::conclusion::Found;
use crate::correlator::Correlator;
use crate::epoch::Known;
use crate::epoch::{Before, Span};
use crate::finding::Id;
use crate::observation::Snapshot;
use crate::observation::{Input, What};
use crate::process::Identity;
use crate::saved::saved;
use crate::text;

pub(super) const STATE_CHANGED_UNSEEN: &str = "state-changed-unseen";

/// Compares; it keeps nothing, since the span has what was known.
#[derive(Debug, Default)]
pub(super) struct Unseen;

saved!(Unseen {});

impl Correlator for Unseen {
    fn take(&mut self, input: &Input<'_>, span: &Span, found: &mut Found) {
        if let (What::Attached(snapshot), Some(before)) = (&input.what, &span.before) {
            compare(before, snapshot, input.id, found);
        }
    }
}

fn compare(before: &Before, snapshot: &Snapshot, id: Id, found: &mut Found) {
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
        // Another QEMU starts in a state of its own.
        _ if is_another => None,
        Some(Known::RunState(state)) => Some(state.clone()),
        // Only that it runs is a difference: which of the other states it stood in is not known.
        Some(Known::Stopped) if snapshot.running == Some(true) => Some("stopped".into()),
        Some(Known::Stopped) | None => None,
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
