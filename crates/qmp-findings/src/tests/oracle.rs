//! An oracle that judges conclusions without the correlators: each side that is named needs a record among the causes
//! that proves it.

use std::collections::HashMap;

use proptest::prelude::*;
use qmp_wire::{Body, Record, UnixMicros};
use serde_json::Value;

use super::super::testing::{Step, findings, story};
use super::super::{Finding, Id};
use super::state_table::{ENDINGS, STATES};

/// The facts that a record proves.
#[derive(Debug, Default)]
struct Proof {
    host: bool,
    guest: bool,
    qemu: bool,
    /// The run state that it names.
    run_state: Option<String>,
}

/// Asserts that each finding rests on existing records that prove it.
pub(super) fn judge(found: &[Finding], steps: &[Step]) -> Result<(), TestCaseError> {
    let records: HashMap<Id, &Record<'_>> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Record(record) => Some(((record.epoch, record.seq), record)),
            Step::Passes(_) => None,
        })
        .collect();
    for finding in found {
        prop_assert!(!finding.causes.is_empty(), "{finding:?}");
        let missing = finding.causes.iter().find(|id| !records.contains_key(id));
        prop_assert!(missing.is_none(), "{missing:?} is no record: {finding:?}");
        let causes: Vec<&Record<'_>> = finding.causes.iter().map(|id| records[id]).collect();
        if finding.kind.starts_with("why-") {
            judge_why(finding, &causes)?;
        } else if finding.kind == "job" {
            judge_job(finding, &causes)?;
        }
    }
    Ok(())
}

fn judge_why(finding: &Finding, causes: &[&Record<'_>]) -> Result<(), TestCaseError> {
    let text = |member: &str| finding.data.get(member).and_then(Value::as_str).unwrap_or_default();
    let proofs: Vec<Proof> = causes.iter().map(|record| Proof::of(record)).collect();
    let is_proven = match text("by") {
        "host" => proofs.iter().any(|proof| proof.host),
        "guest" => proofs.iter().any(|proof| proof.guest),
        "qemu" => proofs.iter().any(|proof| proof.qemu),
        "unknown" => true,
        other => return Err(TestCaseError::fail(format!("by {other}: {finding:?}"))),
    };
    prop_assert!(is_proven, "nothing proves by={}: {finding:?}", text("by"));
    // A cause named after a run state needs an answer or an event that names it.
    let needs: &[&str] = match text("cause") {
        "internal-error" => &["internal-error"],
        "debug" => &["debug"],
        "host-stop" if text("by") == "unknown" => &["paused"],
        _ => &[],
    };
    let is_named = |state: &&str| proofs.iter().any(|proof| proof.run_state.as_deref() == Some(*state));
    prop_assert!(needs.iter().all(is_named), "no answer names it: {finding:?}");
    if text("ended_by") == "unknown" {
        prop_assert!(shows_an_unseen_end(causes), "nothing shows that it ended: {finding:?}");
    }
    if finding.kind == "why-ended" || finding.kind == "why-reset" {
        prop_assert!(!text("ended_by").is_empty(), "{finding:?}");
    }
    Ok(())
}

/// Whether these records show the unseen end of a QEMU: the hub found it missing, or another process in its place.
fn shows_an_unseen_end(causes: &[&Record<'_>]) -> bool {
    let mut pids = causes.iter().filter_map(|record| match &record.body {
        Body::Attached { snapshot } => {
            serde_json::from_str::<Value>(snapshot).ok()?["process"]["pid"].as_u64()
        }
        _ => None,
    });
    let is_another = pids.next().is_some_and(|first| pids.any(|pid| pid != first));
    let is_found_missing = |record: &&Record<'_>| match &record.body {
        Body::Finding { finding, data: Some(data), .. } => {
            finding == "process-ended" && data.contains("evidence")
        }
        _ => false,
    };
    is_another || causes.iter().any(is_found_missing)
}

fn judge_job(finding: &Finding, causes: &[&Record<'_>]) -> Result<(), TestCaseError> {
    let result = finding.data.get("result").and_then(Value::as_str).unwrap_or_default();
    let has = |wanted: &[&str]| {
        causes.iter().any(|record| {
            let text = match &record.body {
                Body::Event { name, data, .. } => format!("{name} {}", data.as_deref().unwrap_or_default()),
                Body::Attached { snapshot } => snapshot.to_string(),
                Body::Finding { data, .. } => data.as_deref().unwrap_or_default().to_owned(),
                Body::Detached { .. } => String::new(),
            };
            wanted.iter().any(|word| text.contains(word))
        })
    };
    let is_proven = match result {
        "completed" => has(&["pending", "BLOCK_JOB_COMPLETED", "concluded"]) && !has(&["aborting"]),
        "failed" => has(&["aborting", "error"]),
        "cancelled" => has(&["BLOCK_JOB_CANCELLED", "Operation canceled"]),
        "interrupted" => {
            causes.iter().any(|record| matches!(record.body, Body::Detached { .. } | Body::Attached { .. }))
        }
        _ => true,
    };
    prop_assert!(is_proven, "nothing proves {result}: {finding:?}");
    Ok(())
}

impl Proof {
    fn of(record: &Record<'_>) -> Self {
        match &record.body {
            Body::Event { name, data, .. } => {
                let data =
                    data.as_deref().and_then(|data| serde_json::from_str(data).ok()).unwrap_or_default();
                Self::of_event(name, &data)
            }
            Body::Attached { snapshot } => {
                let value: Value = serde_json::from_str(snapshot).expect("JSON");
                Self::of_run_state(value.pointer("/query-status/status"))
            }
            Body::Detached { .. } => Self::default(),
            Body::Finding { finding, data, .. } => {
                let value: Value = serde_json::from_str(data.as_deref().unwrap_or("{}")).expect("JSON");
                match &**finding {
                    "command" => Self { host: value["result"] != "failed", ..Self::default() },
                    "process-ended" => {
                        // The two signals that a process does not send itself when it fails.
                        let host = matches!(value["signal"].as_u64(), Some(9 | 15));
                        Self { host, qemu: !host, ..Self::default() }
                    }
                    _ => Self::of_run_state(value.pointer("/return/status")),
                }
            }
        }
    }

    fn of_run_state(state: Option<&Value>) -> Self {
        let state = state.and_then(Value::as_str).unwrap_or_default();
        Self {
            host: false,
            guest: ["guest-panicked", "watchdog", "suspended"].contains(&state),
            qemu: ["io-error", "internal-error"].contains(&state),
            run_state: Some(state.to_owned()),
        }
    }

    fn of_event(name: &str, data: &Value) -> Self {
        let reason = data["reason"].as_str().unwrap_or_default();
        let is_reasoned = ["SHUTDOWN", "RESET"].contains(&name);
        let host = is_reasoned && reason.starts_with("host-") && reason != "host-error";
        let guest = is_reasoned && (reason.starts_with("guest-") || data["guest"] == true);
        let by_guest = ["WATCHDOG", "GUEST_PANICKED", "GUEST_CRASHLOADED", "SUSPEND", "SUSPEND_DISK"];
        Self {
            host: host || ["MIGRATION", "MEMORY_FAILURE"].contains(&name),
            guest: guest || by_guest.contains(&name),
            qemu: name == "BLOCK_IO_ERROR" || reason == "host-error",
            run_state: None,
        }
    }
}

/// Lines between two states: an answer, a command, a job, a gap.
const BETWEEN: [&str; 18] = [
    "RESUME",
    "RESUME",
    "answers running",
    "answers paused",
    "answers internal-error",
    "answers guest-panicked",
    "answers shutdown",
    "answers io-error",
    "command {\"execute\": \"cont\", \"client\": \"shell\"}",
    "command {\"execute\": \"stop\", \"client\": \"shell\", \"result\": \"failed\"}",
    "RESET {\"guest\": false, \"reason\": \"host-qmp-system-reset\"}",
    "JOB_STATUS_CHANGE {\"id\": \"j0\", \"status\": \"concluded\"}",
    "JOB_STATUS_CHANGE {\"id\": \"j0\", \"status\": \"running\"}",
    "detached hub stopped\ngone {\"evidence\": \"connection-refused\"}\nattached running",
    "detached hub stopped\nattached running 7.2.22 kvm#7",
    "detached hub stopped\nattached io-error 7.2.22 kvm#7",
    "detached hub stopped\nattached running 7.2.22 kvm#8",
    "detached hub stopped\ngone {\"pid\": 7, \"evidence\": \"no-such-process\"}\nattached running 7.2.22 kvm#9",
];

/// Histories: a VM is found in a state, changes to others, and ends or is reset.
pub(super) fn histories() -> impl Strategy<Value = Vec<Step>> {
    let part = prop_oneof![
        3 => (0..STATES.len()).prop_map(|index| STATES[index].1),
        3 => (0..BETWEEN.len()).prop_map(|index| BETWEEN[index]),
        1 => (0..ENDINGS.len()).prop_map(|index| ENDINGS[index].1),
    ];
    let pause = prop_oneof![4 => 0u64..30_000, 2 => 0u64..3_000_000, 1 => 0u64..20_000_000];
    let process = prop_oneof![
        Just("attached running"),
        Just("attached running 7.2.22 kvm"),
        Just("attached running 7.2.22 kvm#7"),
        Just("attached guest-panicked 7.2.22 kvm#8"),
    ];
    let parts = prop::collection::vec((part, pause), 1..10);
    (process, parts, 0..ENDINGS.len()).prop_map(|(attached, parts, end)| {
        let (mut text, mut at) = (format!("0 {attached}\n"), 1_000_000);
        let last = (ENDINGS[end].1, 5_000);
        for (part, pause) in parts.into_iter().chain([last]) {
            at += pause;
            for line in part.lines() {
                text += &format!("{}.{:06} {line}\n", at / 1_000_000, at % 1_000_000);
                at += 700;
            }
            if part.contains("detached")
                && !part.contains("attached running")
                && !part.contains("attached io-error")
            {
                text += &format!("{}.{:06} {attached}\n", at / 1_000_000, at % 1_000_000);
            }
        }
        story(&text)
    })
}

proptest! {
    /// Each conclusion has evidence among its causes, whatever the VM sends and answers.
    #[test]
    fn every_conclusion_has_evidence(steps in histories()) {
        let steps = [&steps[..], &[Step::Passes(UnixMicros(i64::MAX / 2))]].concat();
        judge(&findings(&steps), &steps)?;
    }

    /// The same for any order of lines.
    #[test]
    fn every_conclusion_has_evidence_in_any_order(steps in super::replay::records()) {
        let steps = [&steps[..], &[Step::Passes(UnixMicros(i64::MAX / 2))]].concat();
        judge(&findings(&steps), &steps)?;
    }
}
