//! What changed while nobody looked: the difference between what was known when an epoch ended and what the VM
//! says of itself when the next one opens.

use serde_json::{Map, json};

use super::input::{Input, What};
use super::registered::Correlator;
use super::tracked::{Before, Found, Span};
use super::why::ENDED;
use super::{Id, text};
use crate::findings::input::Snapshot;

pub(super) const STATE_CHANGED_UNSEEN: &str = "state-changed-unseen";

/// Compares; it keeps nothing, since the span has what was known.
#[derive(Debug, Default)]
pub(super) struct Unseen;

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
    let mut differs = |what: &str, name: &str, old: &Option<Box<str>>, fresh: &Option<Box<str>>| {
        if let (Some(old), Some(fresh)) = (old, fresh)
            && old != fresh
        {
            sentences.push(format!("{name} was {} and is {}", text::shown(old), text::shown(fresh)));
            data.insert(what.to_owned(), json!({"before": old, "after": fresh}));
        }
    };
    // A QEMU that said it would end has ended: the next one starts in a state of its own.
    if before.run_state.as_deref() != Some(ENDED) {
        differs("run_state", "the run state", &before.run_state, &snapshot.status);
    }
    differs("uuid", "the UUID", &before.snapshot.uuid, &snapshot.uuid);
    differs("name", "the name", &before.snapshot.name, &snapshot.name);
    differs("qemu", "the version of QEMU", &before.snapshot.version, &snapshot.version);
    if !sentences.is_empty() {
        let summary = format!("Unseen between two epochs, this changed: {}.", sentences.join("; "));
        found.push(STATE_CHANGED_UNSEEN, summary, vec![before.last, id], data.into());
    }
}
