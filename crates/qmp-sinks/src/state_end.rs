//! States that one record begins and another one ends, as receivers of both see them.

use std::borrow::Cow;

use qmp_findings::{ALERT, ANSWERS_AGAIN, HOST_ANSWERS_AGAIN, HOST_SILENT, RESOLVED, SILENT};
use qmp_wire::Body;
use serde_json::Value;

/// The end of the name of a finding that ends what the finding without it began.
const OVER: &str = "-over";

/// The events that end a state.
pub(super) const END_EVENTS: [&str; 2] = ["RESUME", "WAKEUP"];

/// The state of a VM that is not running, for whatever reason.
const NOT_RUNNING: &str = "not running";

/// What a record says about a state of its VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StateChange {
    /// The record begins a state.
    Begins(Cow<'static, str>),
    /// The record ends a state.
    Ends(Cow<'static, str>),
    /// The record ends all states.
    EndsAll,
}

/// What a record with this body says about a state of its VM. A record that is not known to end a state begins one.
pub(super) fn state_change(body: &Body<'_>) -> StateChange {
    match body {
        Body::Event { name, .. } if END_EVENTS.contains(&&**name) => StateChange::Ends(NOT_RUNNING.into()),
        Body::Event { .. } | Body::Detached { .. } => StateChange::Begins(NOT_RUNNING.into()),
        Body::Attached { .. } => StateChange::EndsAll,
        Body::Finding { finding, data, .. } => of_finding(finding, data.as_deref()),
    }
}

/// Whether a record ends a state that another record began.
pub(super) fn ends_state(body: &Body<'_>) -> bool {
    !matches!(state_change(body), StateChange::Begins(_))
}

/// The kinds of findings that end a state.
pub(super) fn end_findings() -> impl Iterator<Item = &'static str> {
    qmp_findings::kinds().filter(|kind| matches!(of_finding(kind, None), StateChange::Ends(_)))
}

fn of_finding(finding: &str, data: Option<&str>) -> StateChange {
    let of_others = [(ANSWERS_AGAIN, SILENT), (HOST_ANSWERS_AGAIN, HOST_SILENT), (RESOLVED, ALERT)];
    if let Some((_, begun)) = of_others.iter().find(|(end, _)| *end == finding) {
        return StateChange::Ends((*begun).into());
    }
    if let Some(begun) = finding.strip_suffix(OVER) {
        return StateChange::Ends(with_subject(begun, data).into());
    }
    if of_others.iter().any(|(_, begun)| *begun == finding) {
        return StateChange::Begins(finding.to_owned().into());
    }
    if qmp_findings::kinds().any(|kind| kind.strip_suffix(OVER) == Some(finding)) {
        return StateChange::Begins(with_subject(finding, data).into());
    }
    StateChange::Begins(NOT_RUNNING.into())
}

/// A VM can have several storms at a time, each with its own end.
fn with_subject(finding: &str, data: Option<&str>) -> String {
    let data: Value = data.and_then(|data| serde_json::from_str(data).ok()).unwrap_or_default();
    let members = ["event", "subject", "what"].map(|name| data.get(name).and_then(Value::as_str));
    members.into_iter().flatten().fold(finding.to_owned(), |text, member| text + " " + member)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_that_end_a_state_are_these() {
        let mut ends: Vec<&str> = end_findings().collect();
        ends.sort_unstable();
        // A further kind that ends a state has its row in docs/operating.md, "Bodies and headers of your own".
        assert_eq!(
            ends,
            [
                "answers-again",
                "flapping-over",
                "host-answers-again",
                "resolved",
                "storm-over",
                "two-hosts-over"
            ]
        );
    }
}
