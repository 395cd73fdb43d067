//! Explanations from recorded findings, for states that cannot be concluded again because records are missing.

use qmp_wire::{Body, Record};
use serde_json::{Map, Value};

use crate::observation::PROCESS_ENDED;
use crate::persist::Persist as _;
use crate::state::Explanation;
use crate::why::{WHY_ENDED, WHY_PAUSED, WHY_SUSPENDED};

/// Whether the record says that QEMU has ended.
pub(super) fn is_end(record: &Record<'_>) -> bool {
    match &record.body {
        Body::Detached { .. } => true,
        Body::Finding { finding, .. } => *finding == PROCESS_ENDED || *finding == WHY_ENDED,
        Body::Attached { .. } | Body::Event { .. } => false,
    }
}

/// The explanation of the present state in a finding: of an end if the epoch is closed, or else of a stop; `None` for
/// other records, and for a finding about an earlier epoch.
pub(super) fn explanation(record: &Record<'_>, is_open: bool) -> Option<Explanation> {
    let Body::Finding { finding, summary, causes, data } = &record.body else { return None };
    let is_of_state = match is_open {
        true => *finding == WHY_PAUSED || *finding == WHY_SUSPENDED,
        false => *finding == WHY_ENDED,
    };
    if !is_of_state || causes.last().is_none_or(|(epoch, _)| *epoch != record.epoch) {
        return None;
    }
    let mut details: Map<String, Value> = serde_json::from_str(data.as_deref()?).ok()?;
    let mut word = |name| details.remove(name).and_then(<&'static str>::load);
    let (cause, by) = (word("cause")?, word("by")?);
    let run_state = details.remove("run_state");
    let run_state = run_state.as_ref().and_then(Value::as_str).unwrap_or_default().into();
    let (summary, causes) = (summary.to_string(), causes.clone());
    Some(Explanation { cause, by, summary, causes, details, run_state, clause: String::new() })
}
